"""`python -m hyperloader` runs `hl-run` with the same arguments, and with the library of the package `onnxruntime`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from hyperloader import _onnxruntime


def main() -> NoReturn:
    """Becomes hl-run: exit code, signals and pipes are those of the program."""
    name = "hl-run.exe" if sys.platform == "win32" else "hl-run"
    program = Path(__file__).parent / "bin" / name
    if not program.is_file():
        sys.exit(
            f"error: `{program}` is missing: this package was built without the program\n"
            "hint: `cargo xtask conformance wheel` builds the package with it"
        )
    environment = dict(os.environ)
    library = _onnxruntime.library()
    if library is not None:
        environment["ORT_DYLIB_PATH"] = library
    arguments = [str(program), *sys.argv[1:]]
    if sys.platform == "win32":
        sys.exit(subprocess.run(arguments, env=environment, check=False).returncode)
    os.execve(program, arguments, environment)


if __name__ == "__main__":
    main()
