"""Makes the golden vectors anew with packages from PyPI and compares them with the recorded ones.

    python3 -m venv VENV && VENV/bin/pip install -r bench/golden/requirements.txt
    VENV/bin/python bench/golden/remake.py

Exit status 0 if everything agrees within tolerance, 1 if not. See docs/reference/golden.md.
"""
import argparse
import importlib.metadata
import platform
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import compare
import encoder
import models
import texts

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["torch", "transformers", "peft", "adapters", "seqeval", "tokenizers", "safetensors", "numpy"]


def arrays(tensors):
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def tensor_sets(golden, out):
    """Yields name, kind, recorded and new vectors of each file of tensors; writes the new ones to `out` if given."""
    for folder, make in {**models.SETS, **encoder.SETS}.items():
        for file, (kind, made) in make(golden / folder).items():
            made = {name: tensor.detach().clone() for name, tensor in made.items()}
            if out:
                target = out / folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                save_file(made, target)
            # Inputs are taken from the recorded file, so there is nothing to compare.
            recorded, made = ({name: tensor for name, tensor in arrays(tensors).items() if name not in models.INPUTS}
                              for tensors in (load_file(golden / folder / file), made))
            yield f"{folder}/{file}", kind, recorded, made


def text_sets(golden, options):
    yield "seqeval/bio.jsonl", "scores", *texts.seqeval_bio(golden)
    yield "seqeval/sbio.jsonl", "scores", *texts.seqeval_sbio(golden)
    yield "sentt/sentt.jsonl, fast tokenizer", "scores", *texts.sentt_fast(golden, options.tokenizer)
    if options.spiece:
        yield "sentt/sentt.jsonl, slow tokenizer", "scores", *texts.sentt_slow(golden, options.spiece)
    yield "hyperloader/position_buckets.json", "scores", *texts.position_buckets(golden)
    yield "hyperloader/anchors.json", "scores", *texts.anchors(golden)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, default=ROOT / "fixtures/golden", help="folder of the recorded vectors")
    parser.add_argument("--tokenizer", type=Path, default=ROOT / "fixtures/backbones/t5-nano/tokenizer.json")
    parser.add_argument("--spiece", type=Path, help="T5's spiece.model: checks the slow tokenizer too")
    parser.add_argument("--out", type=Path, help="folder to write the new tensors to")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"python {platform.python_version()}, " + ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES))
    print(f"tolerances: values {compare.VALUES:g}, gradients {compare.GRADIENTS:g}, scores {compare.SCORES:g}")
    failed = 0
    for name, kind, recorded, remade in [*tensor_sets(options.golden, options.out), *text_sets(options.golden, options)]:
        faults, worst = compare.compare(kind, recorded, remade)
        if not recorded:
            faults.append("no vector is recorded")
        if not faults:
            # A comparison that cannot fail shows nothing: each entry is changed in turn, and each change must be found.
            faults = [f"{entry}: a wrong value is not noticed" for entry in compare.unnoticed(kind, recorded, remade)]
        status = "FAILED" if faults else "ok"
        print(f"{status:6} {name}: {len(recorded)} entries, largest difference {worst:.3f} of the tolerance")
        for fault in faults[:10]:
            print(f"       {fault}")
        if len(faults) > 10:
            print(f"       and {len(faults) - 10} more")
        failed += bool(faults)
    print(f"{failed} files differ" if failed else "all vectors agree, and every changed entry was noticed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
