#!/usr/bin/env bash
# hl-export of a random run of a T5's size: wall and processor seconds, and peak memory as a multiple of the file's bytes.
# Needs GNU time: bench/export/run.sh [preset]; EXPORT_FLAGS are handed to hl-export. bench/export/optimum.sh measures the peer.
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/common.sh
preset=${1:-t5-base}
programs --package hyperloader-exporter --bins --examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$built/examples/random_run" "$preset" "$work"
cd "$work"
# shellcheck disable=SC2086 # several flags may be given
/usr/bin/time --format '%e %U %S %M' --output measured "$built/hl-export" --task mtop ${EXPORT_FLAGS:-}
read -r seconds user system kilobytes < <(tail -n 1 measured)
bytes=$(stat --format %s mtop.onnx)
awk -v s="$seconds" -v u="$user" -v y="$system" -v k="$kilobytes" -v b="$bytes" -v p="$preset" 'BEGIN {
  ratio = k * 1024 / b
  printf "%s: %.1f s (limit 30), %.1f processor seconds, peak memory %.0f MiB = %.2f x the file of %.0f MiB (limit 2)\n", p, s, u + y, k / 1024, ratio, b / 1048576
  exit !(s < 30 && ratio < 2)
}'
