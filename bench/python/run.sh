#!/usr/bin/env bash
# The table of docs/python.md#speed: the speed of the Python package next to hl-run's, scaling over two threads, memory.
# `cargo xtask conformance wheel` makes the environment and the programs that are used here. Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
target/debug/hl-export --run fixtures/runs/nano --task mtop --quiet --output "$folder/mtop.onnx"
library=$(.native/python-wheel/bin/python3 -c 'from hyperloader import _onnxruntime; print(_onnxruntime.library())')
# The same library for both.
ORT_DYLIB_PATH=$library .native/python-wheel/bin/python3 bench/python/bench.py python/hyperloader/bin/hl-run "$folder/mtop.onnx" "$@"
