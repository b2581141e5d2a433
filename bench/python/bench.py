"""The speed of the Python package next to hl-run's, its scaling over two threads, and its memory: python bench.py HL_RUN MODEL

Rates are of tagging alone, after the file is open: hl-run's own (`--stats`, with reading and writing JSON Lines), and that of
`Tagger.tag`. Runs alternate, and a ratio is the median of the ratios of neighbouring runs.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python/conformance"))

import sentences as corpus

# Runs in a process of its own, so that memory is that of one configuration.
CHILD = """
import json, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from hyperloader import Tagger
model, file, options, callers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
texts = json.load(open(file))
tagger = Tagger(model, **options)
tagger.tag(texts[:500])
begin = time.perf_counter()
if callers == 1:
    count = len(tagger.tag(texts))
else:
    with ThreadPoolExecutor(callers) as pool:
        taggers = [tagger] + [Tagger(model, **options) for _ in range(callers - 1)]
        begin = time.perf_counter()
        count = sum(len(r) for r in pool.map(lambda at: taggers[at].tag(texts[at::callers]), range(callers)))
took = time.perf_counter() - begin
print(json.dumps([count / took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def python(model: str, file: Path, options: dict, callers: int = 1) -> tuple[float, float]:
    """Sentences per second, and the largest memory in MB."""
    command = [sys.executable, "-c", CHILD, model, file, json.dumps(options), str(callers)]
    rate, memory = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return rate, memory


def hl_run(program: str, model: str, lines: Path, *options: str) -> tuple[float, float]:
    command = ["/usr/bin/env", "python3", "-c", MEMORY, program, "--model", model, "--stats", "--input", lines]
    command += ["--output-format", "jsonl", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    rate = re.search(r": ([0-9.]+) per second", done.stderr)
    memory = re.search(r"^memory ([0-9.]+)$", done.stderr, re.MULTILINE)
    assert rate and memory, done.stderr
    return float(rate[1]), float(memory[1])


MEMORY = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("memory", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, file=sys.stderr)
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--sentences", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    program, model, runs = arguments.program, arguments.model, arguments.runs
    chosen = corpus.texts()
    texts = [chosen[at % len(chosen)] for at in range(arguments.sentences)]
    with tempfile.TemporaryDirectory() as folder:
        file, lines = Path(folder, "texts.json"), Path(folder, "texts.jsonl")
        file.write_text(json.dumps(texts))
        lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        rows = {
            "hl-run, 1 thread": lambda: hl_run(program, model, lines, "--threads", "1"),
            "tag, 1 thread": lambda: python(model, file, {"threads": 1}),
            "hl-run, 2 threads": lambda: hl_run(program, model, lines, "--threads", "2"),
            "tag, 2 threads": lambda: python(model, file, {"threads": 2}),
            "hl-run, 2 workers": lambda: hl_run(program, model, lines, "--workers", "2", "--threads", "1"),
            "tag, 2 workers": lambda: python(model, file, {"workers": 2, "threads": 1}),
            "tag, 2 threads of Python": lambda: python(model, file, {"threads": 1}, callers=2),
        }
        found = {name: [] for name in rows}
        for _ in range(runs):
            for name, measure in rows.items():
                found[name].append(measure())
        print(f"{len(texts)} sentences, medians of {runs} runs\n")
        print("| | sentences per second | of hl-run | of one thread | largest memory, MB |")
        print("|---|---|---|---|---|")
        for name, pairs in found.items():
            rates = [rate for rate, _ in pairs]
            kind = name.split(", ")[1]
            base = found.get(f"hl-run, {kind}", found["hl-run, 2 workers"])
            one = found[name.split(", ")[0] + ", 1 thread"]
            columns = [
                f"{statistics.median(rates):.0f}",
                f"{statistics.median(a / b for a, (b, _) in zip(rates, base, strict=True)):.3f}",
                f"{statistics.median(a / b for a, (b, _) in zip(rates, one, strict=True)):.2f}",
                f"{statistics.median(memory for _, memory in pairs):.0f}",
            ]
            print(f"| {name} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
