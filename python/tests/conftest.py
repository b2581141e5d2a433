"""Models and sentences of the tests.

The models are exported from `fixtures/runs/nano` by the program `hl-export`, which `HL_EXPORT` names; by default it is that of
`cargo build --workspace`.
"""

import os
import subprocess
from pathlib import Path

import pytest

from hyperloader import Tagger

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with `mtop.onnx` and `snips.onnx`."""
    program = os.environ.get("HL_EXPORT", ROOT / "target" / "debug" / "hl-export")
    folder = tmp_path_factory.mktemp("models")
    for task in ("mtop", "snips"):
        arguments = ["--run", ROOT / "fixtures/runs/nano", "--task", task, "--quiet"]
        subprocess.run([program, *arguments, "--output", folder / f"{task}.onnx"], check=True, cwd=ROOT)
    return folder


@pytest.fixture(scope="session")
def model(models):
    return str(models / "mtop.onnx")


@pytest.fixture(scope="session")
def tagger(model):
    return Tagger(model)


@pytest.fixture(scope="session")
def scorer(model):
    return Tagger(model, scores=True)


@pytest.fixture(scope="session")
def sentences():
    """300 test sentences of mTOP."""
    lines = (ROOT / "fixtures/corpora/mtop/en/test.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[3] for line in lines]
