#!/usr/bin/env bash
# An exported tagger on a pretrained BERT (all-MiniLM-L6-v2) in hl-run, next to optimum + ONNX Runtime and transformers.
#   bench/encoder/run.sh OUT
# OUT: a folder for the run, the models and the peers' virtual environment (6 GB). From the environment, all optional: BUILT (a folder
# with the programs), PYTHON (3.10 to 3.13), BENCH_FLAGS (for bench.py). `cargo xtask backbone minilm` fetches the encoder.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 1; }
mkdir -p "$1"
out=$(realpath "$1")
cd "$(dirname "$0")/../.."
minilm=$PWD/.native/backbones/minilm
[ -d "$minilm" ] || cargo xtask backbone minilm
source bench/common.sh
programs --workspace --bin hl-train --bin hl-export --bin hl-run
python=$out/venv/bin/python
environment "$out/venv" bench/encoder/requirements.txt
if [ ! -d "$out/runs/lora" ]; then
  cat > "$out/lora.toml" <<TOML
seed = 42
[backbone]
path = "$minilm"
[method]
method = "lora"
[training]
steps = 400
batch_size = 16
learning_rate = 1e-3
schedule = "linear"
warmup_steps = 50
label_smoothing = 0.0
dropout = 0.1
evaluate_every = 400
TOML
  "$built/hl-train" --config "$out/lora.toml" --runs "$out/runs" --name lora --data fixtures/corpora --tasks snips --quiet
fi
export_as() { # PRECISION, then options of hl-export
  "$built/hl-export" --run "$out/runs/lora" --task snips --precision "$1" --force --quiet --output "$out/$1.onnx" "${@:2}"
}
export_as f32
export_as int8 --max-f1-drop 0.05
head -n 300 fixtures/corpora/snips/test/seq.in > "$out/sentences.txt"
# shellcheck disable=SC2086 # several flags may be given
"$python" bench/encoder/bench.py --hl-run "$built/hl-run" --model "$out/f32.onnx" --int8 "$out/int8.onnx" --backbone "$minilm" \
  --sentences "$out/sentences.txt" ${BENCH_FLAGS:-} | tee "$out/results.md"
