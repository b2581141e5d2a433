"""One session of a file of several tasks next to a session for each task's own file: speed and memory.

    python multi.py FOLDER SECONDS

FOLDER holds `multi.onnx` and `TASK.onnx` for each of its tasks. Both sides run the same sentences of random ids, as many of
each task: whole passes of encoder and decoder, in ONNX Runtime with two threads. `one task` is a batch of one task, `mixed` a batch
with sentences of all tasks, which the single files must run in as many batches as there are tasks.
"""

import json
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

import numpy
import onnxruntime

SOURCE, TARGET = 30, 24


def tasks(folder):
    session = open_session(folder / "multi.onnx")
    return [task["hyperloader.task"] for task in json.loads(session.get_modelmeta().custom_metadata_map["hyperloader.tasks"])]


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    # Without it, memory for one large batch is kept: files would be compared by it.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def batch(rows):
    """Inputs of sentences with random ids, the same in all processes."""
    random = numpy.random.default_rng(1)
    return {
        "input_ids": random.integers(3, 32000, (rows, SOURCE)),
        "attention_mask": numpy.ones((rows, SOURCE), numpy.int64),
        "decoder_input_ids": random.integers(3, 32000, (rows, TARGET)),
    }


def rows_of(inputs, rows):
    return {name: value[rows] for name, value in inputs.items()}


def kib(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1])


def measure(kind, folder, names, seconds, queue):
    """Seconds of a batch of one task and of a mixed batch, its logits, and the memory of the process."""
    count = len(names)
    before, began = kib("VmRSS"), time.perf_counter()
    if kind == "multi":
        session = open_session(folder / "multi.onnx")
        run = lambda inputs, ids: session.run(["logits"], {**inputs, "task_id": numpy.array(ids)})[0]
    else:
        sessions = [open_session(folder / f"{name}.onnx") for name in names]

        def run(inputs, ids):
            logits = [None] * len(ids)
            for task in sorted(set(ids)):
                rows = [row for row, id in enumerate(ids) if id == task]
                for row, value in zip(rows, sessions[task].run(["logits"], rows_of(inputs, rows))[0]):
                    logits[row] = value
            return numpy.stack(logits)

    load = time.perf_counter() - began
    # One sentence of each task, and as many of one task.
    mixed, alone, inputs = list(range(count)), [1] * count, batch(count)
    found = {"kind": kind, "load": load, "logits": run(inputs, mixed)}
    for name, ids in [("one task", alone), ("mixed", mixed)]:
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            began = time.perf_counter()
            run(inputs, ids)
            times.append(time.perf_counter() - began)
        found[name] = statistics.median(times)
    found["mib"] = (kib("VmHWM") - before) / 1024
    queue.put(found)


def main():
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    names = tasks(folder)
    spawn = multiprocessing.get_context("spawn")
    results = []
    for kind in ["multi", "single"]:
        queue = spawn.Queue()
        process = spawn.Process(target=measure, args=(kind, folder, names, seconds, queue))
        process.start()
        results.append(queue.get())
        process.join()
    print("| | files, MB | opening, s | one task, ms | mixed, ms | memory, MiB |")
    print("|---|---|---|---|---|---|")
    for result in results:
        files = [folder / "multi.onnx"] if result["kind"] == "multi" else [folder / f"{name}.onnx" for name in names]
        size = sum(path.stat().st_size for path in files) / 1e6
        label = "one session of one file" if result["kind"] == "multi" else f"{len(names)} sessions of {len(names)} files"
        print(f"| {label} | {size:.0f} | {result['load']:.1f} | {1000 * result['one task']:.0f} | "
              f"{1000 * result['mixed']:.0f} | {result['mib']:.0f} |")
    logits = [result["logits"] for result in results]
    equal = (logits[0].argmax(-1) == logits[1].argmax(-1)).mean()
    print(f"largest difference of a logit {numpy.abs(logits[0] - logits[1]).max():.1e}, largest logit "
          f"{numpy.abs(logits[1]).max():.1f}, equal best ids {100 * equal:.2f} %")


if __name__ == "__main__":
    main()
