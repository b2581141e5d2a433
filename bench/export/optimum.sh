#!/usr/bin/env bash
# `optimum-cli export onnx` of a random T5 next to bench/export/run.sh: seconds, and peak memory.
# Needs GNU time: bench/export/optimum.sh [preset]; OPTIMUM is the path of an environment's optimum-cli, otherwise one is made.
set -euo pipefail
# A relative path is relative to the folder of the caller.
[ -z "${OPTIMUM:-}" ] || OPTIMUM=$(realpath --no-symlinks "$OPTIMUM")
cd "$(dirname "$0")/../.."
. bench/common.sh
preset=${1:-t5-base}
programs --package hyperloader-exporter --examples
if [ -z "${OPTIMUM:-}" ]; then
  environment target/bench/optimum bench/decode/requirements.txt
  OPTIMUM=$(realpath target/bench/optimum/bin/optimum-cli)
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$built/examples/random_run" "$preset" "$work"
cd "$work"
python3 - <<'EOF'
import json
path = "backbone/config.json"
config = json.load(open(path))
config |= {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True, "use_cache": True}
json.dump(config, open(path, "w"))
EOF
HF_HUB_OFFLINE=1 /usr/bin/time --format '%e %U %S %M' --output measured \
  "$OPTIMUM" export onnx --model backbone --task text2text-generation-with-past --library transformers out > log 2>&1 ||
  { tail -n 20 log; exit 1; }
read -r seconds user system kilobytes < <(tail -n 1 measured)
bytes=$(find out -maxdepth 1 \( -name '*.onnx' -o -name '*.onnx_data' \) -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }')
awk -v s="$seconds" -v u="$user" -v y="$system" -v k="$kilobytes" -v b="$bytes" -v p="$preset" 'BEGIN {
  printf "optimum, %s: %.1f s, %.1f processor seconds, peak memory %.0f MiB, files of %.0f MiB\n", p, s, u + y, k / 1024, b / 1048576
}'
