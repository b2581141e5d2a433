#!/usr/bin/env bash
# Sizes of the files of a random run of 7 tasks in a T5's shape: bench/export/sizes.sh [preset]
# The targets are those of t5-base: other shapes get no verdict. The files are not verified: only their bytes matter here.
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/common.sh
preset=${1:-t5-base}
tasks=7
programs --package hyperloader-exporter --bins --examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
parameters=$("$built/examples/random_run" "$preset" "$work" --tasks "$tasks" 2>&1 | tail -n 1 | cut -d ' ' -f 1)
cd "$work"
export_run() { "$built/hl-export" --no-verify --no-cost --quiet "$@" > summary.txt 2> log.txt || { cat log.txt; exit 1; }; }
# Sum of the sizes of FILES: bytes FILE...
bytes() { stat --format %s "$@" | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
failed=0
# row NAME BYTES TARGET_BYTES TARGET_TEXT
row() {
  local verdict=ok share
  share=$(awk -v a="$2" -v b="$single" 'BEGIN { print a / b }')
  if [ "$preset" != t5-base ]; then
    printf '%-34s %14d %8.3f\n' "$1" "$2" "$share"
    return
  fi
  if awk -v bytes="$2" -v target="$3" 'BEGIN { exit !(bytes > target) }'; then verdict=MISSED failed=1; fi
  printf '%-34s %14d %8.3f  %-42s %s\n' "$1" "$2" "$share" "$4" "$verdict"
}
times() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.0f", a * b }'; }
export_run --task mtop --output f32.onnx
# The weights may lie beside the model, in NAME-HASH.weights.
single=$(bytes f32[.-]*)
in_file=$(grep -E '^ *all ' summary.txt | awk '{ gsub(",", ""); print $4 }')
echo "$preset: $parameters parameters of the backbone, ${in_file:-?} in the file"
target=
[ "$preset" != t5-base ] || target=target
printf '%-34s %14s %8s  %s\n' file bytes of_f32 "$target"
row "f32, one task" "$single" "$(times 1.01 "$((4 * in_file))")" "1.01 x 4 bytes x parameters"
for row in "f16 0.51" "bf16 0.51" "int8 0.27" "int4 0.17"; do
  read -r precision share <<< "$row"
  export_run --task mtop --precision "$precision" --output "$precision.onnx"
  row "$precision, one task" "$(bytes "$precision"[.-]*)" "$(times "$share" "$single")" "$share x f32"
  rm "$precision"[.-]*
done
export_run --multi multi.onnx
row "f32, $tasks tasks in one graph" "$(bytes multi[.-]*)" "$(times 1.1 "$single")" "1.1 x one task"
rm multi[.-]*
export_run --bundle bundle
row "f32, bundle of $tasks tasks" "$(bytes bundle/*)" "$((single + tasks * 175000000))" "one task + $tasks x 175 MB"
rm -rf bundle
export_run --bundle unfolded --unfolded
row "f32, bundle of $tasks tasks, unfolded" "$(bytes unfolded/*)" "$((single + tasks * 13000000))" "one task + $tasks x 13 MB"
exit "$failed"
