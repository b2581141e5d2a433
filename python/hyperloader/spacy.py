"""The component `hyperloader` of spaCy: `nlp.add_pipe("hyperloader", config={"model": "mtop.onnx"})`.

The factory is registered through an entry point: importing this module is not needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.util import filter_spans, minibatch

from hyperloader.errors import SentenceError, TaggerWarning
from hyperloader.tagged import Span as Found
from hyperloader.tagged import Tagged
from hyperloader.tagger import Tagger

__all__ = ["HyperLoaderComponent", "create"]

# Key in `doc.user_data` of what components found, with the name of the component.
_KEY = "hyperloader"


class HyperLoaderComponent(Pipe):
    """Tags documents, and sets their spans as entities.

    No span is dropped. One that does not begin and end with tokens is expanded to whole tokens, with a warning. If spans
    overlap each other then, or entities that the document has already, `doc.ents` stays as it is, and all spans of this
    component are in `doc.spans[spans_key]`, with a warning. A group that another component has made there is extended.

    `doc._.hyperloader[name]` says what may be missing: `complete`, `unread`, `abstained` and `withheld`, as `Tagged` does.
    `span._.hyperloader_score` is the score of a span. Spans with scores have an id (`span.id_`), by which it is found.

    Args:
        name: Name of the component.
        tagger: The tagger.
        spans_key: Key in `doc.spans` for overlapping spans; by default the name of the component.
        target: `"auto"`; or `"spans"`: always `doc.spans[spans_key]`; or `"ents"`: `doc.ents`, where an overlap is an error.
    """

    TARGETS = ("auto", "ents", "spans")

    def __init__(self, name: str, tagger: Tagger, spans_key: str | None, target: str) -> None:
        if target not in self.TARGETS:
            raise ValueError(f"unknown target `{target}`, expected one of: {', '.join(self.TARGETS)}")
        self.name = name
        self.tagger = tagger
        self.spans_key = name if spans_key is None else spans_key
        self.target = target

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the task."""
        return tuple(self.tagger.labels)

    def __call__(self, doc: Doc) -> Doc:
        """Tags one document."""
        for tagged in self.pipe([doc]):
            return tagged
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Tags documents in batches. What happens to one that cannot be tagged is up to the error handler of the pipeline."""
        handle = self.get_error_handler()
        docs: list[Doc]
        for docs in minibatch(stream, size=batch_size):  # type: ignore[no-untyped-call]
            for doc, result in zip(docs, self.tagger.tag((doc.text for doc in docs), "return"), strict=True):
                try:
                    if isinstance(result, SentenceError):
                        raise SentenceError(result.message)
                    self._set(doc, result)
                except ValueError as error:
                    handle(self.name, self, [doc], error)
                else:
                    yield doc

    def _set(self, doc: Doc, tagged: Tagged) -> None:
        spans = [self._span(doc, at, found) for at, found in enumerate(tagged.spans)]
        before = _data(doc).get((_KEY, self.name), {})
        # Values that `doc.to_bytes` can write.
        record = {
            "complete": tagged.complete,
            "unread": list(tagged.unread),
            "abstained": tagged.abstained,
            "withheld": tagged.withheld,
            "scores": [found.score for found in tagged.spans],
            "grouped": 0,
        }
        entities = list(doc.ents)
        overlaps = len(filter_spans(entities + spans)) < len(entities) + len(spans)
        if self.target == "spans" or (overlaps and self.target == "auto"):
            record["grouped"] = self._group(doc, spans, before.get("grouped", 0))
            if self.target == "auto":
                _warn(f"spans overlap in {_shown(doc.text)}: all are in `doc.spans[{self.spans_key!r}]`, not in `doc.ents`")
        elif overlaps:
            raise ValueError(
                f'spans overlap in {_shown(doc.text)}: they cannot be entities\nhint: use the target "auto" or "spans"'
            )
        else:
            doc.ents = entities + spans
        _data(doc)[(_KEY, self.name)] = record

    def _group(self, doc: Doc, spans: list[Span], own: int) -> int:
        """Adds spans to the group; the number of spans that it has if it is this component's alone, else 0.

        `own` is that number after this component tagged the document before: its own group is replaced.
        """
        group = doc.spans.get(self.spans_key)
        if group and len(group) != own:
            group.extend(spans)
            return 0
        doc.spans[self.spans_key] = spans
        return len(spans)

    def _span(self, doc: Doc, at: int, found: Found) -> Span:
        """The span in tokens of `doc`, expanded if it does not begin and end with tokens."""
        span = doc.char_span(found.start, found.end, label=found.label)
        if span is None:
            span = doc.char_span(found.start, found.end, label=found.label, alignment_mode="expand")
            if span is None:
                raise ValueError(f"the span {_shown(found.text)} ({found.label}) has no token in {_shown(doc.text)}")
            _warn(f"the span {_shown(found.text)} ({found.label}) was expanded to the tokens {_shown(span.text)}")
        if found.score is not None:
            # Offsets and label do not tell which one it is: other components find the same, and tokens hold several.
            span.id_ = f"{self.name}/{at}"
        return span


def _data(doc: Doc) -> dict[Any, Any]:
    return doc.user_data


def _score(span: Span) -> float | None:
    """The score of a span that a component with the option `scores` found."""
    name, _, at = span.id_.rpartition("/")
    record = _data(span.doc).get((_KEY, name))
    if record is None or not at.isdecimal() or int(at) >= len(record["scores"]):
        return None
    score: float | None = record["scores"][int(at)]
    return score


def _records(doc: Doc) -> dict[str, dict[str, Any]]:
    """What may be missing in the document, by the name of the component."""
    names = ("complete", "unread", "abstained", "withheld")
    found = {key[1]: value for key, value in _data(doc).items() if isinstance(key, tuple) and key[0] == _KEY}
    return {name: {field: record[field] for field in names} for name, record in found.items()}


# A module may be loaded twice.
Span.set_extension("hyperloader_score", getter=_score, force=True)
Doc.set_extension("hyperloader", getter=_records, force=True)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _warn(message: str) -> None:
    warnings.warn(message, TaggerWarning, stacklevel=2)


@Language.factory(
    "hyperloader",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={
        "spans_key": None,
        "target": "auto",
        "options": {},
    },
)
def create(
    nlp: Language, name: str, model: str, spans_key: str | None, target: str, options: dict[str, Any]
) -> HyperLoaderComponent:
    """Makes the component. `options` are those of `hyperloader.Tagger`."""
    return HyperLoaderComponent(name, Tagger(model, **options), spans_key, target)
