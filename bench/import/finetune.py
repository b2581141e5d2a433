"""Fine-tunes a T5 with plain PyTorch to write targets in the SentT' format, exports it with `hl-export --from`, and compares
F1 in PyTorch with F1 of `hl-run` on the same sentences.

    python bench/import/finetune.py FOLDER [--steps N]

A checkpoint that is in FOLDER is not trained again. Needs torch, transformers and the programs in target/release (or PROGRAMS). The corpus is the excerpt of SNIPS in fixtures.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import T5ForConditionalGeneration

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "fixtures/corpora/snips"
BACKBONE = ROOT / "fixtures/backbones/t5-nano"
PROGRAMS = Path(os.environ.get("PROGRAMS", ROOT / "target/release"))
END, PAD = 1, 0


def read(split):
    words = (CORPUS / split / "seq.in").read_text().splitlines()
    tags = (CORPUS / split / "seq.out").read_text().splitlines()
    return [(w.split(), t.split()) for w, t in zip(words, tags)]


def simplified(tags):
    """BIO as sBIO: the label begins a span, `I` continues it."""
    return [tag if tag == "O" else "I" if tag.startswith("I-") else tag[2:] for tag in tags]


def bio(tags):
    found, label = [], None
    for tag in tags:
        if tag == "I":
            found.append(f"I-{label}" if label else "O")
        else:
            label = None if tag == "O" else tag
            found.append(f"B-{label}" if label else "O")
    return found


def spans(tags):
    found, start = set(), None
    for at, tag in enumerate([*tags, "O"]):
        if start is not None and not tag.startswith("I-"):
            found.add((start, at, tags[start][2:]))
            start = None
        if tag.startswith("B-"):
            start = at
    return found


class Codec:
    def __init__(self):
        self.tokenizer = Tokenizer.from_file(str(BACKBONE / "tokenizer.json"))
        self.sentinels = [self.tokenizer.token_to_id(f"<extra_id_{k}>") for k in range(100)]

    def word(self, word):
        return self.tokenizer.encode(word, add_special_tokens=False).ids

    def encode(self, words):
        ids = [id for k, word in enumerate(words) for id in (self.sentinels[k], *self.word(word))]
        return [*ids, self.sentinels[len(words)], END]

    def decode(self, ids, count):
        """The tag after each sentinel; `O` where there is none."""
        tags, at = {}, None
        for id in ids:
            if id in self.sentinels:
                at = self.sentinels.index(id)
            elif id not in (END, PAD) and at is not None:
                tags.setdefault(at, []).append(id)
        text = {at: self.tokenizer.decode(ids).strip() for at, ids in tags.items()}
        return [text.get(at, "O") for at in range(count)]


def padded(rows, pad):
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])


def train(model, codec, steps):
    model.train()
    sentences = read("train")
    examples = [(codec.encode(w), codec.encode(simplified(t))) for w, t in sentences]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        batch = random.sample(examples, 16)
        source = padded([s for s, _ in batch], PAD)
        labels = padded([t for _, t in batch], -100)
        loss = model(input_ids=source, attention_mask=(source != PAD).long(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


@torch.no_grad()
def predict(model, codec, sentences):
    model.eval()
    found = []
    for at in range(0, len(sentences), 32):
        words = [w for w, _ in sentences[at : at + 32]]
        source = padded([codec.encode(w) for w in words], PAD)
        ids = model.generate(
            input_ids=source, attention_mask=(source != PAD).long(), max_new_tokens=127, do_sample=False, num_beams=1
        )
        found += [bio(codec.decode(row.tolist(), len(w))) for row, w in zip(ids, words)]
    return found


def f1(gold, predicted):
    pairs = [(spans(g), spans(p)) for g, p in zip(gold, predicted)]
    right = sum(len(g & p) for g, p in pairs)
    return 2 * right / max(1, sum(len(g) + len(p) for g, p in pairs))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--steps", type=int, default=300)
    options = arguments.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = options.folder / "checkpoint"
    trained = checkpoint if (checkpoint / "config.json").exists() else BACKBONE
    codec, model = Codec(), T5ForConditionalGeneration.from_pretrained(trained)
    if trained is BACKBONE:
        train(model, codec, options.steps)
        model.save_pretrained(checkpoint)
    (checkpoint / "tokenizer.json").write_text((BACKBONE / "tokenizer.json").read_text())
    # The same weights as `torch.save` writes them.
    pickled = options.folder / "pickled"
    pickled.mkdir(exist_ok=True)
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    for name in ("config.json", "tokenizer.json"):
        (pickled / name).write_text((checkpoint / name).read_text())

    sentences = [pair for pair in read("test") if len(pair[0]) <= 60]
    predicted = predict(model, codec, sentences)
    labels = sorted({tag[2:] for _, tags in read("train") + read("valid") for tag in tags if tag != "O"})
    (options.folder / "labels.txt").write_text("\n".join(labels) + "\n")
    gold = "".join("".join(f"{w} {t}\n" for w, t in zip(*pair)) + "\n" for pair in sentences)
    (options.folder / "gold.conll").write_text(gold)
    print(f"PyTorch: F1 {f1([t for _, t in sentences], predicted):.6f} on {len(sentences)} sentences")

    failed = False
    for name in ("checkpoint", "pickled"):
        model_file = options.folder / f"{name}.onnx"
        export = [PROGRAMS / "hl-export", "--from", options.folder / name, "--task", "snips", "--quiet", "--force"]
        export += ["--labels", options.folder / "labels.txt", "--output", model_file]
        subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
        run = [PROGRAMS / "hl-run", "--model", model_file, "--quiet"]
        evaluation = subprocess.run(
            [*run, "--gold", options.folder / "gold.conll", "--output-format", "json"], check=True, capture_output=True
        )
        report = json.loads(evaluation.stdout)
        tagged = subprocess.run(
            [*run, "--input-format", "jsonl", "--output-format", "jsonl"],
            input="\n".join(json.dumps({"tokens": w}) for w, _ in sentences),
            check=True, capture_output=True, text=True,
        )
        tags = [json.loads(line)["tags"] for line in tagged.stdout.splitlines()]
        same = sum(one == other for one, other in zip(tags, predicted))
        if same != len(sentences):
            failed = True
        print(f"hl-run, {name}: F1 {report['evaluation']['scores']['micro']['f1']:.6f}; "
              f"the tags of {same} of {len(sentences)} sentences are those of PyTorch")
    sys.exit(failed)


if __name__ == "__main__":
    main()
