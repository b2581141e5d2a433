#!/usr/bin/env bash
# A training step of hl-train beside the same step in PyTorch eager, in turns, on the same machine: seconds, the share of
# the machine's rate of bare matrix products, peak resident memory.
# Needs a Python with torch and safetensors: PYTHON=path/to/python bench/train/run.sh [rounds] [steps]
# BACKBONE names another backbone; `t5-base` or `t5-small` is one of that shape with random weights. DROPOUT is 0.1 unless
# given.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
rounds=${1:-3}
steps=${2:-30}
dropout=${DROPOUT:-0.1}
backbone=${BACKBONE:-fixtures/backbones/t5-nano}
cargo build --quiet --release --package hyperloader-trainer --package hyperloader-exporter --examples
examples=${CARGO_TARGET_DIR:-target}/release/examples
if [[ $backbone == t5-* ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  "$examples/random_run" "$backbone" "$work" > /dev/null
  backbone=$work/backbone
fi
for _ in $(seq "$rounds"); do
  "$examples/step_speed" "$backbone" "$steps" 32 cpu f32 "$dropout"
  "$python" bench/train/peer.py --backbone "$backbone" --steps "$steps" --threads "$(nproc)" --dropout "$dropout"
done | tee >(cat >&2) | "$python" -c '
import json, statistics, sys
rows = [json.loads(line) for line in sys.stdin]
def median(engine, field):
    return statistics.median(row[field] for row in rows if row["engine"] == engine)
ours, peer = "hl-train", "pytorch-eager"
speed = [median(engine, "median_s") for engine in (ours, peer)]
memory = [median(engine, "peak_mib") for engine in (ours, peer)]
print(f"a step: hl-train {speed[0]:.4f} s, PyTorch eager {speed[1]:.4f} s: {speed[1] / speed[0]:.2f}x")
print(f"peak memory: {memory[0]:.0f} MiB, {memory[1]:.0f} MiB: {memory[0] / memory[1]:.2f} times")
gflop, rate, bare = (median(ours, f) for f in ("gflop", "gflop_per_s", "product_gflop_per_s"))
print(f"{gflop:.1f} GFLOP a step at {rate:.1f} GFLOP/s: {rate / bare:.0%} of the {bare:.1f} GFLOP/s of a bare product")'
