#!/usr/bin/env bash
# A training step of hl-train beside the same step in PyTorch eager, in turns, on the same machine.
# Needs a Python with torch and safetensors: PYTHON=path/to/python bench/train/run.sh [rounds]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
rounds=${1:-3}
backbone=${BACKBONE:-fixtures/backbones/t5-nano}
cargo build --quiet --release --package hyperloader-trainer --example step_speed
ours=${CARGO_TARGET_DIR:-target}/release/examples/step_speed
for _ in $(seq "$rounds"); do
  "$ours" "$backbone"
  "$python" bench/train/peer.py --backbone "$backbone" --threads "$(nproc)"
done | tee /dev/stderr | "$python" -c '
import json, statistics, sys
rows = [json.loads(line) for line in sys.stdin]
median = {e: statistics.median(r["median_s"] for r in rows if r["engine"] == e) for e in {r["engine"] for r in rows}}
ours, peer = median["hl-train"], median["pytorch-eager"]
print(f"hl-train {ours:.4f} s, PyTorch eager {peer:.4f} s a step:"
      f" {peer / ours:.2f}x")'
