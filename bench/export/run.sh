#!/usr/bin/env bash
# hl-export of a random run of a T5's size: seconds, and peak memory as a multiple of the written file's bytes.
# Needs GNU time: bench/export/run.sh [preset]; EXPORT_FLAGS are handed to hl-export.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=${1:-t5-base}
cargo build --quiet --release --package hyperloader-exporter --bins --examples
built=$(realpath "${CARGO_TARGET_DIR:-target}")/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$built/examples/random_run" "$preset" "$work"
cd "$work"
# shellcheck disable=SC2086 # several flags may be given
/usr/bin/time --format '%e %M' --output measured "$built/hl-export" --task mtop ${EXPORT_FLAGS:-}
read -r seconds kilobytes < <(tail -n 1 measured)
bytes=$(stat --format %s mtop.onnx)
awk -v s="$seconds" -v k="$kilobytes" -v b="$bytes" -v p="$preset" 'BEGIN {
  ratio = k * 1024 / b
  printf "%s: %.1f s (limit 60), peak memory %.0f MiB = %.2f x the file of %.0f MiB (limit 2.5)\n", p, s, k / 1024, ratio, b / 1048576
  exit !(s < 60 && ratio < 2.5)
}'
