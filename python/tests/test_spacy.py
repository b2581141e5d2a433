"""The component of spaCy, in a pipeline of the real package."""

import dataclasses

import pytest

from hyperloader import SentenceError, Tagged, Tagger, TaggerWarning

spacy = pytest.importorskip("spacy")


def pipe(model, **config):
    nlp = spacy.blank("en")
    nlp.add_pipe("hyperloader", config={"model": model, **config})
    return nlp


def found(spans):
    return [(span.start_char, span.end_char, span.label_, span.text) for span in spans]


def expected(tagged):
    return [(span.start, span.end, span.label, span.text) for span in tagged.spans]


def test_entities_are_the_spans_of_the_tagger(model, tagger, sentences):
    nlp = pipe(model)
    docs = list(nlp.pipe(sentences))
    spans, total = tagger.tag(sentences), 0
    for doc, tagged in zip(docs, spans, strict=True):
        assert doc.text == tagged.text
        in_tokens = [doc.char_span(span.start, span.end) is not None for span in tagged.spans]
        if all(in_tokens):
            assert found(doc.ents) == expected(tagged)
        else:
            assert len(doc.ents) + len(doc.spans.get("hyperloader", [])) == len(tagged.spans)
        total += all(in_tokens)
    assert total > 250
    assert nlp.pipe_labels["hyperloader"] == tagger.labels


def test_a_span_inside_a_token_is_expanded_with_a_warning(model, tagger):
    nlp = spacy.blank("en")
    # All characters are one token.
    nlp.tokenizer = lambda text: spacy.tokens.Doc(nlp.vocab, words=[text])
    nlp.add_pipe("hyperloader", config={"model": model})
    (span,) = tagger.tag_one("set an alarm for 7 am").spans
    with pytest.warns(TaggerWarning, match="was expanded to the tokens"):
        doc = nlp("set an alarm for 7 am")
    assert [(one.text, one.label_) for one in doc.ents] == [("set an alarm for 7 am", span.label)]


def test_spans_that_overlap_are_all_in_doc_spans(model, tagger):
    text = "remind me to call mom at 7 am tomorrow"
    wanted = tagger.tag_one(text)
    assert len(wanted.spans) > 1
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: spacy.tokens.Doc(nlp.vocab, words=[text])
    nlp.add_pipe("hyperloader", config={"model": model, "spans_key": "mine"})
    with pytest.warns(TaggerWarning, match=r"all are in `doc\.spans\['mine'\]`"):
        doc = nlp(text)
    assert [span.label_ for span in doc.spans["mine"]] == [span.label for span in wanted.spans]
    assert not doc.ents


def test_entities_of_other_components_stay(model, tagger):
    text = "play jazz at 7 am"
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "VERB", "pattern": "play"}])
    nlp.add_pipe("hyperloader", config={"model": model})
    doc = nlp(text)
    overlap = any(span.start < 4 for span in tagger.tag_one(text).spans)
    assert not overlap and found(doc.ents) == [(0, 4, "VERB", "play"), *expected(tagger.tag_one(text))]
    ruler.add_patterns([{"label": "TIME", "pattern": "7 am"}])
    with pytest.warns(TaggerWarning, match="spans overlap"):
        doc = nlp(text)
    assert (13, 17, "TIME", "7 am") in found(doc.ents)
    assert found(doc.spans["hyperloader"]) == expected(tagger.tag_one(text))
    nlp.remove_pipe("hyperloader")
    nlp.add_pipe("hyperloader", config={"model": model, "target": "ents"})
    with pytest.raises(ValueError, match="they cannot be entities"):
        nlp(text)


def test_the_target_may_be_spans(model, tagger):
    doc = pipe(model, target="spans")("set an alarm for 7 am")
    assert not doc.ents and found(doc.spans["hyperloader"]) == expected(tagger.tag_one(doc.text))


def test_scores_are_an_attribute_of_spans(model, scorer):
    doc = pipe(model, options={"scores": True})("set an alarm for 7 am")
    assert [span._.hyperloader_score for span in doc.ents] == [span.score for span in scorer.tag_one(doc.text).spans]


def test_scores_are_those_of_the_component_that_found_the_span(model, scorer):
    text = "set an alarm for 7 am"
    nlp = pipe(model, options={"scores": True})
    nlp.add_pipe("hyperloader", "second", config={"model": model, "target": "spans", "options": {"scores": True}})
    second = nlp.get_pipe("second")
    second.tagger = Other(second.tagger)
    (expected,) = scorer.tag_one(text).spans
    for doc in (nlp(text), next(nlp.pipe([text, text], n_process=2, batch_size=1))):
        assert [span._.hyperloader_score for span in doc.ents] == [expected.score]
        assert [span._.hyperloader_score for span in doc.spans["second"]] == [0.125]
        assert doc[0:1]._.hyperloader_score is None


class Other:
    """A tagger whose scores differ."""

    def __init__(self, tagger):
        self.tagger = tagger

    def tag(self, texts, errors):
        for tagged in self.tagger.tag(texts, errors):
            spans = tuple(dataclasses.replace(span, score=0.125) for span in tagged.spans)
            yield dataclasses.replace(tagged, spans=spans)


def test_scores_of_several_spans_in_one_token(model, scorer):
    text = "remind me to call mom at 7 am tomorrow"
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: spacy.tokens.Doc(nlp.vocab, words=[text])
    nlp.add_pipe("hyperloader", config={"model": model, "options": {"scores": True}})
    with pytest.warns(TaggerWarning, match="overlap"):
        doc = nlp(text)
    scores = [span.score for span in scorer.tag_one(text).spans]
    assert len(set(scores)) > 1
    assert [span._.hyperloader_score for span in doc.spans["hyperloader"]] == scores


def test_two_components_have_a_group_each(model, models, tagger):
    text = "play jazz at 7 am"
    nlp = pipe(model, target="spans")
    nlp.add_pipe("hyperloader", "second", config={"model": str(models / "snips.onnx"), "target": "spans"})
    doc = nlp(text)
    assert found(doc.spans["hyperloader"]) == expected(tagger.tag_one(text))
    assert found(doc.spans["second"]) == expected(Tagger(models / "snips.onnx").tag_one(text)) != []


def test_a_group_of_another_component_is_extended(model, tagger):
    text = "play jazz at 7 am"
    nlp = spacy.blank("en")
    nlp.add_pipe("span_ruler", config={"spans_key": "shared"}).add_patterns([{"label": "TIME", "pattern": "7 am"}])
    nlp.add_pipe("hyperloader", config={"model": model, "target": "spans", "spans_key": "shared"})
    doc = nlp(text)
    assert found(doc.spans["shared"]) == [(13, 17, "TIME", "7 am"), *expected(tagger.tag_one(text))]
    # A component replaces its own group.
    twice = pipe(model, target="spans")
    doc = twice.get_pipe("hyperloader")(twice(text))
    assert found(doc.spans["hyperloader"]) == expected(tagger.tag_one(text))


def test_documents_say_what_may_be_missing(model):
    class Withholding:
        """A tagger that gives nothing out."""

        def tag(self, texts, errors):
            for text in texts:
                yield Tagged(text, complete=False, unread=(1,), abstained=True, withheld=2)

    nlp = pipe(model)
    assert nlp("at 7 am")._.hyperloader["hyperloader"] == {"complete": True, "unread": [], "abstained": False, "withheld": 0}
    nlp.get_pipe("hyperloader").tagger = Withholding()
    doc = nlp("at 7 am")
    doc = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert doc._.hyperloader == {"hyperloader": {"complete": False, "unread": [1], "abstained": True, "withheld": 2}}


def test_processes_and_files_of_pipelines(model, tmp_path, sentences):
    nlp = pipe(model, options={"threads": 1})
    texts = sentences[:40]
    docs = [found(doc.ents) for doc in nlp.pipe(texts)]
    assert [found(doc.ents) for doc in nlp.pipe(texts, n_process=2, batch_size=10)] == docs
    nlp.to_disk(tmp_path / "saved")
    assert [found(doc.ents) for doc in spacy.load(tmp_path / "saved").pipe(texts)] == docs


def test_bad_documents_and_configurations(model):
    nlp = pipe(model, options={"split": "never"})
    assert not nlp("").ents and not nlp("  \n").ents
    with pytest.raises(SentenceError, match="5000 words"):
        nlp("again " * 5000)
    nlp.set_error_handler(spacy.util.ignore_error)
    assert [doc.text for doc in nlp.pipe(["a", "again " * 5000, "b"])] == ["a", "b"]
    with pytest.raises(FileNotFoundError):
        pipe("absent.onnx")
    with pytest.raises(ValueError, match="unknown target"):
        pipe(model, target="x")
    with pytest.raises(TypeError):
        pipe(model, options={"no_such": 1})
    with pytest.raises(ValueError, match="model"):
        spacy.blank("en").add_pipe("hyperloader")
