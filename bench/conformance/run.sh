#!/usr/bin/env bash
# Exports the committed run in every precision and packaging, and the runs in the folder $RUNS, and prints which runtimes run
# the files (table.py).
#
#   bench/conformance/run.sh [FOLDER]
#
# It uses target/release (or $PROGRAMS) and makes a Python environment and a node_modules in FOLDER.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=$(realpath -m "${1:-target/conformance-table}")
programs=${PROGRAMS:-target/release}
mkdir -p "$place/files"

[ -x "$place/venv/bin/python" ] || python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --requirement bench/conformance/requirements.txt
if [ ! -d "$place/node_modules/onnxruntime-web" ]; then
  npm install --silent --prefix "$place" onnxruntime-web@1.30.0 > /dev/null
fi

export_one() { # NAME, then options of hl-export
  name=$1
  shift
  "$programs/hl-export" --quiet --force --output "$place/files/$name.onnx" --test-data "$place/files/$name.data" "$@" > /dev/null
}
for precision in f32 f16 bf16 int8 int4; do
  cost=$([ "$precision" = f32 ] || echo --no-cost)
  export_one "$precision" --run fixtures/runs/nano --task snips --precision "$precision" $cost
done
export_one external-data --run fixtures/runs/nano --task snips --external-data
for run in ${RUNS:+"$RUNS"/*/}; do
  export_one "$(basename "$run")" --run "$run" --task snips
done

"$place/venv/bin/python" bench/conformance/table.py "$place/files" --node "$place"
"$programs/hl-run" verify --quiet "$place"/files/*.onnx
