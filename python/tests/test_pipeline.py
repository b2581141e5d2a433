"""The interface of transformers' pipeline for token classification, compared with the real package."""

import contextlib
import importlib
import json
import pickle
import types

import pytest

import hyperloader


@pytest.fixture(scope="module")
def ours(model):
    return hyperloader.pipeline(model)


def test_entities_are_the_spans_of_the_tagger(ours, scorer, sentences):
    results = ours(sentences)
    for entities, tagged in zip(results, scorer.tag(sentences), strict=True):
        assert [(e["entity_group"], e["word"], e["start"], e["end"]) for e in entities] == [
            (s.label, s.text, s.start, s.end) for s in tagged.spans
        ]
        assert [e["score"] for e in entities] == pytest.approx([s.score for s in tagged.spans], abs=1e-4)
    assert sum(map(len, results)) > 300


def test_the_form_follows_the_input(ours):
    text = "set an alarm for 7 am"
    one = ours(text)
    assert list(one[0]) == ["entity_group", "score", "word", "start", "end"]
    assert ours([text]) == [one] and ours((text, text)) == [one, one] and ours([]) == []
    results = ours(one for one in [text, text])
    assert not isinstance(results, list) and list(results) == [one, one]


def test_arrays_and_columns_are_lists(ours):
    numpy = pytest.importorskip("numpy")
    texts = ["set an alarm for 7 am", "play jazz"]
    assert ours(numpy.array(texts)) == ours(texts)
    with contextlib.suppress(ImportError):
        assert ours(importlib.import_module("pandas").Series(texts)) == ours(texts)


def test_entities_say_what_may_be_missing(ours, scorer):
    with pytest.warns(hyperloader.TaggerWarning, match="not read"):
        entities = ours("at " + "x7" * 5000)
    assert entities.tagged.unread == (1,) and entities.tagged.complete
    assert [one.tagged for one in ours(["at 7 am"])] == scorer.tag(["at 7 am"])
    entities = ours("at 7 am")
    again = pickle.loads(pickle.dumps(entities))
    assert again == entities == list(entities) and again.tagged == entities.tagged
    assert json.loads(json.dumps(entities)) == entities


def test_the_task_of_transformers_is_accepted(model, ours):
    assert hyperloader.pipeline(model, task="ner")("at 7 am") == ours("at 7 am")
    with pytest.raises(ValueError, match="the file has no task `fill-mask`, only `mtop`"):
        hyperloader.pipeline(model, task="fill-mask")
    with pytest.raises(ValueError, match=r"`model` is the task `ner`\nhint: the file comes first"):
        hyperloader.pipeline("ner", model)
    with pytest.raises(ValueError, match="`scores` is False"):
        hyperloader.pipeline(model, scores=False)
    assert hyperloader.pipeline(model, batch_size=1, scores=True)("at 7 am") == ours("at 7 am")


def theirs(name):
    """transformers' own class without a model: only what it does with the tags of words."""
    module = pytest.importorskip("transformers.pipelines.token_classification")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    pipe = object.__new__(module.TokenClassificationPipeline)
    pipe.tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]")))
    return types.MethodType(getattr(module.TokenClassificationPipeline, name), pipe)


def test_transformers_groups_our_words_to_our_entities(ours, sentences):
    group = theirs("group_entities")
    words, groups = ours(sentences, aggregation_strategy="none"), ours(sentences)
    compared = 0
    for of_words, of_groups in zip(words, groups, strict=True):
        # transformers groups words that follow each other in the list, and tags that begin a group have to say so.
        grouped = group(of_words) if of_words else []
        assert [list(entity) for entity in grouped] == [list(entity) for entity in of_groups]
        for theirs_, ours_ in zip(grouped, of_groups, strict=True):
            for name in ("entity_group", "start", "end"):
                assert theirs_[name] == ours_[name]
            assert 0 <= ours_["score"] <= 1 and isinstance(ours_["score"], float)
            compared += 1
    assert compared > 300


def test_words_have_the_fields_of_tokens(ours):
    aggregate = theirs("aggregate")
    import numpy

    text = "set an alarm for 7 am"
    aggregate.__self__.model = types.SimpleNamespace(config=types.SimpleNamespace(id2label={0: "O", 1: "B-x"}))
    token = {"scores": numpy.array([0.1, 0.9]), "index": 1, "word": "set", "start": 0, "end": 3}
    from transformers.pipelines.token_classification import AggregationStrategy

    (entity,) = aggregate([token], AggregationStrategy.NONE)
    words = ours(text, aggregation_strategy="none")
    assert [list(word) for word in words] == [list(entity)] * len(words) and words
    assert [text[word["start"] : word["end"]] for word in words] == [word["word"] for word in words]
    assert words[0]["entity"].startswith("B-")


@pytest.mark.parametrize("bad", [None, 7, b"x", [None], ["a", 7], {"inputs": "a"}])
def test_bad_inputs(ours, bad):
    with pytest.raises(TypeError):
        ours(bad)


def test_bad_arguments(model, ours):
    with pytest.raises(ValueError, match="unknown aggregation strategy `best`"):
        hyperloader.pipeline(model, aggregation_strategy="best")
    with pytest.raises(ValueError):
        ours("a", aggregation_strategy="best")
    with pytest.raises(FileNotFoundError):
        hyperloader.pipeline("absent.onnx")
    assert hyperloader.pipeline(model, "none", threads=1, backend="tract")("at 7 am")[0]["entity"] == "B-date_time"
