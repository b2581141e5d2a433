"""The Python code of the book does what the book says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/python.md"


def blocks(page):
    """The text of each block of Python code, and of the output after it, if there is one."""
    found = re.findall(r"^```(python|text output)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    for at, (kind, code) in enumerate(found):
        if kind == "python":
            after = found[at + 1] if at + 1 < len(found) else ("", "")
            yield code, after[1] if after[0] == "text output" else None


def test_the_code_of_the_page_runs_and_prints_what_it_shows(models):
    for module in ("pyarrow", "spacy"):
        pytest.importorskip(module)
    end, codes, shown = "--- end of the block ---\n", [], []
    for code, output in blocks(PAGE):
        codes.append(code + f"print({end!r}, end='')\n")
        shown.append(output)
    assert len(codes) >= 7
    done = subprocess.run([sys.executable, "-c", "".join(codes)], cwd=models, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for printed, expected in zip(done.stdout.split(end), shown, strict=False):
        if expected is not None:
            # `[..]` stands for any text in a line, as in the other commands of the book.
            pattern = ".*".join(map(re.escape, expected.split("[..]")))
            assert re.fullmatch(pattern, printed), f"printed:\n{printed}\nshown:\n{expected}"
