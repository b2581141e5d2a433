#!/usr/bin/env bash
# Sentences a second of hl-run and of other T5 engines, all on one nano run in T5-base's shape: see README.md.
#   bench/decode/run.sh RUN TEST_FILE OUT
# RUN: folder of a run without adapters; TEST_FILE: mTOP's test split; OUT: a folder for models and results (6 GB).
# From the environment, all optional: PYTHON (3.10 to 3.13, to make OUT/venv with), PEERS (a Python that has
# requirements.txt already), CANDLE=0 (leave candle out), ADAPTERS_RUN (a run with adapters, for a row of its own;
# none if empty), BUILT (a folder with the programs, built elsewhere), BENCH_FLAGS (for bench.py, such as
# `--rounds 1 --limit 20`).
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,8s/^# \?//p' "$0" >&2; exit 1; }
mkdir -p "$3"
run=$(realpath "$1") test_file=$(realpath "$2") out=$(realpath "$3")
cd "$(dirname "$0")/../.."
task=mtop
backbone=fixtures/backbones/t5-nano
adapters_run=${ADAPTERS_RUN-fixtures/runs/nano}

source bench/common.sh
programs --package hyperloader-exporter --package hyperloader-runtime --bins --examples
peers=${PEERS:-$out/venv/bin/python}
[ -n "${PEERS:-}" ] || environment "$out/venv" bench/decode/requirements.txt
candle=()
if [ "${CANDLE:-1}" = 1 ]; then
  CARGO_TARGET_DIR="$out/candle" cargo build --quiet --release --locked --manifest-path bench/decode/candle/Cargo.toml
  candle=(--candle "$out/candle/release/candle-peer")
fi

widen() { "$built/examples/widen" --backbone "$backbone" --task "$task" "$@"; }
[ -f "$out/$task.onnx" ] || widen --run "$run" "$out"
if [ ! -f "$out/int8/$task.onnx" ]; then
  widen --precision int8 --run "$run" "$out/int8"
  rm -r "$out/int8/hf"
fi
adapters=()
if [ -n "$adapters_run" ]; then
  wide=$out/adapters
  if [ ! -f "$wide/$task.onnx" ]; then
    widen --drop-adapters --run "$adapters_run" "$wide"
    # Without its adapters it is no model to compare with.
    rm -r "$wide/hf"
  fi
  adapters=(--adapters "$wide/$task.onnx")
fi
"$built/examples/tagger_speed" --model "$out/$task.onnx" --layout mtop --corpus "$test_file" --sources > "$out/sentences.jsonl"
"$peers" bench/decode/peers.py prepare "$out" --sentences "$out/sentences.jsonl"
# shellcheck disable=SC2086 # several flags may be given
"$peers" bench/decode/bench.py "$out" --file "$task.onnx" --sentences "$out/sentences.jsonl" --corpus "$test_file" \
  --int8 "$out/int8/$task.onnx" --hl-run "$built/hl-run" --tagger-speed "$built/examples/tagger_speed" --python "$peers" \
  "${candle[@]}" "${adapters[@]}" ${BENCH_FLAGS:-}
