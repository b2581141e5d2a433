"""Runs exported files in other runtimes, writes what each of them answers to a table, and prints a summary of it.

    python table.py FOLDER TABLE.csv [--node FOLDER_WITH_ONNXRUNTIME_WEB] [--programs FOLDER_WITH_HL_RUN] [--runs PATTERN]

FOLDER/RUN/PRECISION holds `single.onnx`, `external.onnx`, `bundle/TASK.onnx`, `unfolded/TASK.onnx` and `multi.onnx`, or for each of
them that hl-export refused, its message in `single.txt`, `external.txt` and so on. `data` is what `hl-export --test-data` wrote for
`single.onnx`: its inputs go through the files of every packaging. Rows that TABLE.csv has already are not computed again.
"""

import argparse
import csv
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

TASK = "snips"
PRECISIONS = ["f32", "f16", "bf16", "int8", "int4"]
PACKAGINGS = {
    "single": "single.onnx",
    "external": "external.onnx",
    "bundle": f"bundle/{TASK}.onnx",
    "unfolded": f"unfolded/{TASK}.onnx",
    "multi": "multi.onnx",
}
CHECKER = "onnx.checker, strict shape inference"
VERIFY = "hl-run verify"


def tensors(folder, kind):
    """The tensors of a test data set by name, in their order."""
    found = {}
    for number in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{number}.pb").read_bytes())
        found[tensor.name] = numpy_helper.to_array(tensor)
    return found


class Case:
    """A file with the inputs of its test data and the outputs that it should give."""

    def __init__(self, path, data):
        self.path = path
        self.model = onnx.load(str(path), load_external_data=False)
        located = (pair for weight in self.model.graph.initializer for pair in weight.external_data)
        self.weights = sorted({pair.value for pair in located if pair.key == "location"})
        names = [given.name for given in self.model.graph.input]
        self.outputs = [output.name for output in self.model.graph.output if "draft_tags" not in output.name]
        self.sets = []
        for folder in sorted(data.glob("test_data_set_*")):
            inputs, expected = tensors(folder, "input"), tensors(folder, "output")
            if "task_id" in names:
                inputs["task_id"] = numpy.full(len(inputs["input_ids"]), self.task(), dtype=numpy.int64)
            self.sets.append(({name: inputs[name] for name in names}, expected))
        if not self.sets:
            raise FileNotFoundError(f"{data} has no test data")

    def task(self):
        """The place of the task in a file of several."""
        [tasks] = [entry.value for entry in self.model.metadata_props if entry.key == "hyperloader.tasks"]
        return [task["hyperloader.task"] for task in json.loads(tasks)].index(TASK)


def checker(case):
    """The full check, with strict shape inference of the model and of its data files."""
    onnx.checker.check_model(str(case.path), full_check=True)
    onnx.shape_inference.infer_shapes(case.model, check_type=True, strict_mode=True, data_prop=True)
    return "passes"


def onnx_runtime(case):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(case.path), options, providers=["CPUExecutionProvider"])
    return [dict(zip(case.outputs, session.run(case.outputs, inputs))) for inputs, _ in case.sets]


def open_vino(case):
    # Without the hint, products are computed in the precision that the processor prefers.
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(str(case.path), "CPU", hints)
    return [{name: results[name] for name in case.outputs} for results in (model(inputs) for inputs, _ in case.sets)]


def reference(case):
    evaluator = ReferenceEvaluator(str(case.path))
    return [dict(zip(case.outputs, evaluator.run(case.outputs, inputs))) for inputs, _ in case.sets]


def web(case):
    """onnxruntime-web in Node."""
    sets = [{name: [value.flatten().tolist(), list(value.shape)] for name, value in inputs.items()} for inputs, _ in case.sets]
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("web.mjs")), web.folder, str(case.path)],
        input=json.dumps({"sets": sets, "outputs": case.outputs, "files": case.weights}),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "rror" in line]
        raise RuntimeError(lines[0] if lines else "it failed without a message")
    answers = json.loads(done.stdout)["answers"]
    return [
        {name: numpy.array(data, dtype=numpy.float32).reshape(shape) for name, (data, shape) in answer.items()} for answer in answers
    ]


def compared(case, answers):
    """The largest difference of an output to the test data, and how many rows of logits have another best id."""
    largest, rows, equal = 0.0, 0, 0
    for (_, expected), found in zip(case.sets, answers, strict=True):
        for name in case.outputs:
            difference = numpy.abs(found[name].astype(numpy.float64) - expected[name]).max()
            largest = max(largest, float("inf") if numpy.isnan(difference) else float(difference))
        best = found["logits"].argmax(-1) == expected["logits"].argmax(-1)
        rows, equal = rows + best.size, equal + int(best.sum())
    return f"{largest:.1e}" + (f", {equal} of {rows} best ids equal" if equal < rows else "")


def verify(programs, path):
    """What ran the file in `hl-run verify`, which compares the digests, too."""
    command = [f"{programs}/hl-run", "verify", "--quiet", "--output-format", "jsonl", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{done.stdout} {done.stderr}")
    checks = [check["what"] for check in json.loads(done.stdout)["checks"]]
    ran = [name for name in ("ONNX Runtime", "tract") if any(what.startswith(name) for what in checks)]
    return " and ".join(ran) or "digests alone"


def message(error):
    """The line of an error that says most, without the path of this machine."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return " ".join(Path(word).name if word.startswith("/") else word for word in text.split())[:160]


def cell(compute):
    """What a runtime says of a file that it does not run is a cell."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = compute()
        except Exception as error:
            return f"no: {message(error)}"
    remarks = sorted({str(warning.message) for warning in caught if warning.category is RuntimeWarning})
    return "; ".join([answer, *(f"warns: {remark}" for remark in remarks)])


def row(key, path, refusal, data, columns):
    """The row of a file, or of the message that there is in place of it."""
    if refusal.exists():
        return key | {"file": f"refused: {refusal.read_text().strip()}"}
    case = Case(path, data)
    cells = {name: cell(lambda compute=compute: compute(case)) for name, compute in columns.items()}
    return key | {"file": "written"} | cells


def read(table):
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def split(text):
    """The difference in a cell; `None` if the runtime did not run the file. The rest is a remark."""
    value, *rest = text.split("; ")
    number, *ids = value.split(", ")
    try:
        return float(number), ids + rest
    except ValueError:
        return None, [text]


def summary(rows, runtimes):
    """A line for each run and packaging: over its precisions, without int8 and of int8, the largest difference."""
    print("| run | packaging | files | " + " | ".join(runtimes) + " |")
    print("|---|---|---|" + "---|" * len(runtimes))
    remarks = {}
    groups = {}
    for entry in rows:
        groups.setdefault((entry["run"], entry["packaging"]), []).append(entry)
    for (run, packaging), entries in groups.items():
        written = [entry for entry in entries if entry["file"] == "written"]
        for entry in entries:
            if entry["file"] != "written":
                remarks.setdefault((packaging, entry["file"]), []).append(f"{run} {entry['precision']}")
        if not written:
            continue
        cells = []
        for runtime in runtimes:
            parts = []
            for of_int8 in (False, True):
                found = []
                for entry in written:
                    if (entry["precision"] == "int8") == of_int8:
                        value, notes = split(entry[runtime])
                        found.append(value)
                        for note in notes:
                            remarks.setdefault((runtime, note), []).append(f"{run} {entry['precision']} {packaging}")
                if found:
                    parts.append("no" if None in found else f"{max(found):.1e}")
            cells.append(" / ".join(parts))
        print(f"| {run} | {packaging} | {len(written)} | " + " | ".join(cells) + " |")
    print("\n| of | remark | files | for example |\n|---|---|---|---|")
    for (of, note), files in remarks.items():
        print(f"| {of} | {note} | {len(files)} | {files[0]} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("table", type=Path)
    arguments.add_argument("--node", help="folder whose node_modules has onnxruntime-web")
    arguments.add_argument("--programs", help="folder with hl-run", default="target/release")
    arguments.add_argument("--runs", default="*", help="pattern of runs")
    options = arguments.parse_args()
    runtimes = {"ONNX Runtime (Python)": onnx_runtime, "OpenVINO": open_vino, "ONNX reference evaluator": reference}
    if options.node:
        web.folder = options.node
        runtimes["onnxruntime-web"] = web
    compare = {name: lambda case, run=run: compared(case, run(case)) for name, run in runtimes.items()}
    columns = {CHECKER: checker, **compare, VERIFY: lambda case: verify(options.programs, case.path)}
    names = ["run", "precision", "packaging", "file", *columns]
    rows = read(options.table)
    done = {(entry["run"], entry["precision"], entry["packaging"]) for entry in rows}
    with options.table.open("a", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        if not rows:
            writer.writeheader()
        for run in sorted(path for path in options.folder.glob(options.runs) if path.is_dir()):
            for precision in PRECISIONS:
                for packaging, name in PACKAGINGS.items():
                    folder = run / precision
                    path, refusal = folder / name, folder / f"{packaging}.txt"
                    if (run.name, precision, packaging) in done or not (path.exists() or refusal.exists()):
                        continue
                    key = {"run": run.name, "precision": precision, "packaging": packaging}
                    rows.append({name: "" for name in names} | row(key, path, refusal, folder / "data", columns))
                    writer.writerow(rows[-1])
                    file.flush()
    summary(rows, list(runtimes))
    failed = [entry for entry in rows if entry["file"] == "written" and entry[CHECKER] != "passes" or entry[VERIFY].startswith("no")]
    for entry in failed:
        print(entry, file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
