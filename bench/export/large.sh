#!/usr/bin/env bash
# Processor seconds and memory of exports of large T5s, of both by default: bench/export/large.sh [t5-large] [t5-3b]
#
# Each model is exported without verification, then with it; hl-run then tags a sentence with t5-large. The script prints the
# largest memory of each process, `anonymous` without mapped files and `all` with them, and the notes of the verification.
# All files are below TMPDIR: one export at a time, of 3 GB (t5-large) or 11 GB (t5-3b). Most of the backbone's file is a
# hole, which takes no disk.
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/common.sh
programs --package hyperloader-exporter --package hyperloader-runtime --bins --examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# config.json of a T5 that is no preset: name, d_model, d_kv, d_ff, layers, heads.
config() {
  printf '{"model_type": "t5", "vocab_size": 32128, "d_model": %d, "d_kv": %d, "d_ff": %d, "num_layers": %d, "num_heads": %d, "relative_attention_num_buckets": 32, "feed_forward_proj": "relu", "tie_word_embeddings": true, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}\n' "${@:2}" > "$1.json"
}

# measured NAME COMMAND...: prints processor seconds and the most memory. The output is in NAME.out and NAME.log.
measured() {
  local name=$1 pid now all times anonymous=0 peak=0 seconds=0
  shift
  "$@" > "$name.out" 2> "$name.log" &
  pid=$!
  # The system keeps the peak of all memory only. That of anonymous memory is sampled.
  while now=$(awk '/^RssAnon:/ { print $2 }' "/proc/$pid/status" 2> /dev/null) && [ -n "$now" ]; do
    [ "$now" -le "$anonymous" ] || anonymous=$now
    all=$(awk '/^VmHWM:/ { print $2 }' "/proc/$pid/status" 2> /dev/null || true)
    [ -z "$all" ] || peak=$all
    times=$(awk '{ print ($14 + $15) / 100 }' "/proc/$pid/stat" 2> /dev/null || true)
    [ -z "$times" ] || seconds=$times
    sleep 0.02
  done
  wait "$pid" || { cat "$name.log"; exit 1; }
  awk -v name="$name" -v a="$anonymous" -v p="$peak" -v s="$seconds" -v largest="$largest" 'BEGIN {
    printf "%-28s %8.1f processor seconds, anonymous memory %6.0f MiB = %5.2f x the largest tensor, all %6.0f MiB\n", name, s, a / 1024, a * 1024 / largest, p / 1024
  }'
}

models=("$@")
[ "$#" -gt 0 ] || models=(t5-large t5-3b)
for model in "${models[@]}"; do
  preset=$model largest=$((4 * 32128 * 1024))
  if [ "$model" = t5-3b ]; then
    config t5-3b 1024 128 16384 24 32
    preset=t5-3b.json
  fi
  "$built/examples/random_run" "$preset" . hyperloader --sparse
  measured "$model-unverified" "$built/hl-export" --task mtop --no-verify
  rm -f mtop*
  measured "$model-verified" "$built/hl-export" --task mtop
  cat "$model-verified.log"
  ls -l mtop*
  if [ "$model" = t5-large ]; then
    measured "$model-tagged" "$built/hl-run" --model mtop.onnx "wake me at 8 am on sunday"
    cat "$model-tagged.out"
  fi
  rm -rf backbone runs mtop*
done
