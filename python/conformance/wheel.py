"""Compares the installed package with hl-run on 500 sentences, for the same file: python wheel.py HL_RUN MODEL...

Spans have to be equal, and scores to differ by at most 1e-3. hl-run gives offsets in each of its units; those of the package are
converted.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
from sentences import texts
from spans import in_unit

from hyperloader import Tagged, Tagger, pipeline

TOLERANCE = 1e-3


def hl_run(program: str, model: str, sentences: list[str], unit: str) -> list[dict]:
    """What hl-run writes for each sentence. Records are JSON: a text may hold line ends."""
    lines = "\n".join(json.dumps({"text": text}) for text in sentences)
    command = [program, "--quiet", "--model", model, "--scores", "--offsets", unit]
    command += ["--input", "-", "--input-format", "jsonl", "--output-format", "jsonl"]
    printed = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    # Not `splitlines`, which also splits at the line separators of Unicode.
    return [json.loads(line) for line in printed.decode().split("\n") if line]


def spans(tagged: Tagged, unit: str) -> list[tuple]:
    convert = [(in_unit(tagged.text, s.start, unit), in_unit(tagged.text, s.end, unit)) for s in tagged.spans]
    return [(*place, span.label, span.text) for place, span in zip(convert, tagged.spans, strict=True)]


def compare(program: str, model: str) -> str:
    sentences = texts()
    tagger = Tagger(model, scores=True)
    found = tagger.tag(sentences)
    worst = 0.0
    for unit in ("chars", "bytes", "utf16"):
        theirs = hl_run(program, model, sentences, unit)
        assert len(theirs) == len(found) == 500
        for ours, line in zip(found, theirs, strict=True):
            expected = [(span["start"], span["end"], span["label"], span["text"]) for span in line["spans"]]
            assert ours.text == line["text"], (ours.text, line["text"])
            assert spans(ours, unit) == expected, (ours, line)
            pairs = [(ours.score, line["score"])]
            pairs += [(a.score, b["score"]) for a, b in zip(ours.spans, line["spans"], strict=True)]
            pairs += [(a[0], b["score"]) for a, b in zip(ours.tag_scores, line["tag_scores"], strict=True)]
            worst = max(worst, *(abs(a - b) for a, b in pairs))
    assert worst <= TOLERANCE, worst
    # The other ways to the same results.
    table = tagger.tag_arrow(pa.table({"text": sentences}))["spans"].to_pylist()
    entities = pipeline(model)(sentences)
    for ours, of_table, of_pipeline in zip(found, table, entities, strict=True):
        plain = [(span.start, span.end, span.label, span.text) for span in ours.spans]
        assert plain == [(s["start"], s["end"], s["label"], s["text"]) for s in of_table]
        assert plain == [(e["start"], e["end"], e["entity_group"], e["word"]) for e in of_pipeline]
    count = sum(len(ours.spans) for ours in found)
    return f"{tagger.task} in {tagger.backend}: 500 sentences, {count} spans equal, scores differ by at most {worst:.1e}"


if __name__ == "__main__":
    for model in sys.argv[2:]:
        print(compare(sys.argv[1], model))
