"""Memory of hl-run with one and two workers, with and without `--cache`, as a Markdown table (Linux).

Read from /proc once the first answers are out, so that all sessions are open and have run. The cache is made before, and
removed in the end.
"""
import argparse
import subprocess
import tempfile
import time
from pathlib import Path

COLUMNS = ["Rss", "Pss", "Anonymous"]


def measured(command, sentences):
    """Mebibytes of each of COLUMNS, and seconds to the first answer."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write("set an alarm for 7 am\n" * sentences)
    process.stdin.flush()
    process.stdout.readline()
    seconds = time.perf_counter() - began
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return [round(kib[name] / 1024) for name in COLUMNS], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--hl-run", type=Path, required=True)
    options = parser.parse_args()
    print(f"| | {' | '.join(f'{name}, MiB' for name in COLUMNS)} | first answer, s |\n{'|---' * (len(COLUMNS) + 2)}|")
    with tempfile.TemporaryDirectory() as cache:
        command = [str(options.hl_run), "--model", str(options.model), "--threads", "1", "--batch-size", "2",
                   "--output-format", "jsonl", "--quiet"]
        kept = [f"--cache={cache}"]
        measured([*command, *kept], 1)
        for workers in (1, 2):
            for flags in ([], kept):
                # Enough for each worker to have some, and then to wait for more.
                memory, seconds = measured([*command, "--workers", str(workers), *flags], 16 * workers)
                name = f"{workers} worker{'s' * (workers > 1)}{', --cache' * bool(flags)}"
                print(f"| {name} | {' | '.join(map(str, memory))} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
