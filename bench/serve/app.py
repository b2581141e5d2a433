"""The peer of bench/serve: a T5 tagger behind FastAPI, as it is usually written: `generate` of transformers in an endpoint.

Environment: HF is the folder of the model, THREADS the number of torch's threads.
"""
import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer
from transformers import T5ForConditionalGeneration

torch.set_num_threads(int(os.environ["THREADS"]))
folder = os.environ["HF"]
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
app = FastAPI()


class Request(BaseModel):
    texts: list[str]


def source(text):
    """`<extra_id_0> word <extra_id_1> ... </s>`, as hl-run encodes the words of a sentence. It also splits off punctuation, so that it has
    more words to tag than this peer, which splits at spaces."""
    ids = []
    words = text.split()
    for index, word in enumerate(words):
        ids.append(tokenizer.token_to_id(f"<extra_id_{index}>"))
        ids.extend(tokenizer.encode(word, add_special_tokens=False).ids)
    return ids + [tokenizer.token_to_id(f"<extra_id_{len(words)}>"), tokenizer.token_to_id("</s>")]


@app.post("/tag")
def tag(request: Request):
    sources = [source(text) for text in request.texts]
    length = max(map(len, sources))
    ids = torch.tensor([ids + [0] * (length - len(ids)) for ids in sources])
    mask = (torch.arange(length)[None, :] < torch.tensor([len(ids) for ids in sources])[:, None]).long()
    with torch.inference_mode():
        targets = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=128)
    return {"results": [{"text": text, "target": tokenizer.decode(row, skip_special_tokens=False)}
                        for text, row in zip(request.texts, targets.tolist())]}
