#!/usr/bin/env bash
# The table of docs/browser.md#speed: milliseconds per sentence of the module in JavaScript and of plain greedy decoding, on one thread.
# `cargo xtask conformance web` makes the programs and fetches the packages that are used here. Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for precision in f32 int8; do
  mkdir "$folder/$precision"
  export=(target/debug/hl-export --run fixtures/runs/nano --task mtop --precision "$precision" --no-cost --quiet)
  "${export[@]}" --output "$folder/$precision/model.onnx" > "$folder/summary.txt"
  "${export[@]}" --web "$folder/$precision/site" > "$folder/summary.txt"
done
head -n 100 fixtures/corpora/mtop/en/test.txt | cut -f 4 | node -e \
  'const lines = require("fs").readFileSync(0, "utf8").trim().split("\n"); console.log(JSON.stringify(lines))' > "$folder/texts.json"
node bench/web/bench.js "${CHROMIUM:-/usr/bin/chromium}" "$folder/texts.json" "$folder"
