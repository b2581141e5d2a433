#!/usr/bin/env bash
# An evaluation in hl-train, greedy and with verified drafts, beside transformers' `generate`: seconds for the full test sets of
# ATIS and SNIPS, on nano and on the same model in T5-base's shape. All three must give the same ids.
#   bench/train/evaluation.sh DATA OUT
# DATA: the folder of the corpora. OUT: a folder for models and the peer's virtual environment (9 GB).
# From the environment, all optional: PYTHON (3.10 to 3.13), BUILT (a folder with the programs), TASKS, SHAPES.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,6s/^# \?//p' "$0" >&2; exit 1; }
mkdir -p "$2"
data=$(realpath "$1") out=$(realpath "$2")
cd "$(dirname "$0")/../.."
read -r -a tasks <<< "${TASKS:-atis snips}"
source bench/common.sh
programs --workspace --bins --examples
peer=$out/venv/bin/python
environment "$out/venv" bench/serve/requirements.txt
nano=$PWD/fixtures/backbones/t5-nano

# configure FILE BACKBONE METHOD STEPS RATE CORPORA TASK...: a configuration with the corpora of these tasks.
configure() {
  cat > "$1" <<TOML
seed = 42
[backbone]
path = "$2"
[method]
$3
[training]
steps = $4
batch_size = 16
learning_rate = $5
warmup_steps = 0
label_smoothing = 0.0
dropout = 0.0
evaluate_every = $4
drafter = false
calibrate = false
TOML
  local task
  for task in "${@:7}"; do
    printf '[task.%s]\nlayout = "seq-in-out"\nlabels = "plain"\ntrain = "%s"\nvalid = "%s"\ntest = "%s"\n' \
      "$task" "$data/$task/train" "$6/$task/valid" "$6/$task/test"
  done >> "$1"
}
# Two sentences of each split: trainings that prepare the models need no scores.
for task in "${tasks[@]}"; do
  for split in valid test; do
    mkdir -p "$out/short/$task/$split"
    for name in seq.in seq.out; do head -n 2 "$data/$task/$split/$name" > "$out/short/$task/$split/$name"; done
  done
done
train() { "$built/hl-train" --quiet --no-progress --config "$1" --runs "$out/runs" --name "$2" > /dev/null; }

# No adapters: a plain T5 can hold all weights.
configure "$out/lora.toml" "$nano" 'method = "hyperloader"
adapters = "none"
lora = { rank = 16, alpha = 0.32 }' 400 1e-3 "$out/short" "${tasks[@]}"
[ -d "$out/runs/lora" ] || train "$out/lora.toml" lora
for task in "${tasks[@]}"; do
  if [ ! -d "$out/nano-$task" ]; then
    "$built/hl-export" --run "$out/runs/lora" --task "$task" --output "$out/$task.onnx" --force --quiet
    "$peer" bench/serve/plain.py "$out/$task.onnx" "$nano" "$out/nano-$task"
    "$built/examples/widen" --backbone "$nano" --run "$out/runs/lora" --task "$task" "$out/wide"
    mv "$out/wide/hf" "$out/t5-base-$task"
    rm -r "$out/wide"
  fi
  for shape in ${SHAPES:-nano t5-base}; do
    model=$out/$shape-$task
    # hl-train evaluates runs: this one has the model's weights and a LoRA that is as good as zero.
    configure "$out/same.toml" "$model" 'method = "lora"' 1 1e-12 "$out/short" "$task"
    configure "$out/full.toml" "$model" 'method = "lora"' 1 1e-12 "$data" "$task"
    [ -d "$out/runs/$shape-$task" ] || train "$out/same.toml" "$shape-$task"
    echo "$shape $task"
    "$built/examples/evaluation_speed" "$out/runs/$shape-$task" "$out/full.toml" 100000 "$out/$shape-$task.jsonl"
    "$peer" bench/train/evaluation.py "$model" "$out/$shape-$task.jsonl" 128
  done
done
