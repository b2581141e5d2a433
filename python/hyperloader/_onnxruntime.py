"""Where the library of the package `onnxruntime` is."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

# `libonnxruntime.so.1.31.1`, but not the `libonnxruntime_providers_shared.so` beside it.
_PATTERNS = {"win32": ["onnxruntime.dll"], "darwin": ["libonnxruntime.*dylib"]}


def library() -> str | None:
    """The library of ONNX Runtime, or `None` if the package is missing or `ORT_DYLIB_PATH` names a library.

    The package is not imported: that takes time, and only its library is used.
    """
    # Disables the library's telemetry. It reads the variable when its environment is created.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if os.environ.get("ORT_DYLIB_PATH"):
        return None
    try:
        spec = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for pattern in _PATTERNS.get(sys.platform, ["libonnxruntime.so*"]):
            found = sorted(Path(folder, "capi").glob(pattern))
            if found:
                return str(found[-1])
    return None
