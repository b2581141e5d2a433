"""transformers' greedy `generate` on the sentences that evaluation_speed has timed: evaluation.py MODEL FILE SECONDS.json

Batches of 64 sentences in FILE's order, which is by length, as in hl-train. Fails if an id differs from FILE's.
"""

import json
import sys
import time

import torch
from transformers import T5ForConditionalGeneration

folder, file, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
rows = [json.loads(line) for line in open(file)]


def generate(sources):
    length = max(map(len, sources))
    ids = torch.tensor([source + [0] * (length - len(source)) for source in sources])
    mask = (torch.arange(length)[None, :] < torch.tensor([len(source) for source in sources])[:, None]).long()
    with torch.inference_mode():
        targets = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=limit)
    return [row[1:][:row[1:].index(1) + 1] if 1 in row else row[1:] for row in targets.tolist()]


sources = [row["source"] for row in rows]
generate(sources[:32])
began = time.perf_counter()
found = [ids for start in range(0, len(sources), 64) for ids in generate(sources[start:start + 64])]
seconds = time.perf_counter() - began
different = sum(a != row["ids"] for a, row in zip(found, rows, strict=True))
if different:
    sys.exit(f"transformers gives other ids for {different} of {len(rows)} sentences")
print(json.dumps({"transformers_seconds": seconds, "sentences": len(rows)}))
