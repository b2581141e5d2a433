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


def export(*arguments):
    program = os.environ.get("HL_EXPORT", ROOT / "target" / "debug" / "hl-export")
    subprocess.run([program, "--run", ROOT / "fixtures/runs/nano", "--quiet", *arguments], check=True, cwd=ROOT)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with `mtop.onnx` and `snips.onnx`."""
    folder = tmp_path_factory.mktemp("models")
    for task in ("mtop", "snips"):
        export("--task", task, "--output", folder / f"{task}.onnx")
    return folder


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """A file with all tasks of the run."""
    file = tmp_path_factory.mktemp("several") / "all.onnx"
    export("--multi", file)
    return file


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
