"""Measures hl-serve with wrk, next to FastAPI + transformers and to hl-run, and prints a Markdown table.

Servers run one after the other, each on all threads that `--threads` gives; wrk is on the same machine. See README.md.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent


def wait_for(url, process):
    for _ in range(1200):
        if process.poll() is not None:
            raise SystemExit(f"the server at {url} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no server at {url}")


class Running:
    """A server that is ended with the block."""

    def __init__(self, command, url, environment=None):
        self.process = subprocess.Popen([str(word) for word in command], env={**os.environ, **(environment or {})},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = url

    def __enter__(self):
        wait_for(self.url, self.process)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            # The peer answers requests that nobody waits for any more.
            self.process.kill()
            self.process.wait()


def load(url, connections, seconds, sentences):
    """What wrk measures."""
    environment = {**os.environ, "SENTENCES": str(sentences)}
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
               "--timeout", "120s", "--script", str(HERE / "post.lua"), url]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    result = json.loads(re.search(r"^RESULT (.*)$", printed, re.MULTILINE)[1])
    if result["failed"]:
        print(f"{result['failed']} of {result['requests']} requests failed", file=sys.stderr)
    return {**result, "rate": result["requests"] / result["seconds"]}


def batch_rate(o, model, scores):
    """Sentences per second of hl-run, without its start."""
    command = [o.hl_run, "--model", model, "--threads", o.threads, "--output-format", "jsonl", "--stats"]
    with open(o.sentences) as stdin:
        run = subprocess.run([str(word) for word in command + (["--scores"] if scores else [])], stdin=stdin,
                             check=True, capture_output=True, text=True)
    return float(re.search(r": ([\d.]+) per second", run.stderr)[1])


def measure(o, server, url):
    """The median round of each number of connections. A round that must be long, so that each connection is answered, counts alone."""
    found = {}
    with server:
        alone = load(url, 1, min(5, o.seconds), o.sentences)["rate"]
        for connections in o.connections:
            needed = 2.5 * connections / max(alone, 0.5)
            long = needed > 1.5 * o.seconds
            rounds = [load(url, connections, round(max(o.seconds, needed)), o.sentences) for _ in range(1 if long else o.rounds)]
            median = statistics.median_low([one["rate"] for one in rounds])
            found[connections] = next(one for one in rounds if one["rate"] == median)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME=FILE[=HF]",
                        help="a tagger and, for the peer, the same model in Hugging Face's layout")
    parser.add_argument("--sentences", required=True, help="a sentence per line")
    parser.add_argument("--hl-run", required=True)
    parser.add_argument("--hl-serve", required=True)
    parser.add_argument("--python", help="with requirements.txt; no peer if absent")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--port", type=int, default=8731)
    o = parser.parse_args()

    print("| model | server | connections | requests/s | p50 ms | p95 ms | p99 ms | times FastAPI | of hl-run |")
    print("|---|---|---|---|---|---|---|---|---|")
    address = f"127.0.0.1:{o.port}"
    url = f"http://{address}/tag"
    peers = {}
    for entry in o.model:
        name, file, *hf = entry.split("=")
        batches = {"": batch_rate(o, file, scores=False), ", scores": batch_rate(o, file, scores=True)}
        for scores, rate in batches.items():
            print(f"| {name} | hl-run, batches of 32{scores} | | {rate:.1f} | | | | | 1 |", flush=True)
        peer = {}
        if hf and o.python:
            if hf[0] not in peers:
                command = [o.python, "-m", "uvicorn", "app:app", "--app-dir", HERE, "--port", o.port]
                environment = {"HF": hf[0], "THREADS": str(o.threads), "OMP_NUM_THREADS": str(o.threads)}
                peers[hf[0]] = measure(o, Running(command, f"http://{address}/openapi.json", environment), url)
            peer = peers[hf[0]]
            show(name, "FastAPI + transformers", peer, peer, batches[""])
        for scores in batches:
            command = [o.hl_serve, file, "--bind", address, "--threads", o.threads, "--quiet"]
            command += [] if scores else ["--no-scores"]
            found = measure(o, Running(command, f"http://{address}/v2/health/ready"), url)
            show(name, f"hl-serve{scores}", found, peer, batches[scores])


def show(name, server, found, peer, batch_rate):
    for connections, one in found.items():
        times = f"{one['rate'] / peer[connections]['rate']:.1f}" if connections in peer else ""
        print(f"| {name} | {server} | {connections} | {one['rate']:.1f} | {one['p50_ms']:.1f} | {one['p95_ms']:.1f} | "
              f"{one['p99_ms']:.1f} | {times} | {one['rate'] / batch_rate:.2f} |", flush=True)


if __name__ == "__main__":
    main()
