"""Runs all engines of bench/decode in turns and writes OUT/results.json and OUT/results.md.

Each measurement is a process of its own, so that load time and peak memory are an engine's alone and nothing runs beside
it. The first round tries every batch size; further rounds repeat batch 1 and the best of them. Medians count.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

PROGRAM = "hl-run program"


class Bench:
    def __init__(self, options):
        self.options = options
        self.sizes = [int(size) for size in options.batch_sizes.split(",")]
        rows = [json.loads(line) for line in options.sentences.read_text().splitlines()[:options.limit]]
        self.words = [row["words"] for row in rows]
        self.max_target_len = rows[0]["max_target_len"]
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads),
                            "RAYON_NUM_THREADS": str(options.threads)}

    def engines(self):
        """Name of each engine and a function from batch sizes to its record."""
        o = self.options
        engines = {}
        for backend in o.backends.split(","):
            for decode in o.decode.split(","):
                engines[f"hl-run {backend} {decode}"] = self.library(o.out / o.file, backend, decode)
        main = o.backends.split(",")[0], o.decode.split(",")[-1]
        for backend in o.backends.split(",") if o.int8 else []:
            engines[f"hl-run {backend} {main[1]}, int8"] = self.library(o.int8, backend, main[1])
        if o.adapters:
            engines[f"hl-run {' '.join(main)}, with adapters"] = self.library(o.adapters, *main)
        engines[PROGRAM] = lambda sizes: self.program(*main)
        for engine in peers.ENGINES if o.python else []:
            engines[engine] = self.peer(engine)
        if o.candle:
            command = [o.candle, o.out / "hf", o.sentences, o.limit, self.max_target_len]
            engines["candle"] = lambda sizes: self.record(command)
        # All others are compared with the first.
        wanted = [next(iter(engines)), *o.only] if o.only else engines
        return {name: run for name, run in engines.items() if name in wanted}

    def library(self, model, backend, decode):
        o = self.options
        command = [o.tagger_speed, "--model", model, "--layout", o.layout, "--corpus", o.corpus, "--limit", o.limit,
                   "--threads", o.threads, "--backend", backend, "--device", o.device, "--decode", decode, "--batch-sizes"]
        return lambda sizes: self.record([*command, ",".join(map(str, sizes))])

    def peer(self, engine):
        o = self.options
        command = [o.python, Path(__file__).with_name("peers.py"), "run", engine, o.out, "--sentences", o.sentences,
                   "--limit", o.limit, "--threads", o.threads, "--device", o.device, "--batch-sizes"]
        return lambda sizes: self.record([*command, ",".join(map(str, sizes))])

    def record(self, command):
        """The JSON on the last line that a command prints."""
        result = subprocess.run([str(part) for part in command], env=self.environment, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stderr}")
        return json.loads(result.stdout.splitlines()[-1])

    def program(self, backend, decode):
        """hl-run itself, from its start to its end: words on stdin, JSON lines on stdout."""
        o = self.options
        command = [str(o.hl_run), "--model", str(o.out / o.file), "--input-format", "words", "--output-format", "jsonl",
                   "--backend", backend, "--threads", str(o.threads), *mode_flags(o.hl_run, decode)]
        record = {"engine": PROGRAM, "command": command[1:], "load_s": None, "batches": {}}
        text = "".join(" ".join(words) + "\n" for words in self.words)
        for size in [1, max(self.sizes)]:
            began = time.perf_counter()
            stdout, record["stderr"], peak_kib = run_on([*command, "--batch-size", str(size)], text, self.environment)
            record["batches"][str(size)] = {"seconds": time.perf_counter() - began}
            if size == 1:
                record["peak_kib_batch_1"] = peak_kib
            record["peak_kib"] = peak_kib
            record["spans"] = [json.loads(line)["spans"] for line in stdout.splitlines()]
        return record

    def run(self):
        records = {name: [] for name in self.engines()}
        for turn in range(self.options.rounds):
            for name, run in self.engines().items():
                done = records[name]
                sizes = self.sizes if not done else sorted({1, best_size(done)})
                began = time.perf_counter()
                done.append(run(sizes))
                print(f"round {turn + 1}, {name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        return records


def mode_flags(hl_run, decode):
    """The options that select the mode, for this version of hl-run."""
    text = subprocess.run([str(hl_run), "--help"], capture_output=True, text=True, check=True).stdout
    known = [flag for flag in ["--decode", "--mode", "--stats"] if re.search(rf"{flag}\b", text)]
    return [part for flag in known for part in ([flag] if flag == "--stats" else [flag, decode])]


def run_on(command, text, environment):
    """What a command writes to stdout and stderr when it reads `text`, and its peak memory in KiB."""
    with tempfile.TemporaryFile("w+") as stdin, tempfile.TemporaryFile("w+") as stdout, \
            tempfile.TemporaryFile("w+") as stderr:
        stdin.write(text)
        stdin.seek(0)
        process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{stderr.read()}")
        return stdout.read(), stderr.read(), usage.ru_maxrss


def seconds(records, size):
    """Median over the rounds that measured `size`."""
    return statistics.median(r["batches"][str(size)]["seconds"] for r in records if str(size) in r["batches"])


def best_size(records):
    return min((int(size) for size in records[0]["batches"]), key=lambda size: seconds(records, size))


def percentile(values, share):
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def summary(name, records, oracle, sentences):
    best = best_size(records)
    latencies = [r["batches"]["1"]["latencies"] for r in records if "latencies" in r["batches"]["1"]]
    median = lambda of: statistics.median(of) if of else None
    mebibytes = lambda key: median([r[key] / 1024 for r in records])
    row = {
        "engine": name,
        "sentences_per_second_batch_1": sentences / seconds(records, 1),
        "p50_ms": median([1000 * percentile(l, 50) for l in latencies]),
        "p95_ms": median([1000 * percentile(l, 95) for l in latencies]),
        "best_batch": best,
        "sentences_per_second_best": sentences / seconds(records, best),
        "peak_mib_batch_1": mebibytes("peak_kib_batch_1"),
        "peak_mib": mebibytes("peak_kib"),
        "load_s": median([r["load_s"] for r in records if r["load_s"] is not None]),
        "f1": records[0].get("f1"),
        "times_the_floor": median([seconds(records, 1) / r["floor_s"] for r in records if r.get("floor_s")]),
    }
    key = "spans" if name == PROGRAM else "ids"
    of_another_model = "with adapters" in name
    if not of_another_model:
        row["equal"] = sum(a == b for a, b in zip(records[0][key], oracle[key], strict=True))
    return row


def table(rows, sentences):
    """The rows in Markdown, and how many times as fast each hl-run is as each peer."""
    number = lambda value, digits: "" if value is None else f"{value:.{digits}f}"
    lines = [
        "| engine | sentences/s, batch 1 | p50 ms | p95 ms | best batch | sentences/s there | peak MiB, batch 1 | peak MiB"
        " | load s | times the floor, batch 1 | same ids as greedy |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        same = f"{row['equal']} of {sentences}" if "equal" in row else "other model"
        cells = [row["engine"], number(row["sentences_per_second_batch_1"], 2), number(row["p50_ms"], 0),
                 number(row["p95_ms"], 0), str(row["best_batch"]), number(row["sentences_per_second_best"], 2),
                 number(row["peak_mib_batch_1"], 0), number(row["peak_mib"], 0), number(row["load_s"], 1),
                 number(row["times_the_floor"], 2), same]
        lines.append(f"| {' | '.join(cells)} |")
    ours = [row for row in rows if row["engine"].startswith("hl-run") and row["engine"] != PROGRAM]
    others = [row for row in rows if not row["engine"].startswith("hl-run")]
    if ours and others:
        lines += ["", "Times as fast, batch 1 / best batch:", "",
                  f"| | {' | '.join(row['engine'] for row in others)} |", "|---" * (len(others) + 1) + "|"]
    for row in ours if others else []:
        ratio = lambda key, other: row[key] / other[key]
        cells = [f"{ratio('sentences_per_second_batch_1', other):.2f} / {ratio('sentences_per_second_best', other):.2f}"
                 for other in others]
        lines.append(f"| {row['engine']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("out", type=Path, help="the folder that run.sh prepared")
    add("--file", required=True, help="the tagger's file in it")
    add("--int8", type=Path, help="the int8 tagger, measured as a row for each backend")
    add("--adapters", type=Path, help="a tagger that has adapters besides, measured as a row of its own")
    add("--sentences", type=Path, required=True, help="what `tagger_speed --sources` printed")
    add("--corpus", type=Path, required=True, help="the test split that they come from")
    add("--layout", default="mtop")
    add("--hl-run", type=Path, required=True)
    add("--tagger-speed", type=Path, required=True)
    add("--python", type=Path, help="a Python with the packages of requirements.txt; without it, no peers in Python")
    add("--candle", type=Path, help="the candle peer; without it, no such row")
    add("--backends", default="ort,tract")
    add("--decode", default="greedy,verified", help="modes, greedy first; the last one is that of the extra rows")
    add("--batch-sizes", default="1,4,8,16,32")
    add("--limit", type=int, default=200)
    add("--rounds", type=int, default=3)
    add("--threads", type=int, default=2)
    add("--device", default="cpu", help="of hl-run's library and of transformers")
    add("--only", action="append", help="only this engine, by name; may be repeated")
    options = parser.parse_args()
    bench = Bench(options)
    records = bench.run()
    # All are compared with the first row: hl-run, first backend, greedy.
    oracle = next(iter(records.values()))[0]
    sentences = len(bench.words)
    rows = [summary(name, of, oracle, sentences) for name, of in records.items()]
    text = table(rows, sentences)
    target = statistics.mean(map(len, oracle["ids"]))
    text += (f"\n{sentences} sentences, {statistics.mean(map(len, bench.words)):.1f} words and {target:.1f} target tokens"
             f" on average, {options.threads} threads, {options.rounds} rounds; micro F1 of the tags {oracle['f1']:.3f}\n")
    (options.out / "results.md").write_text(text)
    everything = {"rows": rows, "records": records, "options": {k: str(v) for k, v in vars(options).items()}}
    (options.out / "results.json").write_text(json.dumps(everything))
    print(text, end="")


if __name__ == "__main__":
    main()
