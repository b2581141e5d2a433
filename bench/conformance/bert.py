"""Writes a BERT of random weights whose matrices are wide enough to be stored in a lower precision: bert.py FOLDER

It has the tokenizer of fixtures/backbones/bert-tiny. That one is 48 wide, and matrices with fewer than 128 rows or columns
stay in float32.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
from safetensors.numpy import save_file

TINY = Path(__file__).resolve().parents[2] / "fixtures/backbones/bert-tiny"
SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}


def tensors(config):
    random = numpy.random.default_rng(4)
    width, inner = config["hidden_size"], config["intermediate_size"]

    def normal(deviation, *shape):
        return (random.standard_normal(shape) * deviation).astype(numpy.float32)

    def norm(name):
        return {
            f"{name}.LayerNorm.weight": numpy.ones(width, numpy.float32),
            f"{name}.LayerNorm.bias": numpy.zeros(width, numpy.float32),
        }

    found = norm("bert.embeddings")
    for table, rows, deviation in [
        ("word", config["vocab_size"], 1.0),
        ("position", config["max_position_embeddings"], 0.3),
        ("token_type", config["type_vocab_size"], 0.1),
    ]:
        found[f"bert.embeddings.{table}_embeddings.weight"] = normal(deviation, rows, width)
    for layer in range(config["num_hidden_layers"]):
        base = f"bert.encoder.layer.{layer}."
        maps = [(f"attention.self.{part}", width, width) for part in ("query", "key", "value")]
        maps += [("attention.output.dense", width, width), ("intermediate.dense", inner, width), ("output.dense", width, inner)]
        for part, output, given in maps:
            found[f"{base}{part}.weight"] = normal(given**-0.5, output, given)
            found[f"{base}{part}.bias"] = normal(0.1, output)
        found |= norm(base + "attention.output") | norm(base + "output")
    return found


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((TINY / "config.json").read_text()) | SIZES
    save_file(tensors(config), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(TINY / "tokenizer.json", folder / "tokenizer.json")


main()
