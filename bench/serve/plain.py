"""Writes the weights of an exported T5 without adapters as transformers does: python plain.py MODEL.onnx BACKBONE FOLDER

LoRA and generated norms are folded into the exported weights, so they are those of a plain `T5ForConditionalGeneration`. The tables of
relative positions are the backbone's: the graph has them spread out.
"""

import shutil
import sys
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from transformers import T5ForConditionalGeneration

file, backbone, folder = sys.argv[1:]
model = T5ForConditionalGeneration.from_pretrained(backbone, dtype=torch.float32)
state, found = model.state_dict(), set()
for tensor in onnx.load(file).graph.initializer:
    if tensor.name in state and "relative_attention_bias" not in tensor.name:
        value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        # The graph multiplies from the right, except the embedding.
        state[tensor.name].copy_(value.T if value.dim() == 2 and tensor.name != "shared.weight" else value)
        found.add(tensor.name)
    elif not tensor.name.startswith(("const/", "drafter.")) and "relative_attention_bias" not in tensor.name:
        raise SystemExit(f"`{tensor.name}` is not a weight of a plain T5: export a run without adapters")
tied = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
missing = {name for name in state if "relative_attention_bias" not in name} - found - tied
assert not missing, missing
model.load_state_dict(state)
model.save_pretrained(folder)
shutil.copy(Path(backbone, "tokenizer.json"), folder)
