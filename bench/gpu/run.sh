#!/usr/bin/env bash
# What only a GPU can show: logits of CPU and GPU, bf16 beside f32 training, a T5-base step beside PyTorch eager.
# On a machine with an NVIDIA GPU and a Python that has torch 2.11 (CUDA) and safetensors:
#   PYTHON=path/to/python bench/gpu/run.sh
# BUILT names a folder with binaries that were built elsewhere; the CUDA half of libtorch is taken from that Python.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
built=${BUILT:-${CARGO_TARGET_DIR:-target}/release}
if [ ! -x "$built/hl-train" ]; then
  cargo xtask setup
  cargo build --release --package hyperloader-trainer --package hyperloader-exporter --bins --examples
fi
built=$(realpath "$built")
# The GPU's libtorch must be one piece: CPU and CUDA halves of the same build.
torch=$("$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')
export LD_LIBRARY_PATH="$torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
work=$(mktemp -d)
# Configurations must lie where their paths are relative to.
trap 'rm -rf "$work" hyperloader-*.gpu.toml' EXIT

echo "== logits of the committed run, GPU against CPU (limit 1e-4; TF32 off)"
NVIDIA_TF32_OVERRIDE=0 "$built/examples/device_parity" fixtures/runs/nano hyperloader.toml cuda | tee "$work/parity.jsonl"
"$python" - "$work/parity.jsonl" <<'PYTHON'
import json, sys
worst = max(json.loads(line)["largest_difference"] for line in open(sys.argv[1]))
print(f"largest difference {worst:.1e}:", "ok" if worst <= 1e-4 else "FAILED")
PYTHON

echo "== 200 steps in bf16 against f32, same batches (limit 1 %)"
for precision in f32 bf16; do
  sed "s/^\\[training\\]/[training]\\nprecision = \"$precision\"/" hyperloader.toml > "hyperloader-$precision.gpu.toml"
  "$built/hl-train" --config "hyperloader-$precision.gpu.toml" --quiet --device cuda --warm-start fixtures/runs/nano \
    --learning-rate 1e-4 --steps 200 --evaluate-every 200 --runs "$work/runs" --name "$precision" > /dev/null
done
"$python" - "$work/runs" <<'PYTHON'
import json, sys
def mean(name):
    rows = [json.loads(line) for line in open(f"{sys.argv[1]}/{name}/metrics.jsonl")]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    return sum(losses) / len(losses)
f32, bf16 = mean("f32"), mean("bf16")
print(f"mean loss f32 {f32:.4f}, bf16 {bf16:.4f}, ratio {bf16 / f32:.4f}:", "ok" if abs(bf16 / f32 - 1) <= 0.01 else "FAILED")
PYTHON

echo "== a T5-base step (random weights); the paper's own figure is 0.425 s for 4 x 32 sentences on four A100"
"$built/examples/random_run" t5-base "$work/base"
measure() { # Runs a command and adds the peak of the GPU's used memory to its line of JSON.
  "$@" > "$work/line" &
  local job=$! peak=0 used
  while kill -0 "$job" 2> /dev/null; do
    used=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | head -n 1)
    [ "$used" -gt "$peak" ] && peak=$used
    sleep 0.1
  done
  wait "$job"
  echo "$(cat "$work/line") peak_mib=$peak"
}
for precision in f32 bf16; do
  for batch in 32 128; do
    measure "$built/examples/step_speed" "$work/base/backbone" 60 "$batch" cuda "$precision"
    measure "$python" bench/train/peer.py --backbone "$work/base/backbone" --steps 60 --batch "$batch" --device cuda --precision "$precision"
  done
done

echo "== attention, plain and fused (hl-train takes the fused one where nothing is dropped)"
for dropout in 0.1 0; do
  "$python" bench/train/attention.py --device cuda --dropout "$dropout"
done

echo "== two runs in deterministic mode (the same bits)"
for name in one two; do
  "$built/hl-train" --quiet --device cuda --deterministic --steps 40 --evaluate-every 40 --runs "$work/runs" --name "$name" > /dev/null
done
cmp "$work"/runs/{one,two}/checkpoints/step-000040.safetensors && echo ok
