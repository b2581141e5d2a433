"""What the tagger gives, and that it is the same in every way to ask for it."""

import dataclasses
import inspect
import json
import logging
import pickle
import re
import subprocess
import sys
import warnings

import pytest

import hyperloader
from hyperloader import ModelError, Span, Tagged, Tagger

SENTENCE = "set an alarm for 7 am"


def hl_run(model, text, *options):
    command = [sys.executable, "-m", "hyperloader", "--model", model, "--quiet", "--output-format", "jsonl", *options]
    printed = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in printed.decode().splitlines()]


def test_spans_are_those_of_hl_run(model, tagger, sentences):
    expected = [
        [(span["start"], span["end"], span["label"], span["text"]) for span in line["spans"]]
        for line in hl_run(model, "\n".join(sentences))
    ]
    found = [[(span.start, span.end, span.label, span.text) for span in tagged.spans] for tagged in tagger.tag(sentences)]
    assert found == expected
    assert sum(map(len, found)) > 300


def test_scores_are_those_of_hl_run_and_change_no_span(model, tagger, scorer, sentences):
    sentences = sentences[:50]
    lines = hl_run(model, "\n".join(sentences), "--scores")
    plain = tagger.tag(sentences)
    for line, scored, tagged in zip(lines, scorer.tag(sentences), plain, strict=True):
        assert scored.score == pytest.approx(line["score"], abs=1e-3)
        assert [span.score for span in scored.spans] == pytest.approx([s["score"] for s in line["spans"]], abs=1e-3)
        assert [span.margin for span in scored.spans] == pytest.approx([s["margin"] for s in line["spans"]], abs=1e-3)
        assert [score for score, _ in scored.tag_scores] == pytest.approx([tag["score"] for tag in line["tag_scores"]], abs=1e-3)
        assert [dataclasses.replace(span, score=None, margin=None) for span in scored.spans] == list(tagged.spans)
        assert tagged.score is None and tagged.tag_scores is None


@pytest.mark.parametrize(
    "text", ["caf\u00e9 \U0001f600 at 7 am", "\u0639\u0631\u0628\u064a \u200f7 am", "e\u0301 7 am", "\ufeff7 am\tnow"]
)
def test_offsets_count_code_points(tagger, text):
    tagged = tagger.tag_one(text)
    assert tagged.text == text
    assert tagged.tokens == tuple(text[start:end] for start, end in tagged.offsets)
    for span in tagged.spans:
        assert text[span.start : span.end] == span.text
    assert len(tagged.tags) == len(tagged.tokens)


def test_every_way_to_tag_gives_the_same(tagger, sentences):
    expected = tagger.tag(sentences)
    assert list(tagger.tag_iter(iter(sentences))) == expected
    assert tagger.tag(tuple(sentences)) == expected
    assert [tagger.tag_one(text) for text in sentences[:5]] == expected[:5]
    words = tagger.tag_words([tagged.tokens for tagged in expected])
    assert [tagged.tags for tagged in words] == [tagged.tags for tagged in expected]
    assert tagger.tag_words([["set", "an", "alarm"]])[0].text == "set an alarm"


def test_an_iterator_reads_no_more_than_a_window(tagger, sentences):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield sentences[read % len(sentences)]

    results = tagger.tag_iter(endless())
    assert [next(results).text for _ in range(3)] == [sentences[at] for at in (1, 2, 3)]
    assert read <= 1024


def test_a_sentence_without_words_has_no_spans(tagger):
    assert tagger.tag(["", "  \n"]) == [Tagged(""), Tagged("  \n")]
    assert tagger.tag_words([[]]) == [Tagged("")]
    assert tagger.tag([]) == [] and list(tagger.tag_iter([])) == [] and tagger.tag_words([]) == []


def test_a_long_text_is_tagged_in_parts(tagger):
    text = (SENTENCE + ". ") * 200
    spans = tagger.tag_one(text).spans
    assert len(spans) > 100 and spans[-1].start > len(text) - 100
    assert all(text[span.start : span.end] == span.text for span in spans)


def test_words_that_are_not_read_are_named_in_a_warning_each(tagger):
    long = "x7" * 5000
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        results = tagger.tag(["a", f"at {long} 7 am", f"{long}y", "b"])
        tagger.tag_one(f"z{long}")
    assert results[1].unread == (1,) and results[2].unread == (0,)
    messages = [str(one.message) for one in caught]
    assert all(one.category is hyperloader.TaggerWarning for one in caught)
    words = [message.split(": ", 1)[1].split(" takes ")[0] for message in messages]
    assert [message.split(" ")[1] for message in messages] == ["1", "2", "0"]
    shown = long[:20]
    assert words == [
        f"word 2 (`{shown}...`, 10000 characters)",
        f"word 1 (`{shown}...`, 10001 characters)",
        f"word 1 (`z{shown[:19]}...`, 10001 characters)",
    ]


def test_results_are_immutable_hashable_and_pickled(scorer):
    tagged = scorer.tag_one(SENTENCE)
    assert tagged.spans and isinstance(tagged.spans[0], Span)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tagged.text = ""
    with pytest.raises(dataclasses.FrozenInstanceError):
        tagged.spans[0].label = ""
    assert pickle.loads(pickle.dumps(tagged)) == tagged
    assert hash(tagged) == hash(scorer.tag_one(SENTENCE))
    assert tagged != scorer.tag_one("play jazz")
    assert eval(repr(tagged), {"Tagged": Tagged, "Span": Span}) == tagged
    assert json.loads(json.dumps(tagged.to_dict()))["spans"][0]["label"] == tagged.spans[0].label


def test_a_tagger_tells_what_it_is(model, tagger, caplog):
    assert tagger.task == "mtop" and "date_time" in tagger.labels
    assert tagger.path == model and repr(tagger) == f"Tagger({model!r})"
    assert tagger.backend.startswith("ONNX Runtime 1.")
    assert tagger.threshold is None
    with caplog.at_level(logging.INFO, "hyperloader"):
        other = Tagger(model, backend="tract")
        assert other.backend == "tract on cpu"
    assert "runs in tract on cpu" in caplog.text
    other.tag(["7 am", "8 am"])
    assert other.statistics["sentences"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "tract"},
        {"decode": "greedy"},
        {"decode": "constrained"},
        {"draft_from": "jacobi"},
        {"workers": 2},
        {"threads": 1, "batch_size": 1},
        {"backend": "tract", "workers": 2, "threads": 2},
        {"device": "cpu"},
    ],
)
def test_options_of_speed_change_no_span(model, tagger, sentences, options):
    sentences = sentences[:40]
    assert Tagger(model, **options).tag(sentences) == tagger.tag(sentences)


# Options of hl-run about its input, its output and its other commands, which the package has no use for.
OF_THE_PROGRAM = {
    "color", "columns", "compare", "delimiter", "gold", "gold-labels", "help", "info", "input", "input-format", "model",
    "offsets", "output", "output-format", "quiet", "resume", "shown", "stats", "text-field", "tokens-field", "version",
    # That of the package is `split`.
    "no-split",
}  # fmt: skip


def test_options_and_their_defaults_are_those_of_hl_run(model):
    text = subprocess.run([sys.executable, "-m", "hyperloader", "--help"], capture_output=True, check=True, text=True).stdout
    parameters = dict(inspect.signature(Tagger).parameters)
    del parameters["path"]
    options = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", text, re.M))
    assert {name.replace("_", "-") for name in parameters} == options - OF_THE_PROGRAM
    assert options >= OF_THE_PROGRAM
    for name, parameter in parameters.items():
        option = "--" + name.replace("_", "-")
        after = text.split(f"      {option}", 1)[1].split("\n      --", 1)[0]
        if isinstance(parameter.default, (str, float)) or type(parameter.default) is int:
            assert f"[default: {parameter.default}]" in after, option


def test_the_task_of_a_file_with_several_is_chosen(models, several, sentences):
    for task in ("mtop", "snips"):
        tagger = Tagger(several, task=task)
        assert tagger.task == task
        assert tagger.tag(sentences[:20]) == Tagger(models / f"{task}.onnx").tag(sentences[:20])
        assert pickle.loads(pickle.dumps(tagger)).task == task
    with pytest.raises(ModelError, match="mtop"):
        Tagger(several)
    with pytest.raises(ModelError, match="weather"):
        Tagger(several, task="weather")
    with pytest.raises(TypeError, match="`task` is int"):
        Tagger(several, task=1)


def test_words_are_split_as_asked_for(model):
    tokens = {rule: Tagger(model, words=rule).tag_one("at 7:30, (now)").tokens for rule in ("unicode", "pre-tokenized")}
    assert tokens["pre-tokenized"] == ("at", "7:30,", "(now)")
    assert tokens["unicode"] == ("at", "7", ":", "30", ",", "(", "now", ")")


def test_the_cache_is_a_folder_or_beside_the_model(models, tmp_path, monkeypatch, sentences):
    model = tmp_path / "copy.onnx"
    model.write_bytes((models / "mtop.onnx").read_bytes())
    expected = Tagger(model).tag(sentences[:20])
    assert Tagger(model, cache=True).tag(sentences[:20]) == expected
    assert (tmp_path / "copy.onnx.cache").is_dir()
    monkeypatch.chdir(tmp_path)
    assert Tagger("copy.onnx", cache="kept").tag(sentences[:20]) == expected
    assert (tmp_path / "kept" / "copy.onnx.cache").is_dir()
    assert not Tagger(model, cache=False)._options["cache"]


def test_a_pickled_tagger_opens_its_file_where_it_is_used(models, monkeypatch, tmp_path, sentences):
    monkeypatch.chdir(models)
    tagger = Tagger("mtop.onnx", scores=True, threads=1)
    data = pickle.dumps(tagger)
    assert len(data) < 1000
    monkeypatch.chdir(tmp_path)
    other = pickle.loads(data)
    assert other._open is None
    assert other.tag(sentences[:5]) == tagger.tag(sentences[:5])
    assert repr(other) == "Tagger('mtop.onnx')"


def test_a_pickled_tagger_of_a_missing_file_says_so(models, tmp_path):
    model = tmp_path / "a.onnx"
    model.write_bytes((models / "mtop.onnx").read_bytes())
    data = pickle.dumps(Tagger(model))
    model.unlink()
    other = pickle.loads(data)
    with pytest.raises(FileNotFoundError, match=r"a\.onnx"):
        other.tag(["7 am"])
