"""Compares what the float32 files give for every bundled test sentence with what the trainer gives, and prints a table.

    python trainer.py FOLDER [--programs FOLDER] [--runs PATTERN]

FOLDER is that of run.sh. On a T5, the trainer's target ids (its example `evaluation_speed`) are passed to the file's decoder: if the
best id at each position is the trainer's, greedy decoding with the file gives the same ids. Then hl-run tags the sentences
with both of its backends, and its tags must be those of the ids. On a BERT, the tags of the trainer are compared with those of
hl-run: both list all mistakes of a small test split, so the splits are evaluated in parts.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT / "fixtures/corpora"
TESTS = {
    "atis": ("atis/test", "seq-in-out"),
    "mit_movie": ("mit_movie/engtest.bio", "bio-columns"),
    "mit_movie_trivia": ("mit_movie_trivia/trivia10k13test.bio", "bio-columns"),
    "mit_restaurant": ("mit_restaurant/restauranttest.bio", "bio-columns"),
    "mtod": ("mtod/en/test-en.tsv", "mtod"),
    "mtop": ("mtop/en/test.txt", "mtop"),
    "snips": ("snips/test", "seq-in-out"),
}
BACKENDS = ["ort", "tract"]
BATCH = 16
# The trainer and hl-run list the predictions of at most this many sentences of an evaluation.
LISTED = 20

# The example of the documentation, which builds sources and reads the metadata.
spec = importlib.util.spec_from_file_location("tag", ROOT / "docs/examples/tag.py")
tag = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tag)


def call(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


# --- T5 ---


def trainer_ids(run, programs, folder):
    """Source ids and target ids of each test sentence, by task."""
    file = folder / f"{run.name}.jsonl"
    counts = file.with_suffix(".counts")
    if not counts.exists():
        # The committed run's own configuration names the whole corpora.
        config = ROOT / "hyperloader.toml" if run.name == "t5-nano" else run / "config.toml"
        text = call(programs / "examples/evaluation_speed", run.resolve(), config, 1_000_000, file)
        counts.write_text(text)
    lines = iter(file.read_text().splitlines())
    found = {}
    for count in map(json.loads, counts.read_text().splitlines()):
        found[count["task"]] = [json.loads(next(lines)) for _ in range(count["sentences"])]
    assert next(lines, None) is None
    return found


def equal_ids(path, task, pairs):
    """Number of the sentences for which the file's best id at every position is the trainer's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    place = 0
    if "hyperloader.tasks" in metadata:
        tasks = json.loads(metadata["hyperloader.tasks"])
        [place] = [at for at, entry in enumerate(tasks) if entry["hyperloader.task"] == task]
        metadata = metadata | tasks[place]
    start, end, most = (int(metadata[f"hyperloader.{key}"]) for key in ("decoder_start_token_id", "eos_token_id", "max_target_len"))
    equal = 0
    for first in range(0, len(pairs), BATCH):
        batch = pairs[first : first + BATCH]
        sources = padded([pair["source"] for pair in batch])
        targets = padded([[start, *pair["ids"][:-1]] for pair in batch])
        feeds = {"input_ids": sources, "attention_mask": (sources != 0).astype(numpy.int64), "decoder_input_ids": targets}
        if "hyperloader.tasks" in metadata:
            feeds["task_id"] = numpy.full(len(batch), place, dtype=numpy.int64)
        [logits] = session.run(["logits"], feeds)
        for pair, best in zip(batch, logits.argmax(-1)):
            ids = pair["ids"]
            assert end not in ids[:-1] and (ids[-1] == end or len(ids) == most), ids
            equal += best[: len(ids)].tolist() == ids
    return equal


def padded(rows):
    width = max(map(len, rows))
    return numpy.array([row + [0] * (width - len(row)) for row in rows], dtype=numpy.int64)


def tagged(path, task, backend, programs):
    """Words and tags of each test sentence by hl-run."""
    test, layout = TESTS[task]
    given = CORPORA / test / "seq.in" if layout == "seq-in-out" else CORPORA / test
    layout = "words" if layout == "seq-in-out" else layout
    options = ["--input-format", layout, "--backend", backend, "--output-format", "conll", "--threads", 1, "--quiet"]
    text = call(programs / "hl-run", "--model", path, "--input", given, *options)
    sentences = [[line.split("\t") for line in part.split("\n")] for part in text.strip("\n").split("\n\n")]
    # The columns of the input are kept: the word is the first, the tag the last. hl-run marks a label that the task does not have.
    return [([row[0] for row in sentence], [row[-1].removesuffix("?") for row in sentence]) for sentence in sentences]


def tags_of(ids, words, tokenizer):
    """docs/file-format.md#target"""
    written = tokenizer.decode(ids, skip_special_tokens=True).split()
    tags, label = [], None
    for text in (written + ["O"] * len(words))[: len(words)]:
        if text == "I":
            tags.append(f"I-{label}" if label else "O")
        else:
            label = None if text == "O" else text
            tags.append(f"B-{label}" if label else "O")
    return tags


def equal_tags(path, task, backend, pairs, programs):
    """Number of the sentences whose tags by hl-run are those of the trainer's ids, and number of the spans in these."""
    tagger = tag.Tagger(str(path))
    ids = {tuple(pair["source"]): pair["ids"] for pair in pairs}
    rows = tagged(path, task, backend, programs)
    assert len(rows) == len(pairs), (task, len(rows), len(pairs))
    # hl-run prints the words of the text; the model reads them in lower case if its corpus has them so.
    read = str.lower if tagger.words["lowercase"] else str
    sources = [tuple(tagger.source([read(word) for word in words])) for words, _ in rows]
    expected = [tags_of(ids[source], words, tagger.tokenizer) for source, (words, _) in zip(sources, rows)]
    spans = sum(tag.startswith("B-") for tags in expected for tag in tags)
    return sum(tags == others for (_, tags), others in zip(rows, expected)), spans


def of_t5(run, files, programs, folder):
    cells = dict.fromkeys(["single", "bundle", "multi", *BACKENDS], 0)
    sentences = ids = spans = 0
    for task, pairs in trainer_ids(run, programs, folder).items():
        sentences += len(pairs)
        ids += sum(len(pair["ids"]) for pair in pairs)
        single = files / "all" / f"{task}.onnx"
        for name, path in {"single": single, "bundle": files / "bundle" / f"{task}.onnx", "multi": files / "multi.onnx"}.items():
            if path.exists():
                cells[name] += equal_ids(path, task, pairs)
            else:
                cells[name] = "-"
        for backend in BACKENDS:
            equal, found = equal_tags(single, task, backend, pairs, programs)
            cells[backend] += equal
        spans += found
    return sentences, f"{ids} ids, {spans} spans", cells


# --- BERT ---


def cut(task, number, folder):
    """Writes a part of a test split with as many sentences as are listed. Returns its path; `None` after the end."""
    test, layout = TESTS[task]
    if layout == "bio-columns":  # These have fewer sentences.
        return CORPORA / test if number == 0 else None
    names = ["seq.in", "seq.out", "label"] if layout == "seq-in-out" else [""]
    folder = folder / f"{task}-{number}"
    for name in names:
        lines = (CORPORA / test / name).read_bytes().splitlines(keepends=True)[number * LISTED : (number + 1) * LISTED]
        if not lines:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (name or "rows")).write_bytes(b"".join(lines))
    return folder if names[0] else folder / "rows"


def well_formed(tags):
    """Tags as hl-run writes them: an `I-x` that continues no span of `x` opens one (docs/file-format.md#token-classifiers)."""
    before = ["O", *tags]
    return [f"B-{tag[2:]}" if tag[0] == "I" and last[1:] != tag[1:] else tag for last, tag in zip(before, tags)]


def mistakes(details):
    """The sentences with a wrong tag, each with all tags, by their words. All others have the gold tags."""
    found = {json.dumps(entry["words"]): (entry["gold"], well_formed(entry["predicted"])) for entry in details["worst"]}
    assert len(found) == len(details["worst"])
    return {words: tags for words, (gold, tags) in found.items() if tags != gold}


def trainer_parts(run, programs, folder):
    """Rows of task, part of its test split, number of sentences and the trainer's mistakes. The trainer resumes copies of the
    finished run, whose test splits are these parts.
    """
    file = folder / f"{run.name}.json"
    if file.exists():
        return json.loads(file.read_text())
    found, number = [], 0
    while True:
        parts = {task: cut(task, number, folder / "parts") for task in TESTS}
        if not any(parts.values()):
            break
        copy = folder / "resumed" / run.name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        (copy / "outcome.json").unlink()
        config = (copy / "config.toml").read_text()
        for task in TESTS:
            # A task that is at its end is evaluated on its first part again, which is not counted.
            part = parts[task] or cut(task, 0, folder / "parts")
            config, changed = re.subn(rf'(\[task\.{task}\][^\[]*?\ntest = )"[^"]*"', rf'\g<1>"{part}"', config)
            assert changed == 1, config
        config = re.sub(r'((?:train|valid|path) = )"(\.[^"]*)"', lambda m: f'{m[1]}"{(run / m[2]).resolve()}"', config)
        (copy / "config.toml").write_text(config)
        call(programs / "hl-train", "--quiet", "--no-progress", "--resume", copy)
        for task, scores in json.loads((copy / "outcome.json").read_text())["test"].items():
            if parts[task]:
                found.append((task, str(parts[task]), scores["sentences"], mistakes(scores["details"])))
        number += 1
    file.write_text(json.dumps(found))
    return found


def of_bert(run, files, programs, folder):
    cells = {"single": "-", "bundle": 0, "multi": "-"} | dict.fromkeys(BACKENDS, 0)
    sentences = words = spans = 0
    for task, part, count, of_trainer in trainer_parts(run, programs, folder):
        layout = TESTS[task][1]
        sentences += count
        for cell, path, backend in [
            ("bundle", files / "bundle" / f"{task}.onnx", "ort"),
            *((backend, files / "all" / f"{task}.onnx", backend) for backend in BACKENDS),
        ]:
            options = ["--gold-labels", "plain", "--backend", backend, "--threads", 1, "--quiet", "--output-format", "json"]
            options += [] if layout == "seq-in-out" else ["--input-format", layout]
            report = json.loads(call(programs / "hl-run", "--model", path, "--gold", part, *options))["evaluation"]
            assert report["sentences"] == count <= LISTED
            of_file = mistakes(report["details"])
            different = sum(of_file.get(key) != of_trainer.get(key) for key in of_file | of_trainer)
            cells[cell] += count - different
        words += report["words"]
        spans += report["scores"]["counts"]["predicted"]
    return sentences, f"{words} tags, {spans} spans", cells


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--programs", type=Path, default=Path("target/release"))
    arguments.add_argument("--runs", default="*", help="pattern of runs")
    options = arguments.parse_args()
    place = options.folder / "trainer"
    place.mkdir(exist_ok=True)
    print("| run | sentences | compared | one file per task | bundle | all tasks in one graph | `hl-run`, ONNX Runtime | `hl-run`, tract |")
    print("|---|---|---|---|---|---|---|---|")
    failed = False
    for run in sorted(path for path in (options.folder / "runs").glob(options.runs) if path.is_dir()):
        files = options.folder / "files" / run.name / "f32"
        compare = of_bert if run.name.startswith("bert") else of_t5
        sentences, compared, cells = compare(run, files, options.programs, place)
        failed |= any(cell not in (sentences, "-") for cell in cells.values())
        print(f"| {run.name} | {sentences} | {compared} | {' | '.join(map(str, cells.values()))} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
