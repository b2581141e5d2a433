#!/usr/bin/env bash
# Trains a run of every method for a few updates, exports it in every precision and packaging, and prints which runtimes run
# the files (table.py) and whether the float32 files give what the trainer gives for every bundled test sentence (trainer.py).
#
#   bench/conformance/run.sh [FOLDER]
#
# FOLDER (target/conformance-table) keeps the runs, the files (10 GB), a Python environment and a node_modules. Runs, files and
# rows of FOLDER/runtimes.csv that are there are not made again. From the environment, all optional: BUILT, a folder with the
# programs and examples; RUNS, a pattern of runs, such as `bert-*`.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=$(realpath -m "${1:-target/conformance-table}")
pattern=${RUNS:-*}
mkdir -p "$place/runs" "$place/files"
source bench/common.sh
programs --workspace --bins --examples
environment "$place/venv" bench/conformance/requirements.txt
python=$place/venv/bin/python
[ -d "$place/node_modules/onnxruntime-web" ] || npm install --silent --prefix "$place" onnxruntime-web@1.30.0 > /dev/null
[ -f "$place/bert/model.safetensors" ] || "$python" bench/conformance/bert.py "$place/bert"

# train NAME BACKBONE STEPS RATE METHOD [LINES [OPTION...]]: a run on the seven excerpts; LINES has hyper-parameters of the
# method. A T5 that has made few updates writes targets without an end: 96 ids of each are enough, and the longest sentences fit.
train() {
  # shellcheck disable=SC2053 # It is a pattern.
  if [ -f "$place/runs/$1/outcome.json" ] || [[ $1 != $pattern ]]; then return; fi
  rm -rf "$place/runs/$1"
  cat > "$place/runs/$1.toml" <<TOML
[backbone]
path = "$2"
[method]
method = "$5"
${6:-}
[training]
steps = $3
batch_size = 16
learning_rate = $4
warmup_steps = 10
label_smoothing = 0.0
max_target_len = 96
evaluate_every = $3
drafter = false
calibrate = false
threads = 1
TOML
  "$built/hl-train" --quiet --no-progress --config "$place/runs/$1.toml" --data fixtures/corpora --runs "$place/runs" --name "$1" \
    "${@:7}" > /dev/null
}
narrow=$'reduction_factor = 2\nln_gamma_offset = 1.0'
loras=$narrow$'\nlora = { rank = 8, alpha = 0.16 }'
t5=$PWD/fixtures/backbones/t5-nano bert=$place/bert
train t5-hyperloader "$t5" 100 3e-4 hyperloader "$loras" --warm-start fixtures/runs/nano
train t5-hyperformer++ "$t5" 100 1e-3 hyperformer++ "$narrow"
train t5-hyperformer "$t5" 100 1e-3 hyperformer "$narrow"
train t5-hyperdecoder "$t5" 100 1e-3 hyperdecoder
train t5-adapters "$t5" 100 1e-2 adapters
train t5-lora "$t5" 100 1e-2 lora
train t5-unipelt "$t5" 100 1e-2 unipelt
train t5-full "$t5" 100 1e-3 full
train bert-hyperloader "$bert" 600 3e-4 hyperloader "$loras"
train bert-hyperformer++ "$bert" 600 3e-4 hyperformer++ "$narrow"
train bert-hyperformer "$bert" 600 3e-4 hyperformer "$narrow"
train bert-adapters "$bert" 600 5e-3 adapters
train bert-lora "$bert" 600 5e-3 lora
train bert-unipelt "$bert" 600 5e-3 unipelt
train bert-full "$bert" 600 1e-3 full
train bert-unipelt-bert "$bert" 600 5e-3 unipelt-bert
[ -e "$place/runs/t5-nano" ] || ln -s "$PWD/fixtures/runs/nano" "$place/runs/t5-nano"

# export_one FOLDER PACKAGING OUTPUT OPTION...: leaves OUTPUT, or the message of hl-export in FOLDER/PACKAGING.txt.
export_one() {
  local folder=$1 packaging=$2 output=$3
  [ ! -f "$folder/$packaging.done" ] || return 0
  # What an interrupted export has left.
  rm -rf "${folder:?}/$output" "$folder/${output%.onnx}"-*.weights
  if ! "$built/hl-export" --quiet --no-cost "${@:4}" > /dev/null 2> "$folder/stderr"; then
    sed -n 's/^error: //p' "$folder/stderr" > "$folder/$packaging.txt"
    rm -rf "${folder:?}/$output"
  fi
  touch "$folder/$packaging.done"
}
for run in "$place"/runs/$pattern/; do
  name=$(basename "$run")
  run=$(realpath "$run")
  for precision in f32 f16 bf16 int8 int4; do
    folder=$place/files/$name/$precision
    mkdir -p "$folder"
    one=(--run "$run" --precision "$precision")
    export_one "$folder" single single.onnx "${one[@]}" --task snips --output "$folder/single.onnx" --test-data "$folder/data"
    export_one "$folder" external external.onnx "${one[@]}" --task snips --output "$folder/external.onnx" --external-data
    # The verification of seven files takes most of the time: in f32 alone.
    all=$([ "$precision" = f32 ] || echo --no-verify)
    export_one "$folder" bundle bundle "${one[@]}" --bundle "$folder/bundle" $all
    case $name in # those that fold LoRA
      *-hyperloader | *-lora | *-unipelt | t5-nano)
        export_one "$folder" unfolded unfolded "${one[@]}" --bundle "$folder/unfolded" --unfolded ;;
    esac
    export_one "$folder" multi multi.onnx "${one[@]}" --multi "$folder/multi.onnx"
  done
  # The single files of all tasks, for trainer.py.
  folder=$place/files/$name/f32/all
  if [ ! -d "$folder" ]; then
    mkdir -p "$folder.part"
    (cd "$folder.part" && "$built/hl-export" --quiet --force --all --run "$run" > /dev/null)
    mv "$folder.part" "$folder"
  fi
done

"$python" bench/conformance/table.py "$place/files" "$place/runtimes.csv" --node "$place" --programs "$built" --runs "$pattern"
"$python" bench/conformance/trainer.py "$place" --programs "$built" --runs "$pattern"
