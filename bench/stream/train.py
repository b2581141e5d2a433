"""A training on streamed shards: seconds until the first step, peak memory, and a resumed run compared byte for byte.

python3 bench/stream/train.py FOLDER --hl-train PROGRAM

FOLDER is from `shards.py`. A run of one step writes the store of examples, the second run is whole, the third is killed in the
middle and resumed. Linux only.
"""
import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# Files with times.
LEFT_OUT = {"metrics.jsonl", "outcome.json", "report.html", "plots", ".lock", "config.toml"}


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def logged_steps(run):
    log = run / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line).get("step", 0) for line in lines if line.endswith("}")]


def train(arguments, run, kill_at=None):
    """Runs a training. Returns the seconds until its first steps are logged, all seconds, and its peak memory in MiB."""
    before = len(logged_steps(run))
    began, first, peak = time.perf_counter(), None, 0.0
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    while child.poll() is None:
        try:
            peak = max(peak, peak_mib(child.pid))
        except OSError:
            pass
        steps = logged_steps(run)
        if first is None and len(steps) > before:
            first = time.perf_counter() - began
        if kill_at is not None and steps and steps[-1] >= kill_at:
            child.kill()
            child.wait()
            break
        time.sleep(0.02)
    if kill_at is None and child.returncode != 0:
        sys.exit(f"{arguments} ended with {child.returncode}")
    if kill_at is not None and child.returncode != -signal.SIGKILL:
        sys.exit(f"{arguments} ended with {child.returncode} before step {kill_at}: nothing was killed")
    return {"first_steps_s": round(first or 0, 1), "all_s": round(time.perf_counter() - began, 1), "peak_mib": round(peak)}


def hashes(run):
    files = (path for path in sorted(run.rglob("*")) if path.is_file())
    kept = (path for path in files if not LEFT_OUT & set(path.relative_to(run).parts) and "tfevents" not in path.name)
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def losses(run):
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in ("seconds", "train_seconds", "run")} for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hl-train", required=True, type=Path)
    parser.add_argument("--only-store", action="store_true", help="end after the store is written")
    options = parser.parse_args()
    program, config = [str(options.hl_train.resolve()), "--quiet"], str(options.folder / "hyperloader.toml")
    runs = options.folder / "runs"
    start = [*program, "--config", config, "--runs", str(runs)]
    result = {}
    if options.only_store or not (runs / ".streams").exists():
        shutil.rmtree(runs, ignore_errors=True)
        result["store"] = train([*start, "--name", "store", "--steps", "1"], runs / "store")
    store = sum(file.stat().st_size for file in (runs / ".streams").iterdir())
    shards = sum(file.stat().st_size for file in options.folder.glob("shard-*"))
    result |= {"shards_mib": shards >> 20, "store_mib": store >> 20}
    if options.only_store:
        print(json.dumps(result))
        return
    for name in ("run", "cut"):
        shutil.rmtree(runs / name, ignore_errors=True)
    result["whole"] = train([*start, "--name", "run"], runs / "run")
    result["killed"] = train([*start, "--name", "cut"], runs / "cut", kill_at=130)
    result["resumed"] = train([*program, "--resume", str(runs / "cut")], runs / "cut")
    ours, theirs = hashes(runs / "run"), hashes(runs / "cut")
    ours.pop("manifest.json"), theirs.pop("manifest.json")  # They have the names of the runs.
    same = bool(ours) and losses(runs / "run") == losses(runs / "cut") and ours == theirs
    print(json.dumps(result | {"identical": same, "files_compared": len(ours)}))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
