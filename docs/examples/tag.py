"""Tag sentences with an exported T5 tagger, without HyperLoader's programs.

usage: python3 tag.py mtop.onnx < sentences.txt

Reads one sentence per line from stdin and prints one JSON object per line, like `hl-run --output-format jsonl`.
Needs onnxruntime, numpy and tokenizers. The format is described in docs/file-format.md.
"""

import base64
import json
import lzma
import sys
import unicodedata

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

FORMAT = 2
PREFIX = "hyperloader."


# --- Word splitting: docs/file-format.md#words ---


def is_space(c):
    return c.isspace() or "\x1c" <= c <= "\x1f"


def is_letter(c):
    return c.isalpha() or unicodedata.category(c) == "Nl"


def is_number(c):
    return unicodedata.category(c).startswith("N")


def is_mark(c):
    """Whether `c` is punctuation, or a currency or mathematical sign: it may be a word of its own."""
    category = unicodedata.category(c)
    if category in ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sc", "Sm"):
        return c != "_"
    return category in ("Sk", "So") and c <= "\u00bf"


def stands_alone(text, at):
    """Whether the character at `at` is a mark that does not join its two neighbors."""
    c = text[at]
    inner = 0 < at < len(text) - 1

    def both(kind):
        return inner and kind(text[at - 1]) and kind(text[at + 1])

    if c in ".'\u2019":
        joins = both(is_letter) or both(is_number)
    elif c in ",;":
        joins = both(is_number)
    else:
        joins = False
    return is_mark(c) and not joins


def ends_word(text, at):
    return at >= len(text) or is_space(text[at]) or stands_alone(text, at)


def cuts(text, start, at, rule):
    """Whether the word that began at `start` ends before the character at `at`."""
    if is_space(text[at]):
        return True
    if rule == "whitespace":
        return False
    if stands_alone(text, at) or stands_alone(text, at - 1):
        return True
    if rule == "punctuation":
        return False
    if rule != "clitics":
        raise ValueError(f"this example does not split words by the rule `{rule}`")
    following = text[at + 1 : at + 2]
    clitic = text[at] in "'\u2019" and is_letter(text[at - 1]) and following in ("s", "S")
    half_day = text[start:at].isascii() and text[start:at].isdigit() and text[at] in "aApP" and following in ("m", "M")
    return (clitic or half_day) and ends_word(text, at + 2)


def split(text, rule, lowercase):
    """The words of `text` as (word, start, end); offsets count characters of `text`."""
    words, start = [], 0
    while start < len(text):
        end = start + 1
        if not is_space(text[start]):
            while end < len(text) and not cuts(text, start, end, rule):
                end += 1
            word = text[start:end]
            words.append((word.lower() if lowercase else word, start, end))
        start = end
    return words


# --- The tagger: docs/file-format.md#metadata, #source and #target ---


class Tagger:
    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        fields = {key.removeprefix(PREFIX): text for key, text in metadata.items() if key.startswith(PREFIX)}
        if "format" not in fields:
            sys.exit(f"{path}: not a HyperLoader tagger")
        if int(fields["format"]) != FORMAT:
            sys.exit(f"{path}: format {fields['format']}, this program reads {FORMAT}")
        if fields.get("kind", "encoder-decoder") != "encoder-decoder":
            sys.exit(f"{path}: this example runs T5 taggers only")
        self.words = json.loads(fields["words"])
        self.max_source_len = int(fields["max_source_len"])
        self.max_target_len = int(fields["max_target_len"])
        self.start_id = int(fields["decoder_start_token_id"])
        self.eos_id = int(fields["eos_token_id"])
        tokenizer = lzma.decompress(base64.b64decode(fields["tokenizer"]))
        self.tokenizer = Tokenizer.from_str(tokenizer.decode("utf-8"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.prefix = self.ids(fields.get("source_prefix", ""))

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def source(self, words):
        """`<extra_id_0> w0 <extra_id_1> w1 ... <extra_id_L> </s>`, each word encoded on its own."""
        ids = list(self.prefix)
        for index, word in enumerate(words):
            ids.append(self.sentinel(index))
            ids.extend(self.ids(word))
        return ids + [self.sentinel(len(words)), self.eos_id]

    def sentinel(self, index):
        token = self.tokenizer.token_to_id(f"<extra_id_{index}>")
        if token is None:
            raise ValueError(f"too many words: the vocabulary has no <extra_id_{index}>")
        return token

    def target(self, source):
        """The target's ids by greedy decoding: the most likely token, one at a time."""
        feeds = {
            "input_ids": np.array([source], dtype=np.int64),
            "attention_mask": np.ones((1, len(source)), dtype=np.int64),
        }
        target = [self.start_id]
        for _ in range(self.max_target_len):
            feeds["decoder_input_ids"] = np.array([target], dtype=np.int64)
            (logits,) = self.session.run(["logits"], feeds)
            target.append(int(logits[0, -1].argmax()))
            if target[-1] == self.eos_id:
                break
        return target[1:]

    def tag(self, text):
        """The spans of `text` as dictionaries with `start`, `end`, `label` and `text`."""
        words = split(text, self.words["rule"], self.words["lowercase"])
        if not words:
            return []
        source = self.source([word for word, _, _ in words])
        if len(source) > self.max_source_len:
            raise ValueError(f"{len(source)} tokens, the tagger takes at most {self.max_source_len}")
        # Sentinels and `</s>` are special tokens: without them, one tag per word is left, separated by spaces.
        tags = self.tokenizer.decode(self.target(source), skip_special_tokens=True).split()
        tags = (tags + ["O"] * len(words))[: len(words)]
        spans, is_open = [], False
        for tag, (_, start, end) in zip(tags, words):
            if tag == "I":
                if is_open:
                    spans[-1]["end"] = end
            else:
                is_open = tag != "O"
                if is_open:
                    spans.append({"start": start, "end": end, "label": tag})
        for span in spans:
            span["text"] = text[span["start"] : span["end"]]
        return spans


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tagger = Tagger(sys.argv[1])
    for number, line in enumerate(sys.stdin, start=1):
        text = line.rstrip("\r\n")
        try:
            print(json.dumps({"text": text, "spans": tagger.tag(text)}, ensure_ascii=False))
        except ValueError as error:
            print(f"line {number}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
