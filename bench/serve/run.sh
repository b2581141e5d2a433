#!/usr/bin/env bash
# hl-serve under load by wrk, next to FastAPI + transformers and to hl-run's batches, as a Markdown table: see README.md.
#   bench/serve/run.sh OUT
# OUT: a folder for models and the peer's virtual environment (8 GB).
# From the environment, all optional: RUN (a trained run without adapters; one is trained for 400 steps if absent), PYTHON
# (3.10 to 3.13), BUILT (a folder with the programs), BENCH_FLAGS (for bench.py, such as `--rounds 1 --seconds 5`).
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,6s/^# \?//p' "$0" >&2; exit 1; }
command -v wrk > /dev/null || { echo "wrk is missing (Debian: apt-get install wrk)" >&2; exit 1; }
mkdir -p "$1"
out=$(realpath "$1")
cd "$(dirname "$0")/../.."

source bench/common.sh
programs --workspace --bins --examples
peer=$out/venv/bin/python
environment "$out/venv" bench/serve/requirements.txt

run=${RUN:-$out/runs/lora}
if [ ! -d "$run" ]; then
  cat > "$out/lora.toml" <<TOML
seed = 42
[backbone]
path = "$PWD/fixtures/backbones/t5-nano"
[method]
method = "hyperloader"
adapters = "none"
lora = { rank = 16, alpha = 0.32 }
[training]
steps = 400
batch_size = 16
learning_rate = 1e-3
schedule = "linear"
warmup_steps = 50
label_smoothing = 0.0
dropout = 0.0
evaluate_every = 200
TOML
  (cd "$out" && "$built/hl-train" --config lora.toml --name lora --data "$OLDPWD/fixtures/corpora" --tasks mtop --quiet)
fi
widen() { "$built/examples/widen" --backbone fixtures/backbones/t5-nano --run "$run" --task mtop "$@"; }
[ -f "$out/base/mtop.onnx" ] || widen "$out/base"
[ -f "$out/int8/mtop.onnx" ] || { widen --precision int8 "$out/int8"; rm -r "$out/int8/hf"; }
if [ ! -f "$out/nano.onnx" ]; then
  "$built/hl-export" --run "$run" --task mtop --output "$out/nano.onnx" --quiet
  "$peer" bench/serve/plain.py "$out/nano.onnx" fixtures/backbones/t5-nano "$out/nano-hf"
fi
head -n 200 fixtures/corpora/mtop/en/test.txt | cut -f 4 > "$out/sentences.txt"
# shellcheck disable=SC2086 # several flags may be given
"$peer" bench/serve/bench.py --sentences "$out/sentences.txt" --hl-run "$built/hl-run" --hl-serve "$built/hl-serve" \
  --python "$peer" --model "base f32=$out/base/mtop.onnx=$out/base/hf" "base int8=$out/int8/mtop.onnx=$out/base/hf" \
  "nano f32=$out/nano.onnx=$out/nano-hf" ${BENCH_FLAGS:-} | tee "$out/results.md"
