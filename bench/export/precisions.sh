#!/usr/bin/env bash
# F1 of each precision next to float32, and what `--precision auto` chooses, for all tasks of a run, as a Markdown table.
#   bench/export/precisions.sh RUN
# F1 is that of at most 500 validation sentences of the run. BUILT is a folder with the programs.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,4s/^# \?//p' "$0" >&2; exit 1; }
run=$(realpath "$1")
cd "$(dirname "$0")/../.."
. bench/common.sh
programs --package hyperloader-exporter --bins
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tasks=$(python3 -c 'import json, sys; print(*[task["name"] for task in json.load(open(sys.argv[1]))["tasks"]])' "$run/manifest.json")
export_task() { "$built/hl-export" --run "$run" --task "$1" --precision "$2" --output "$work/model.onnx" --force --no-verify "${@:3}"; }
echo "| task | precision | bytes | F1 | F1 in f32 | sentences with other tags | accepted |"
echo "|---|---|---|---|---|---|---|"
for task in $tasks; do
  for precision in f16 bf16 int8 int4 auto; do
    accepted=yes
    if ! export_task "$task" "$precision" --output-format json > "$work/out" 2> "$work/log"; then
      accepted=no
      # What it costs, although it is refused.
      export_task "$task" "$precision" --output-format json --max-f1-drop 1 > "$work/out" 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
    fi
    python3 - "$task" "$precision" "$accepted" "$work/out" <<'PYTHON'
import json, sys

task, precision, accepted, out = sys.argv[1:]
file = json.load(open(out))
file = file[0] if isinstance(file, list) else file
if precision == "auto":
    precision = f"auto: {file['precision']}"
cost = file.get("cost")
cells = [f"{cost['f1']:.4f}", f"{cost['f1_f32']:.4f}", f"{cost['changed']} of {cost['sentences']}"] if cost else ["", "", ""]
print(f"| {task} | {precision} | {file['bytes']:,} | {' | '.join(cells)} | {accepted} |")
PYTHON
  done
done
