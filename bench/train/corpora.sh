#!/usr/bin/env bash
# Training on the seven corpora of the paper, hl-train's steps beside PyTorch eager's, in turns, on the same machine:
# sentences and target tokens per second. Both have the same batches, 32 random sentences of a task, which PyTorch pads to the
# longest.
# Needs a Python with torch and safetensors: PYTHON=path/to/python bench/train/corpora.sh DATA [rounds] [steps]
# BACKBONE names another backbone than nano; `t5-base` or `t5-small` is one of that shape with random weights.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
data=${1:?the folder of the corpora is missing}
rounds=${2:-3}
steps=${3:-60}
backbone=${BACKBONE:-fixtures/backbones/t5-nano}
examples=${EXAMPLES:-}
if [[ -z $examples ]]; then
  cargo build --quiet --release --package hyperloader-trainer --package hyperloader-exporter --examples
  examples=${CARGO_TARGET_DIR:-target}/release/examples
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ $backbone == t5-* ]]; then
  "$examples/random_run" "$backbone" "$work" > /dev/null
  backbone=$work/backbone
fi
"$examples/corpora_speed" "$backbone" "$data" "$work/ids.json" "$steps"
for _ in $(seq "$rounds"); do
  "$examples/corpora_speed" "$backbone" "$data" train "$steps"
  "$python" bench/train/peer.py --backbone "$backbone" --data "$work/ids.json" --steps "$steps" --threads "$(nproc)"
done | tee >(cat >&2) | "$python" -c '
import json, statistics, sys
rows = [json.loads(line) for line in sys.stdin]
def median(engine, field):
    return statistics.median(row[field] for row in rows if row["engine"] == engine)
peer = "pytorch-eager"
for engine in dict.fromkeys(row["engine"] for row in rows):
    rates = [median(engine, field) for field in ("sentences_per_s", "target_tokens_per_s")]
    ratios = [rate / median(peer, field) for rate, field in zip(rates, ("sentences_per_s", "target_tokens_per_s"))]
    print(f"{engine}: {rates[0]:.1f} sentences/s ({ratios[0]:.2f}x), {rates[1]:.0f} target tokens/s ({ratios[1]:.2f}x), "
          "{0:.0f} MiB".format(median(engine, "peak_mib")))'
