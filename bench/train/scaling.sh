#!/usr/bin/env bash
# Seconds of a training step with one and with two processes of one thread each, and of the exchange of their gradients.
#   bench/train/scaling.sh [rounds] [steps]
# Both train on the same batches of MIT Movie, 16 sentences in two parts, and must write the same weights. BACKBONE is `t5-base`
# (the default) or `t5-small`, of that shape with random weights, or a folder. BUILT is a folder with the programs. Needs Open MPI
# and its headers:
#   apt-get install openmpi-bin libopenmpi-dev libclang-dev
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
steps=${2:-12}
backbone=${BACKBONE:-t5-base}
target=${CARGO_TARGET_DIR:-target}/mpi
. bench/common.sh
programs --package hyperloader-exporter --examples
CARGO_TARGET_DIR=$target cargo build --quiet --release --package hyperloader-trainer --features mpi --bin hl-train --example exchange_speed
train=$(realpath "$target/release/hl-train")
exchange=$(realpath "$target/release/examples/exchange_speed")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ $backbone == t5-* ]]; then
  "$built/examples/random_run" "$backbone" "$work"
  backbone=$work/backbone
fi
corpus=$PWD/fixtures/corpora/mit_movie
for split in valid test; do
  awk -v RS= -v ORS='\n\n' 'NR <= 2' "$corpus/engtest.bio" > "$work/$split.bio"
done
cat > "$work/scaling.toml" <<TOML
[backbone]
path = "$(realpath "$backbone")"
[method]
method = "hyperloader"
[training]
steps = $steps
batch_size = 16
parts = 2
warmup_steps = 2
evaluate_every = $steps
max_target_len = 64
drafter = false
calibrate = false
log_every = 1
threads = 1
[task.movie]
layout = "bio-columns"
train = "$corpus/engtrain.bio"
valid = "$work/valid.bio"
test = "$work/test.bio"
TOML
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpi() { mpirun --bind-to none --oversubscribe "$@"; }
for round in $(seq "$rounds"); do
  for processes in 1 2; do
    mpi -n "$processes" "$train" --quiet --no-progress --config "$work/scaling.toml" --runs "$work/$processes-$round" --name run > /dev/null
  done
  diff -r "$work/1-$round/run/checkpoints" "$work/2-$round/run/checkpoints"
  mpi -n 2 "$exchange" 6784368 2 > "$work/exchange-$round"
done
python3 - "$work" "$rounds" <<'PYTHON'
import json, statistics, sys

work, rounds = sys.argv[1], range(1, int(sys.argv[2]) + 1)


def step_seconds(processes, round):
    """Seconds of each step but the first two, which allocate."""
    rows = [json.loads(line) for line in open(f"{work}/{processes}-{round}/run/metrics.jsonl")]
    ends = [row["seconds"] for row in rows if row["kind"] == "train"]
    return [end - begin for begin, end in zip(ends[1:], ends[2:])]


one, two = ([step_seconds(processes, round) for round in rounds] for processes in (1, 2))
pairs = [(a, b) for x, y in zip(one, two) for a, b in zip(x, y)]
exchange = statistics.median(json.load(open(f"{work}/exchange-{round}"))["seconds"] for round in rounds)
seconds = [statistics.median(column) for column in zip(*pairs)]
print(f"one process: {seconds[0]:.2f} s a step; two: {seconds[1]:.2f} s")
print(f"times as fast, median of {len(pairs)} equal steps: {statistics.median(a / b for a, b in pairs):.2f}")
print(f"exchange of 27 MB between two processes: {exchange:.3f} s, {100 * exchange / seconds[1]:.1f} % of a step")
PYTHON
