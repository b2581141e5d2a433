#!/usr/bin/env bash
# Loss curves of nano trainings on the seven corpora of the paper, of several versions of hl-train, for each seed. Two trainings
# run at a time, with one thread each.
# bench/train/curves.sh DATA FOLDER [steps]: FOLDER has a folder for each version, with its hl-train. SEEDS lists other seeds, OUT
# keeps the runs: those in it are not trained again.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:?the folder of the corpora is missing}
folder=${2:?the folder of the versions is missing}
steps=${3:-1000}
versions=$(cd "$folder" && ls -d -- */ | tr -d /)
seeds=${SEEDS:-1 2 3}
out=${OUT:-}
if [[ -z $out ]]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
# A model of so few updates writes long targets: whole splits would take longer to evaluate than to train on.
short() { # FOLDER SENTENCES FILE...: the first sentences of these files; those of `.bio` files are separated by blank lines.
  local file
  for file in "${@:3}"; do
    mkdir -p "$out/data/$(dirname "$1/$file")"
    case $file in
      *.bio) awk -v most="$2" '!/[^[:space:]]/ { if (++found == most) exit } { print }' "$data/$1/$file" ;;
      *) head -n "$2" "$data/$1/$file" ;;
    esac > "$out/data/$1/$file"
  done
}
for task in atis snips; do
  short "$task" 60 {valid,test}/seq.{in,out}
  short "$task" 1000000 train/seq.{in,out}
done
short mtod/en 60 {eval,test}-en.tsv
short mtod/en 1000000 train-en.tsv
short mtop/en 60 {eval,test}.txt
short mtop/en 1000000 train.txt
for file in mit_movie/eng mit_movie_trivia/trivia10k13 mit_restaurant/restaurant; do
  # Their validation sentences are a tenth of these.
  short "${file%/*}" 3000 "${file##*/}train.bio"
  short "${file%/*}" 60 "${file##*/}test.bio"
done
cat > "$out/curves.toml" <<TOML
[backbone]
path = "$PWD/fixtures/backbones/t5-nano"
[method]
method = "hyperloader"
reduction_factor = 2
ln_gamma_offset = 1.0
lora = { rank = 8, alpha = 0.16 }
[training]
batch_size = 16
warmup_steps = 100
label_smoothing = 0.0
evaluate_every = $steps
drafter = false
calibrate = false
log_every = 1
threads = 1
TOML
for version in $versions; do
  for seed in $seeds; do
    [[ -f $out/$version-$seed/outcome.json ]] || printf '%s %s\n' "$version" "$seed"
  done
done | xargs --no-run-if-empty --max-procs=2 --max-args=2 bash -c '
  "$0/$4/hl-train" --quiet --no-progress --config "$1/curves.toml" --data "$2" --steps "$3" --seed "$5" --runs "$1" --name "$4-$5" > /dev/null
' "$(realpath "$folder")" "$out" "$out/data" "$steps"
python3 - "$out" "$steps" "$versions" "$seeds" <<'PYTHON'
import json, statistics, sys

out, steps, versions, seeds = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(), sys.argv[4].split()
places = [steps * part // 4 for part in (1, 2, 3, 4)]


def figures(version, seed):
    """The loss per token over the tenth of the steps before each place, then the mean validation loss and F1 of the tasks."""
    rows = [json.loads(line) for line in open(f"{out}/{version}-{seed}/metrics.jsonl")]
    train = [row for row in rows if row["kind"] == "train"]
    for place in places:
        part = [row for row in train if place - steps // 10 < row["step"] <= place]
        yield sum(row["loss"] * row["tokens"] for row in part) / sum(row["tokens"] for row in part)
    valid = [row["evaluation"] for row in rows if row["kind"] == "validation" and row["step"] == steps]
    for field in ("loss", "f1"):
        yield statistics.mean(row[field] for row in valid)
    yield max(row["seconds"] for row in train)


print("| version | " + " | ".join(f"loss at {place}" for place in places) + " | validation loss | F1 | seconds |")
print("|" + "---|" * (len(places) + 4))
for version in versions:
    columns = zip(*(figures(version, seed) for seed in seeds))
    cells = [f"{statistics.mean(c):.3f} ± {statistics.stdev(c) if len(c) > 1 else 0:.3f}" for c in columns]
    print(f"| {version} | " + " | ".join(cells) + " |")
PYTHON
