#!/usr/bin/env bash
# hl-run in ONNX Runtime beside transformers, both on one GPU: bench/decode's table for batches of 1, 32 and 256.
#   bench/gpu/decode.sh RUN TEST_FILE OUT
# RUN: folder of a run without adapters; TEST_FILE: mTOP's test split; OUT: a folder for models and results (2 GB).
# From the environment: PYTHON (has torch with CUDA, and transformers), ORT_DYLIB_PATH (libonnxruntime.so of the package
# onnxruntime-gpu, beside its providers; installed into OUT if not given), and optionally BUILT (a folder with the
# programs, built elsewhere), DEVICE (`cpu` tries the script without a GPU), BENCH_FLAGS (for bench/decode/bench.py).
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 1; }
mkdir -p "$3"
run=$(realpath "$1") test_file=$(realpath "$2") out=$(realpath "$3")
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
task=mtop

if [ -z "${BUILT:-}" ]; then
  cargo build --quiet --release --package hyperloader-exporter --package hyperloader-runtime --bins --examples
  BUILT=${CARGO_TARGET_DIR:-target}/release
fi
built=$(realpath "$BUILT")
if [ -z "${ORT_DYLIB_PATH:-}" ]; then
  "$python" -m pip install --quiet --no-deps --target "$out/onnxruntime" onnxruntime-gpu==1.31.1
  ORT_DYLIB_PATH=$(realpath "$(ls "$out"/onnxruntime/onnxruntime/capi/libonnxruntime.so.* | head -n 1)")
  export ORT_DYLIB_PATH
fi
# The libraries of CUDA that torch came with serve ONNX Runtime too.
cuda=$("$python" -c 'import glob, site; print(":".join(p for s in site.getsitepackages() for p in glob.glob(f"{s}/nvidia/*/lib")))')
export LD_LIBRARY_PATH="$cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

[ -f "$out/$task.onnx" ] || "$built/examples/widen" --backbone fixtures/backbones/t5-nano --task "$task" --run "$run" "$out"
"$built/examples/tagger_speed" --model "$out/$task.onnx" --layout mtop --corpus "$test_file" --sources > "$out/sentences.jsonl"
# shellcheck disable=SC2086 # several flags may be given
"$python" bench/decode/bench.py "$out" --file "$task.onnx" --sentences "$out/sentences.jsonl" --corpus "$test_file" \
  --hl-run "$built/hl-run" --tagger-speed "$built/examples/tagger_speed" --python "$python" \
  --device "${DEVICE:-cuda}" --backends ort --batch-sizes 1,32,256 \
  --only "hl-run ort greedy" --only "hl-run ort verified" --only transformers ${BENCH_FLAGS:-}
