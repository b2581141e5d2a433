#!/usr/bin/env bash
# Sentences a second of hl-run's library as two commits build it, in turns: is tagging as fast as before?
#   bench/decode/commits.sh BEFORE AFTER TEST_FILE [rounds]
# BEFORE and AFTER: folders with the programs and examples of each commit (`cargo build --release --workspace --bins --examples`
# in a worktree with a target folder of its own). TEST_FILE: mTOP's test split. Each commit tags with a file of its own exporter: the
# committed run's mTOP, brought to T5-base's shape, and as it is.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,6s/^# \?//p' "$0" >&2; exit 1; }
before=$(realpath "$1") after=$(realpath "$2") test_file=$(realpath "$3") rounds=${4:-3}
cd "$(dirname "$0")/../.."
if [ -z "${ORT_DYLIB_PATH:-}" ]; then
  ORT_DYLIB_PATH=$(realpath "$(ls .native/onnxruntime/lib/libonnxruntime.so.* | head -n 1)")
  export ORT_DYLIB_PATH
fi
export OMP_NUM_THREADS=2 RAYON_NUM_THREADS=2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for side in before after; do
  mkdir "$work/$side"
  "${!side}/examples/widen" --backbone fixtures/backbones/t5-nano --run fixtures/runs/nano --task mtop --drop-adapters "$work/$side/wide"
  "${!side}/hl-export" --run fixtures/runs/nano --task mtop --output "$work/$side/nano.onnx" > /dev/null
done
for round in $(seq "$rounds"); do
  for model in wide/mtop.onnx nano.onnx; do
    for side in before after; do
      limit=$([ "$model" = nano.onnx ] && echo 1000 || echo 200)
      "${!side}/examples/tagger_speed" --model "$work/$side/$model" --layout mtop --corpus "$test_file" --limit "$limit" \
        --batch-sizes 1,32 --decode verified | tail -n 1 > "$work/$round-$side-${model%%[/.]*}.json"
    done
  done
done
python3 - "$work" "$rounds" <<'PYTHON'
import json, statistics, sys

work, rounds = sys.argv[1], range(1, int(sys.argv[2]) + 1)
print("| shape | batch | before, sentences/s | after | times as fast |")
print("|---|---|---|---|---|")
for model, name in [("wide", "T5-base"), ("nano", "nano")]:
    records = {side: [json.load(open(f"{work}/{round}-{side}-{model}.json")) for round in rounds] for side in ("before", "after")}
    count = len(records["after"][0]["ids"])
    assert records["before"][0]["ids"] == records["after"][0]["ids"], "the commits choose other ids"
    for size in ("1", "32"):
        rates = [count / statistics.median(r["batches"][size]["seconds"] for r in records[side]) for side in ("before", "after")]
        print(f"| {name} | {size} | {rates[0]:.1f} | {rates[1]:.1f} | {rates[1] / rates[0]:.2f} |")
PYTHON
