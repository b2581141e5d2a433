"""A callable with the interface and the output of transformers' pipeline for token classification. transformers is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from hyperloader._options import Path
from hyperloader.tagged import Tagged
from hyperloader.tagger import Tagger

__all__ = ["Entities", "TokenClassificationPipeline", "pipeline"]

Entity = dict[str, Any]
TASKS = ("token-classification", "ner")


class Entities(list[Entity]):
    """The entities of a text.

    Attributes:
        tagged: The tagged text, which also says what may be missing: `complete`, `unread`, `abstained`, `withheld`.
    """

    tagged: Tagged

    def __init__(self, entities: Iterable[Entity], tagged: Tagged) -> None:
        super().__init__(entities)
        self.tagged = tagged

    def __reduce__(self) -> tuple[Any, ...]:
        return Entities, (list(self), self.tagged)


class TokenClassificationPipeline:
    """A tagger with the interface of transformers' `TokenClassificationPipeline`.

    With any strategy but `"none"`, an entity is `{"entity_group", "score", "word", "start", "end"}`; tags belong to words, so
    that `"simple"`, `"first"`, `"average"` and `"max"` are the same. With `"none"`, each word with a tag other than `O` is
    `{"entity", "score", "index", "word", "start", "end"}`.

    `word` is the text from `start` to `end`. `score` is the span's (of `"none"`, the tag's), calibrated if the file is.

    Args:
        model: The ONNX file.
        aggregation_strategy: `"simple"`, `"first"`, `"average"`, `"max"` or `"none"`.
        task: `"token-classification"` or `"ner"`, which are the same; or a task of the file, if it has several.
        options: Options of `Tagger`, such as `batch_size`.
    """

    STRATEGIES = ("none", "simple", "first", "average", "max")

    def __init__(self, model: Path, aggregation_strategy: str = "simple", *, task: str = TASKS[0], **options: Any) -> None:
        if task not in TASKS:
            # That of a file with several tasks.
            options["task"] = task
        if model in TASKS:
            raise ValueError(
                f'`model` is the task `{model}`\nhint: the file comes first: `pipeline("mtop.onnx", task="{model}")`'
            )
        if not options.get("scores", True):
            raise ValueError("`scores` is False, but entities have scores\nhint: `Tagger` tags without scores")
        self._strategy = self._checked(aggregation_strategy)
        self.tagger = Tagger(model, **{**options, "scores": True})

    # A `str` and a list are iterables, too.
    @overload
    def __call__(self, inputs: str, aggregation_strategy: str | None = None) -> Entities: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, inputs: list[str] | tuple[str, ...], aggregation_strategy: str | None = None
    ) -> list[Entities]: ...
    @overload
    def __call__(self, inputs: Iterable[str], aggregation_strategy: str | None = None) -> Iterator[Entities]: ...
    def __call__(self, inputs: Any, aggregation_strategy: str | None = None) -> Any:
        """The entities of a text; for a list, tuple or array of texts, a list of these; for another iterable, an iterator.

        Raises:
            SentenceError: A text cannot be tagged.
            TypeError: `inputs` is not a `str` or an iterable of `str`.
        """
        strategy = self._strategy if aggregation_strategy is None else self._checked(aggregation_strategy)
        entities = words if strategy == "none" else spans
        if isinstance(inputs, str):
            tagged = self.tagger.tag_one(inputs)
            return Entities(entities(tagged), tagged)
        results = (Entities(entities(tagged), tagged) for tagged in self.tagger.tag_iter(inputs))
        # Columns of pandas are arrays, too.
        is_list = isinstance(inputs, (list, tuple)) or hasattr(inputs, "__array__")
        return list(results) if is_list else results

    def __repr__(self) -> str:
        return f"TokenClassificationPipeline({self.tagger.path!r}, {self._strategy!r})"

    @classmethod
    def _checked(cls, strategy: str) -> str:
        if strategy not in cls.STRATEGIES:
            known = ", ".join(cls.STRATEGIES)
            raise ValueError(f"unknown aggregation strategy `{strategy}`, expected one of: {known}")
        return strategy


def pipeline(
    model: Path, aggregation_strategy: str = "simple", *, task: str = TASKS[0], **options: Any
) -> TokenClassificationPipeline:
    """As `transformers.pipeline(task, model)`. See `TokenClassificationPipeline`."""
    return TokenClassificationPipeline(model, aggregation_strategy, task=task, **options)


def spans(tagged: Tagged) -> list[Entity]:
    """The spans as entities."""
    return [
        {
            "entity_group": span.label,
            "score": span.score,
            "word": span.text,
            "start": span.start,
            "end": span.end,
        }
        for span in tagged.spans
    ]


def words(tagged: Tagged) -> list[Entity]:
    """The words with a tag as entities; their index counts from 1, as that of transformers, where `[CLS]` is the first token."""
    scores = tagged.tag_scores or [(None, None)] * len(tagged.tags)
    return [
        {
            "entity": tag,
            "score": score,
            "index": index,
            "word": word,
            "start": start,
            "end": end,
        }
        for index, (tag, (score, _), word, (start, end)) in enumerate(
            zip(tagged.tags, scores, tagged.tokens, tagged.offsets, strict=True), start=1
        )
        if tag != "O"
    ]
