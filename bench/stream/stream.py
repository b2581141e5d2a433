"""A long stream of short sentences through `hl-run`: throughput, resident memory over time, and whether each line's
answer comes in its place.

python3 bench/stream/stream.py MODEL --hl-run PROGRAM --words FILE [--lines 1000000] [flags of hl-run]
"""
import argparse
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path


def sentences(path, lines, longest):
    """Windows of two to `longest` words of the file's lines, the same ones each time."""
    whole = [words for line in path.read_text(encoding="utf-8").splitlines() if len(words := line.split()) > 1]
    draw = random.Random(1)
    for _ in range(lines):
        words = draw.choice(whole)
        length = draw.randint(2, min(longest, len(words)))
        start = draw.randint(0, len(words) - length)
        yield " ".join(words[start:start + length])


def resident_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--hl-run", required=True)
    parser.add_argument("--words", type=Path, required=True, help="a file of sentences, one a line")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--longest", type=int, default=5, help="words of a sentence, at most")
    options, flags = parser.parse_known_args()
    command = [options.hl_run, "--model", options.model, "--output-format", "jsonl", *flags]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def feed():
        with program.stdin as stdin:
            for sentence in sentences(options.words, options.lines, options.longest):
                stdin.write(sentence + "\n")

    threading.Thread(target=feed, daemon=True).start()
    began, memory, done, misplaced = time.perf_counter(), [], 0, 0
    mark = max(options.lines // 20, 1)
    for sentence, answer in zip(sentences(options.words, options.lines, options.longest), program.stdout):
        misplaced += json.loads(answer)["text"] != sentence
        done += 1
        if done % mark == 0 and done < options.lines:
            memory.append(round(resident_mib(program.pid), 1))
            print(f"{done} lines, {done / (time.perf_counter() - began):.0f} a second, {memory[-1]} MiB", file=sys.stderr)
    seconds = time.perf_counter() - began
    rest = program.stdout.read()
    code = program.wait()
    # The first tenth warms up.
    warm = memory[1:] or memory
    print(json.dumps({"lines": done, "misplaced": misplaced, "exit_code": code, "lines_a_second": round(done / seconds),
                      "resident_mib": memory, "growth_after_warm_up": round(max(warm) / warm[0] - 1, 4)}))
    whole = done == options.lines and not rest and not misplaced and code == 0
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
