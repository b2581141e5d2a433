"""Runs exported files in other runtimes and prints a table: does the file load, and how far are its outputs from the
test data that hl-export wrote beside it.

    python table.py FOLDER [--node FOLDER_WITH_ONNXRUNTIME_WEB]

FOLDER holds `NAME.onnx` and, from `hl-export --test-data`, `NAME.data/test_data_set_N/`.
"""

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import openvino
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator


def tensors(folder, kind):
    """The tensors of a test data set by name, in their order."""
    found = {}
    for number in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{number}.pb").read_bytes())
        found[tensor.name] = numpy_helper.to_array(tensor)
    return found


def checker(path):
    """The full check, with strict shape inference of the model and of its data files."""
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path), load_external_data=False)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


class OnnxRuntime:
    name, version = "ONNX Runtime (Python)", onnxruntime.__version__

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(self, inputs, outputs):
        return dict(zip(outputs, self.session.run(list(outputs), inputs)))


class OpenVino:
    name, version = "OpenVINO", openvino.__version__.split("-")[0]

    def __init__(self, path):
        core = openvino.Core()
        # Without it, products are computed in the precision that the processor prefers.
        self.model = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(self, inputs, outputs):
        results = self.model(inputs)
        return {name: results[name] for name in outputs}


class Reference:
    name, version = "ONNX reference evaluator", onnx.__version__

    def __init__(self, path):
        self.evaluator = ReferenceEvaluator(str(path))

    def run(self, inputs, outputs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = dict(zip(outputs, self.evaluator.run(list(outputs), inputs)))
        self.remarks = {str(warning.message) for warning in caught}
        return found


class Web:
    """onnxruntime-web in Node; the model is one file."""

    name, version = "onnxruntime-web (Node)", "?"
    folder = None

    def __init__(self, path):
        self.path = path

    def run(self, inputs, outputs):
        feeds = {name: [value.flatten().tolist(), list(value.shape)] for name, value in inputs.items()}
        script = Path(__file__).with_name("web.mjs")
        done = subprocess.run(
            ["node", str(script), self.folder, str(self.path)],
            input=json.dumps({"feeds": feeds, "outputs": list(outputs)}),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "Error" in line or "ERROR" in line]
            raise RuntimeError(lines[0] if lines else "it failed without a message")
        answer = json.loads(done.stdout)
        Web.version = answer["version"]
        return {
            name: numpy.array(data, dtype=numpy.float32).reshape(shape)
            for name, (data, shape) in answer["outputs"].items()
        }


def row(path, runtime):
    """The cells of a runtime's row for a file."""
    largest, rows, equal, remarks = 0.0, 0, 0, set()
    sets = sorted(path.with_suffix(".data").glob("test_data_set_*"))
    if not sets:
        return "not tried", "no test data", ""
    try:
        opened = runtime(path)
        for folder in sets:
            inputs, expected = tensors(folder, "input"), tensors(folder, "output")
            found = opened.run(inputs, expected)
            for name, value in expected.items():
                difference = numpy.abs(found[name].astype(numpy.float64) - value).max()
                largest = max(largest, float("inf") if numpy.isnan(difference) else float(difference))
            best = found["logits"].argmax(-1) == expected["logits"].argmax(-1)
            rows, equal = rows + best.size, equal + int(best.sum())
            remarks |= getattr(opened, "remarks", set())
    except Exception as error:  # What a runtime says of a file that it does not run is a cell.
        return "no", (str(error).strip() or type(error).__name__).splitlines()[0][:100], ""
    runs = f"yes, with a warning: {', '.join(sorted(remarks))}" if remarks else "yes"
    return runs, f"{largest:.1e}", f"{equal} of {rows}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--node", help="folder whose node_modules has onnxruntime-web")
    options = arguments.parse_args()
    runtimes = [OnnxRuntime, OpenVino, Reference]
    if options.node:
        Web.folder = options.node
        runtimes.append(Web)
    print("| file | runtime | version | runs | largest difference | best ids equal |")
    print("|---|---|---|---|---|---|")
    failed = False
    for path in sorted(options.folder.glob("*.onnx")):
        try:
            checker(path)
            print(f"| {path.stem} | `onnx.checker`, strict shape inference | {onnx.__version__} | yes | | |")
        except Exception as error:
            failed = True
            reason = str(error).strip().splitlines()[0][:100]
            print(f"| {path.stem} | `onnx.checker` | {onnx.__version__} | no | {reason} | |")
        for runtime in runtimes:
            cells = row(path, runtime)
            print(f"| {path.stem} | {runtime.name} | {runtime.version} | {' | '.join(cells)} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
