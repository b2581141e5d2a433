"""Measures hl-run on an exported BERT tagger, next to optimum + ONNX Runtime and transformers, and prints a Markdown table.

The exported file has LoRA folded into the matrices and no adapters, so its weights are those of a plain `BertForTokenClassification`,
which this program writes and hands to the peers. All tags must be equal before anything is measured. See README.md.
"""

import argparse
import json
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy
import onnx
import torch
from onnx import numpy_helper
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTModelForTokenClassification
from onnxruntime import SessionOptions
from transformers import AutoConfig, AutoTokenizer, BertForTokenClassification


def hugging_face(file, backbone, folder):
    """Writes the weights of an exported file as transformers does; the tokenizer and the tags."""
    model = onnx.load(file)
    labels = json.loads(next(one.value for one in model.metadata_props if one.key == "hyperloader.labels"))
    tags = ["O"] + [f"{kind}-{label}" for label in labels for kind in "BI"]
    config = AutoConfig.from_pretrained(backbone, num_labels=len(tags), id2label=dict(enumerate(tags)),
                                        label2id={tag: at for at, tag in enumerate(tags)})
    peer = BertForTokenClassification(config)
    state, found = peer.state_dict(), set()
    for tensor in model.graph.initializer:
        if tensor.name in state:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            # The graph multiplies from the right, except the embeddings.
            is_matrix = value.dim() == 2 and "embeddings" not in tensor.name
            state[tensor.name].copy_(value.T if is_matrix else value)
            found.add(tensor.name)
        elif not tensor.name.startswith("const/"):
            raise SystemExit(f"`{tensor.name}` is not a weight of a plain BERT: measure a run without adapters")
    missing = set(state) - found - {"bert.embeddings.position_ids"}
    assert not missing, missing
    peer.load_state_dict(state)
    peer.eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone).save_pretrained(folder)


class Peer:
    """Tags lists of words, as the pipelines of transformers do: the tag of a word is that of its first token."""

    def __init__(self, model, folder):
        self.model, self.tokenizer = model, AutoTokenizer.from_pretrained(folder)
        self.names = numpy.array([model.config.id2label[at] for at in range(model.config.num_labels)])

    @torch.inference_mode()
    def tag(self, sentences, batch):
        tagged = []
        for at in range(0, len(sentences), batch):
            encoded = self.tokenizer(sentences[at : at + batch], is_split_into_words=True, padding=True, truncation=True,
                                     max_length=128, return_tensors="pt")
            best = self.model(**encoded).logits.argmax(-1).numpy()
            for row in range(len(best)):
                first, words = {}, encoded.word_ids(row)
                for token, word in enumerate(words):
                    if word is not None:
                        first.setdefault(word, token)
                tagged.append(self.names[best[row][list(first.values())]].tolist())
        return tagged

    def rate(self, sentences, batch):
        begin = time.perf_counter()
        self.tag(sentences, batch)
        return len(sentences) / (time.perf_counter() - begin)


def of_spans(tags):
    """The tags as hl-run writes them: a span begins with `B-`, also where the model says `I-` without a beginning."""
    pairs = zip(["O", *tags], tags)
    return ["B-" + tag[2:] if tag.startswith("I-") and before[2:] != tag[2:] else tag for before, tag in pairs]


class HlRun:
    def __init__(self, o, file, lines):
        self.o, self.file, self.lines = o, file, lines

    def run(self, batch, options=()):
        command = [self.o.hl_run, "--model", self.file, "--threads", str(self.o.threads), "--batch-size", str(batch), *options]
        with open(self.lines) as stdin:
            return subprocess.run(command, stdin=stdin, check=True, capture_output=True, text=True)

    def tag(self):
        printed = self.run(32, ["--quiet", "--output-format", "conll"]).stdout
        blocks = [block for block in printed.strip("\n").split("\n\n")]
        return [[line.split("\t")[-1].split(" ")[-1] for line in block.split("\n")] for block in blocks]

    def rate(self, _, batch):
        return float(re.search(r": ([\d.]+) per second", self.run(batch, ["--output-format", "jsonl", "--stats"]).stderr)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hl-run", required=True)
    parser.add_argument("--model", required=True, help="the exported file in float32")
    parser.add_argument("--int8", required=True, help="the same in int8")
    parser.add_argument("--backbone", required=True, help="the pretrained BERT that the run was trained from")
    parser.add_argument("--sentences", required=True, help="a sentence per line, words separated by spaces")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 32, 64])
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    sentences = [line.split() for line in Path(o.sentences).read_text(encoding="utf-8").splitlines() if line.strip()]
    with tempfile.TemporaryDirectory() as folder:
        plain, exported = Path(folder, "hf"), Path(folder, "optimum")
        hugging_face(o.model, o.backbone, plain)
        main_export(str(plain), output=exported, task="token-classification", device="cpu", do_validation=False)
        options = SessionOptions()
        options.intra_op_num_threads = o.threads
        engines = {
            "hl-run, f32": HlRun(o, o.model, o.sentences),
            "hl-run, int8": HlRun(o, o.int8, o.sentences),
            "optimum + ONNX Runtime": Peer(ORTModelForTokenClassification.from_pretrained(exported, session_options=options), plain),
            "transformers": Peer(BertForTokenClassification.from_pretrained(plain), plain),
        }
        expected = [of_spans(tags) for tags in engines["transformers"].tag(sentences, 32)]
        for name, engine in list(engines.items()):
            tagged = engine.tag() if isinstance(engine, HlRun) else engine.tag(sentences, 32)
            equal = sum(of_spans(a) == b for a, b in zip(tagged, expected, strict=True))
            print(f"{name}: {equal} of {len(sentences)} sentences have the tags of transformers\n")
            assert equal == len(sentences) or "int8" in name, name
        measure(o, engines, sentences)


def measure(o, engines, sentences):
    rates = {(name, batch): [] for name in engines for batch in o.batches}
    for number in range(o.rounds + 1):
        for (name, batch), found in rates.items():
            rate = engines[name].rate(sentences, batch)
            # The first round warms up.
            found += [rate] if number else []
    medians = {key: statistics.median(found) for key, found in rates.items()}
    best = {name: max(medians[name, batch] for batch in o.batches) for name in engines}
    print("| engine | " + " | ".join(f"batch {batch}" for batch in o.batches) + " | of optimum, batch 1 | of optimum, best batch |")
    print("|---|" + "---|" * (len(o.batches) + 2))
    optimum = "optimum + ONNX Runtime"
    for name in engines:
        row = " | ".join(f"{medians[name, batch]:.0f}" for batch in o.batches)
        alone = medians[name, o.batches[0]] / medians[optimum, o.batches[0]]
        print(f"| {name} | {row} | {alone:.2f} | {best[name] / best[optimum]:.2f} |")


if __name__ == "__main__":
    main()
