#!/usr/bin/env bash
# From a fresh clone to a tagger and an HTML report: 200 invoice sentences, as a doccano export and as a CoNLL file.
#   bench/own-corpus/run.sh OUT
# It builds the programs, and prints each command with the seconds that it took. OUT is a folder that does not exist yet.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,4s/^# \?//p' "$0" >&2; exit 1; }
mkdir "$1"
out=$(realpath "$1")
cd "$(dirname "$0")/../.."

timed() { # A command: it is run, and its seconds are printed.
  local begin=$SECONDS
  "$@" 2> "$out/log.txt" >> "$out/output.txt" || { cat "$out/log.txt" >&2; exit 1; }
  echo "| \`${*//$out\//}\` | $((SECONDS - begin)) |"
}

echo "| command | seconds |"
echo "|---|---|"
# Without optimization of our own code: libtorch and ONNX Runtime, which do the work, are fetched as they are.
timed cargo xtask build --debug --without-tract
PATH=$(realpath "${CARGO_TARGET_DIR:-target}/debug"):$PATH
timed python3 bench/own-corpus/invoices.py "$out/data"
timed python3 bench/own-corpus/invoices.py "$out/new" --sentences 50 --seed 2
built=$SECONDS
for file in doccano.jsonl invoices.conll; do
  begin=$SECONDS
  task=${file%.*}
  timed hl-train init --data "$out/data/$file" --warm-start fixtures/runs/nano --output "$out/$task.toml"
  timed hl-train --config "$out/$task.toml" --warm-start fixtures/runs/nano --runs "$out/runs" --name "$task"
  timed hl-export --run "$out/runs/$task" --task "$task" --output "$out/$task.onnx"
  # Sentences that the training has not seen.
  timed hl-run --model "$out/$task.onnx" --gold "$out/new/$file" --output-format html --output "$out/$task.html"
  hl-run --quiet --model "$out/$task.onnx" --gold "$out/new/$file" --output-format json > "$out/$task.json"
  f1=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["evaluation"]["scores"]["micro"]["f1"])' "$out/$task.json")
  echo "| all of \`$file\`: F1 $f1 on new sentences | $((SECONDS - begin)) |"
done
echo "| all, from the fresh clone (building: $built) | $SECONDS |"
