"""Tagged sentences: immutable objects that can be compared, hashed and pickled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Span", "Tagged"]


@dataclass(frozen=True, slots=True)
class Span:
    """A labeled span of a text: `tagged.text[span.start:span.end] == span.text`.

    Attributes:
        start: Index of the first character (code point), as Python counts.
        end: Index of the character after the last one.
        label: The label.
        text: The characters of the span.
        score: Probability that the model gives to the span, from 0 to 1; `None` without `scores=True`.
        margin: By how many nats its log-probability exceeds that of the best alternative; `None` without `scores=True`.
        unknown: Whether the file lists no such label: the model wrote other text.
    """

    start: int
    end: int
    label: str
    text: str
    score: float | None = None
    margin: float | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tagged sentence.

    Attributes:
        text: The sentence. One that was given as words has a space between them.
        tokens: Its words, as they are in the text.
        offsets: First character of each word, and the character after its last one.
        tags: A BIO tag for each word.
        spans: The labeled spans in the order of the text. They do not overlap.
        score: Probability of all tags together, from 0 to 1; `None` without `scores=True`.
        tag_scores: Score and margin of each tag; `None` without `scores=True`, and if tags are withheld.
        complete: Whether the model finished. If not, words at the end may lack their tags.
        unread: Indices of words that are too long to be read. Their tag is `O`.
        abstained: Whether all tags are withheld because of `max_error`.
        withheld: Number of spans that are withheld because of `max_span_error`.
    """

    text: str
    tokens: tuple[str, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()
    tags: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    score: float | None = None
    tag_scores: tuple[tuple[float, float], ...] | None = None
    complete: bool = True
    unread: tuple[int, ...] = ()
    abstained: bool = False
    withheld: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The sentence as dictionaries, lists and numbers, for JSON."""
        return asdict(self)

    @classmethod
    def _of_row(cls, row: tuple[Any, ...]) -> Tagged:
        """The sentence of a tuple of the extension module."""
        text, tokens, offsets, tags, spans, *rest = row
        return cls(text, tokens, offsets, tags, tuple([Span(*span) for span in spans]), *rest)
