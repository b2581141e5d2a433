#!/usr/bin/env bash
# One file of seven tasks next to seven files of one task, in ONNX Runtime: speed and memory (multi.py).
#   bench/export/multi.sh [preset]
# The run has random weights in the shape of `preset` (t5-base). PYTHON has onnxruntime 1.31 and numpy. Needs 8 GB below TMPDIR and 9 GB of memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/common.sh
preset=${1:-t5-base}
programs --package hyperloader-exporter --bins --examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$built/examples/random_run" "$preset" "$work" --tasks 7
root=$PWD
cd "$work"
for task in mtop task1 task2 task3 task4 task5 task6; do
  "$built/hl-export" --no-verify --quiet --task "$task" --output "$task.onnx" > /dev/null
done
"$built/hl-export" --no-verify --quiet --multi multi.onnx > /dev/null
"${PYTHON:-python3}" "$root/bench/export/multi.py" "$work" "${SECONDS_OF_A_ROUND:-20}"
