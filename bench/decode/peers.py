"""The Python peers of bench/decode: each loads the same widened T5 and turns source ids into target ids.

`peers.py prepare OUT` makes each peer's own files from OUT/hf; `peers.py run ENGINE OUT` measures one and prints JSON.
"""
import argparse
import json
import os
import resource
import time
from pathlib import Path

WARM_UP = 3
# Compute type, and whether MKL may be used: CTranslate2 itself uses it on Intel's processors only, but on others it may be
# faster in float32. (In int8 it was ten times slower there.)
CTRANSLATE2 = {"ctranslate2 fp32": ("float32", None), "ctranslate2 fp32, MKL": ("float32", "1"),
               "ctranslate2 int8": ("int8", None)}
ENGINES = ["transformers", "optimum", *CTRANSLATE2]


def read_sentences(path, limit):
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()[:limit]]
    return [row["words"] for row in rows], [row["source"] for row in rows], rows[0]["max_target_len"]


def check_sources(folder, words, sources):
    """The ids must be what T5's own tokenizer gives for `<extra_id_0> word <extra_id_1> ...`, word by word."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    eos = tokenizer.token_to_id("</s>")
    for sentence, source in zip(words, sources, strict=True):
        ids = []
        for index, word in enumerate(sentence):
            ids.append(tokenizer.token_to_id(f"<extra_id_{index}>"))
            ids.extend(tokenizer.encode(word, add_special_tokens=False).ids)
        ids += [tokenizer.token_to_id(f"<extra_id_{len(sentence)}>"), eos]
        if ids != source:
            raise SystemExit(f"source ids of {sentence} differ: {source} given, {ids} from the tokenizer")


def ctranslate2_folder(out, compute):
    return out / f"ctranslate2-{compute}"


def prepare(out, sentences):
    from ctranslate2.converters import TransformersConverter
    from optimum.exporters.onnx import main_export

    words, sources, _ = read_sentences(sentences, None)
    check_sources(out / "hf", words, sources)
    if not (out / "optimum").is_dir():
        main_export(str(out / "hf"), output=out / "optimum", task="text2text-generation-with-past", device="cpu")
        # Both are in the merged decoder, which is what is run.
        for part in ["decoder_model.onnx", "decoder_with_past_model.onnx"]:
            (out / "optimum" / part).unlink()
    for compute, _ in CTRANSLATE2.values():
        folder = ctranslate2_folder(out, compute)
        if not folder.is_dir():
            TransformersConverter(str(out / "hf")).convert(str(folder), quantization=compute)


class HuggingFace:
    """`generate` of transformers, in PyTorch or over optimum's ONNX files."""

    def __init__(self, engine, out, threads, limit, device):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.limit, self.device = torch, limit, device
        # Modules are imported before the clock starts: loading is reading a model.
        if engine == "transformers":
            from transformers import T5ForConditionalGeneration

            began = time.perf_counter()
            self.model = T5ForConditionalGeneration.from_pretrained(out / "hf", dtype=torch.float32).eval()
            self.model.to(device)
        else:
            from onnxruntime import SessionOptions
            from optimum.onnxruntime import ORTModelForSeq2SeqLM

            options = SessionOptions()
            options.intra_op_num_threads = threads
            began = time.perf_counter()
            self.model = ORTModelForSeq2SeqLM.from_pretrained(out / "optimum", session_options=options, use_cache=True)
        self.load_s = time.perf_counter() - began

    def generate(self, sources):
        torch = self.torch
        length = max(map(len, sources))
        ids = torch.tensor([source + [0] * (length - len(source)) for source in sources])
        mask = (torch.arange(length)[None, :] < torch.tensor([len(s) for s in sources])[:, None]).long()
        with torch.inference_mode():
            targets = self.model.generate(input_ids=ids.to(self.device), attention_mask=mask.to(self.device),
                                          do_sample=False, num_beams=1, max_new_tokens=self.limit)
        return [cut(row[1:]) for row in targets.tolist()]


class CTranslate2:
    """CTranslate2's translator; it takes and gives tokens, so that ids are looked up outside the clock."""

    def __init__(self, engine, out, threads, limit, _):
        compute, mkl = CTRANSLATE2[engine]
        if mkl is not None:
            os.environ["CT2_USE_MKL"] = mkl
        import ctranslate2
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(out / "hf" / "tokenizer.json"))
        self.token, self.id, self.limit = tokenizer.id_to_token, tokenizer.token_to_id, limit
        began = time.perf_counter()
        self.model = ctranslate2.Translator(str(ctranslate2_folder(out, compute)), device="cpu", compute_type=compute,
                                            inter_threads=1, intra_threads=threads)
        self.load_s = time.perf_counter() - began

    def generate(self, sources):
        tokens = [[self.token(id) for id in source] for source in sources]
        results = self.model.translate_batch(tokens, beam_size=1, max_decoding_length=self.limit,
                                             return_end_token=True)
        return [cut([self.id(token) for token in result.hypotheses[0]]) for result in results]


def cut(ids):
    """Ids up to and with the first `</s>`."""
    return ids[:ids.index(1) + 1] if 1 in ids else ids


def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(engine, out, sentences, batch_sizes, limit, threads, device):
    _, sources, max_target_len = read_sentences(sentences, limit)
    peer = (CTranslate2 if engine in CTRANSLATE2 else HuggingFace)(engine, out, threads, max_target_len, device)
    for source in sources[:WARM_UP]:
        peer.generate([source])
    record = {"engine": engine, "load_s": peer.load_s, "batches": {}}
    # Batches of like length, which is best for every engine.
    order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
    for size in batch_sizes:
        rows = range(len(sources)) if size == 1 else order
        batches = [rows[start:start + size] for start in range(0, len(rows), size)]
        if size > 1:
            peer.generate([sources[index] for index in batches[0]])
        ids, latencies = {}, []
        began = time.perf_counter()
        for batch in batches:
            batch_began = time.perf_counter()
            targets = peer.generate([sources[index] for index in batch])
            latencies.append(time.perf_counter() - batch_began)
            ids.update(zip(batch, targets, strict=True))
        record["batches"][size] = {"seconds": time.perf_counter() - began}
        if size == 1:
            record["batches"][size]["latencies"] = latencies
            record["peak_kib_batch_1"] = peak_kib()
        record.setdefault("ids", [ids[index] for index in range(len(sources))])
    record["peak_kib"] = peak_kib()
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ["prepare", "run"]:
        sub = commands.add_parser(command)
        if command == "run":
            sub.add_argument("engine", choices=ENGINES)
            sub.add_argument("--batch-sizes", default="1")
            sub.add_argument("--limit", type=int, default=200)
            sub.add_argument("--threads", type=int, default=2)
            sub.add_argument("--device", default="cpu", help="for transformers; all others run on the CPU")
        sub.add_argument("out", type=Path)
        sub.add_argument("--sentences", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "prepare":
        prepare(options.out, options.sentences)
        return
    sizes = [int(size) for size in options.batch_sizes.split(",")]
    print(json.dumps(measure(options.engine, options.out, options.sentences, sizes, options.limit, options.threads,
                             options.device)))


if __name__ == "__main__":
    main()
