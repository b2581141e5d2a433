# What the scripts of several folders do first; they source it from the root of the clone.

# Sets `built` to the folder of the programs: BUILT, or what `cargo build --release` makes with these arguments. Sets ORT_DYLIB_PATH.
programs() {
  if [ -z "${BUILT:-}" ]; then
    cargo build --quiet --release "$@"
    BUILT=${CARGO_TARGET_DIR:-target}/release
  fi
  built=$(realpath "$BUILT")
  if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    ORT_DYLIB_PATH=$(realpath "$(ls .native/onnxruntime/lib/libonnxruntime.so.* | head -n 1)")
    export ORT_DYLIB_PATH
  fi
}

# Makes a virtual environment in FOLDER with the packages of REQUIREMENTS, unless it is there: environment FOLDER REQUIREMENTS
environment() {
  [ ! -f "$1/.complete" ] || return 0
  "${PYTHON:-python3}" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --requirement "$2"
  touch "$1/.complete"
}
