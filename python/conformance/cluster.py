"""Runs an example of a cluster for real: python cluster.py ENGINE[,ENGINE] HL_RUN MODEL [SENTENCES], ENGINE is ray or spark

Sentences in Parquet are tagged to Parquet by two workers. One is killed in the middle. Afterwards, each sentence is there once,
with the spans that hl-run finds. The figures are printed: the speed beside that of hl-run on two cores, and the memory of the
weights, which all workers map from the cache.
"""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from sentences import ROOT, short

FILES = 20
# The part of the work after which a worker is killed, in processor time of hl-run.
MIDDLE = 0.4


def write(folder: Path, count: int) -> None:
    """Sentences as rows of several files, each with a number of its own."""
    folder.mkdir()
    chosen = short()
    for at in range(FILES):
        ids = range(at * count // FILES, (at + 1) * count // FILES)
        table = pa.table({"id": ids, "text": [chosen[id % len(chosen)] for id in ids]})
        pq.write_table(table, folder / f"{at:02}.parquet")


def hl_run(program: str, model: Path, source: Path, target: Path) -> tuple[float, float]:
    """Tags with hl-run, two workers of one thread each; seconds, and seconds of processor time."""
    command = [program, "--quiet", "--model", model, "--workers", "2", "--threads", "1"]
    command += ["--input", *sorted(source.iterdir()), "--output", target]
    begin, before = time.monotonic(), os.times()
    subprocess.run(command, check=True)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - begin, processor


def workers(example: psutil.Process) -> list[psutil.Process]:
    """The processes that tag: those that have the weights of the cache mapped."""
    found = []
    try:
        children = example.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    for process in children:
        try:
            if any(map_.path.endswith("graph.weights") for map_ in process.memory_maps()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return found


def seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return times.user + times.system
    except psutil.NoSuchProcess:
        return 0.0


def weights(process: psutil.Process) -> tuple[float, float, float]:
    """Memory of the mapped weights in MB: resident, its share if several processes have it, and what is private."""
    maps = [map_ for map_ in process.memory_maps() if map_.path.endswith("graph.weights")]
    return tuple(sum(getattr(map_, name) for map_ in maps) / 1e6 for name in ("rss", "pss", "private_dirty"))


def run(example: list, kill_after: float, limit: float) -> tuple[float, list[str]]:
    """Runs the example; kills a worker when the workers have used `kill_after` seconds of processor time."""
    notes, used, killed = [], collections.defaultdict(float), None
    begin = time.monotonic()
    process = subprocess.Popen(example, cwd=tempfile.gettempdir(), stdout=sys.stderr)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.2)
        if time.monotonic() - begin > limit:
            process.terminate()
            sys.exit(f"the example did not end in {limit:.0f} s")
        found = workers(watched)
        for worker in found:
            used[worker.pid] = max(used[worker.pid], seconds(worker))
        if killed is None and sum(used.values()) > kill_after and len(found) >= 2:
            maps = [weights(worker) for worker in found]
            notes.append(
                "weights in the workers, MB: "
                + "; ".join(f"{rss:.1f} resident, {pss:.1f} as a share, {own:.1f} private" for rss, pss, own in maps)
            )
            assert all(own == 0 for _, _, own in maps), maps
            killed = found[0].pid
            notes.append(f"killed worker {killed}, {found[0].name()!r}, after {sum(used.values()):.0f} s of processor time")
            before = set(used)
            os.kill(killed, signal.SIGKILL)
    took = time.monotonic() - begin
    assert process.returncode == 0, f"the example ended with {process.returncode}"
    assert killed is not None, "no worker was killed: the sentences were too few"
    new = set(used) - before
    assert new, "no new worker took over from the one that was killed"
    notes.append(f"{len(before)} workers before that, {len(new)} new ones after it")
    return took, notes


def check(target: Path, expected: pa.Table, count: int) -> int:
    """Every sentence is there once, with the spans of hl-run; the number of spans."""
    # Hidden files are not data.
    table = pq.read_table(target).sort_by("id")
    assert table["id"].to_pylist() == list(range(count)), "sentences were lost or duplicated"
    assert table["error"].null_count == count
    assert table["text"].to_pylist() == expected["text"].to_pylist()
    names = ("start", "end", "label", "text", "unknown")
    spans = 0
    for ours, theirs in zip(table["spans"].to_pylist(), expected["spans"].to_pylist(), strict=True):
        assert [[s[name] for name in names] for s in ours] == [[s[name] for name in names] for s in theirs]
        spans += len(ours)
    return spans


# Reading and writing need a core of Ray, too, which it counts; Spark counts tasks.
RAY = "import ray, runpy, sys; ray.init(num_cpus=3); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


# Spark starts its workers with it.
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
# Ray gives its workers a low priority by default, which hl-run does not have.
os.environ.setdefault("RAY_worker_niceness", "0")


def main(engines: str, program: str, model: str, count: int = 100_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        own = place / "mtop.onnx"
        own.write_bytes(Path(model).read_bytes())
        source = place / "sentences"
        write(source, count)
        took, processor = hl_run(program, own, source, place / "hl-run.parquet")
        expected = pq.read_table(place / "hl-run.parquet", columns=["text", "spans"])
        rate = count / took
        print(f"hl-run, 2 workers: {count} sentences in {took:.0f} s, {rate:.0f} per second, {processor:.0f} s of processor time")
        for engine in engines.split(","):
            script = ROOT / f"python/examples/{engine}_tag.py"
            example = [sys.executable, *(["-c", RAY] if engine == "ray" else []), script, own, source, place / engine]
            seconds_, notes = run(example, MIDDLE * processor, 600 + 20 * took)
            spans = check(place / engine, expected, count)
            print(
                f"{engine}, 2 workers: {count} sentences, each once, {spans} spans equal to those of hl-run; "
                f"{seconds_:.0f} s with start and kill, {count / seconds_:.0f} per second, {took / seconds_:.2f} of hl-run"
            )
            for note in notes:
                print(f"  {note}", flush=True)


if __name__ == "__main__":
    engines, program, model, *count = sys.argv[1:]
    main(engines, program, model, *map(int, count))
