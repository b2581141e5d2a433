"""The tagger."""

from __future__ import annotations

import logging
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from hyperloader import _hyperloader, _onnxruntime
from hyperloader._hyperloader import Engine
from hyperloader._options import Options, Path, text
from hyperloader.errors import Errors, ModelError, SentenceError, TaggerWarning
from hyperloader.tagged import Tagged

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Tagger"]

_log = logging.getLogger("hyperloader")
_Item = TypeVar("_Item")


class Tagger:
    """A tagger that `hl-export` wrote.

    Threads may share it. It can be pickled: the file's path and the options are, and the file is opened where the tagger is
    used. A process that is forked opens the file anew.

    The options are those of `hl-run`, under the same names:

    Args:
        path: The ONNX file.
        task: The task, for a file that has several.
        backend: `"ort"` (ONNX Runtime), `"tract"`, or `None`: ONNX Runtime if it can be loaded, else tract.
        threads: Threads of one operation; by default all cores, divided among the workers.
        cache: Keep the model as ONNX Runtime optimized it: in this folder, or next to the model if `True`. Later starts are
            faster, and all processes of a machine share the weights in memory.
        batch_size: Most sentences in a batch.
        workers: Number of batches that run at the same time.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:N"`.
        words: How texts are split into words: `"corpus"`, `"unicode"` or `"pre-tokenized"`.
        split: Which texts are tagged in parts: those that are too `"long"`, `"never"` any, or all, as `"sentences"`.
        decode: `"verified"`, `"greedy"`, `"constrained"` or `"draft"`.
        draft_from: Source of the drafts: `"classifier"`, `"jacobi"` or `"outside"`.
        align: How tags are assigned to words: `"order"` or `"sentinel"`.
        scores: Compute scores.
        max_error: Withhold the tags of sentences so that at most this share of the others has a wrong tag.
        max_span_error: Withhold spans so that at most this share of the others is wrong.
        confidence: Probability that this share holds.
        ort_lib: ONNX Runtime's library; by default `ORT_DYLIB_PATH`, else that of the package `onnxruntime`.

    Raises:
        OSError: The file cannot be read; `FileNotFoundError` if it is missing.
        ModelError: The file is not a tagger, is damaged, or cannot do what the options ask for.
        BackendError: The backend cannot be loaded.
        TypeError: An argument has the wrong type.
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        path: Path,
        backend: str | None = None,
        threads: int | None = None,
        cache: bool | Path | None = None,
        *,
        task: str | None = None,
        batch_size: int = 32,
        workers: int = 1,
        device: str = "auto",
        words: str = "corpus",
        split: str = "long",
        decode: str = "verified",
        draft_from: str = "classifier",
        align: str = "order",
        scores: bool = False,
        max_error: float | None = None,
        max_span_error: float | None = None,
        confidence: float = 0.9,
        ort_lib: Path | None = None,
    ) -> None:
        self._given = text("path", path)
        options = Options(
            task, backend, threads, cache, batch_size, workers, device, words, split, decode, draft_from, align,
            scores, max_error, max_span_error, confidence, ort_lib,
        )  # fmt: skip
        self._restore(os.path.abspath(self._given), options.for_engine(os.path.abspath(self._given)))
        self._engine()

    def _restore(self, path: str, options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        self._open: Engine | None = None
        _Forks.taggers.add(self)

    def __getstate__(self) -> tuple[str, str, dict[str, Any]]:
        return self._given, self._path, self._options

    def __setstate__(self, state: tuple[str, str, dict[str, Any]]) -> None:
        self._given, path, options = state
        self._restore(path, options)

    def __repr__(self) -> str:
        return f"Tagger({self._given!r})"

    # --- what it is

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return self._path

    @property
    def task(self) -> str:
        """The name of the task."""
        return self._engine().metadata()[0]

    @property
    def labels(self) -> list[str]:
        """The labels of the task."""
        return self._engine().metadata()[1]

    @property
    def backend(self) -> str:
        """Name, version and device of the backend: `ONNX Runtime 1.32.0 on cpu`."""
        return self._engine().backend()[0]

    @property
    def threshold(self) -> float | None:
        """The score that `max_error` or `max_span_error` asks for; `None` without them."""
        return self._engine().threshold()

    @property
    def statistics(self) -> dict[str, int]:
        """The cost of tagging since the file was opened: sentences, parts, passes, ids, mistakes, fallbacks."""
        return self._engine().statistics()

    # --- tagging

    @overload
    def tag(self, texts: Iterable[str], errors: Literal["raise"] = "raise") -> list[Tagged]: ...
    @overload
    def tag(self, texts: Iterable[str], errors: Errors) -> list[Tagged | SentenceError]: ...
    def tag(self, texts: Iterable[str], errors: Errors = "raise") -> Any:
        """Tags sentences. The results have their order, one for each.

        A sentence without words has no spans, which is no error. One that cannot be tagged (a lone surrogate; a text that is
        too long, with `split="never"`) raises `SentenceError`, or with `errors="return"` its place in the list holds the
        `SentenceError`: the others are tagged.

        Raises:
            SentenceError: The first sentence that cannot be tagged, with its index.
            BackendError: The backend failed.
            TypeError: `texts` is a `str`, a table or a set, or one of them is not a `str`.
        """
        return list(self.tag_iter(texts, errors))

    @overload
    def tag_iter(self, texts: Iterable[str], errors: Literal["raise"] = "raise") -> Iterator[Tagged]: ...
    @overload
    def tag_iter(self, texts: Iterable[str], errors: Errors) -> Iterator[Tagged | SentenceError]: ...
    def tag_iter(self, texts: Iterable[str], errors: Errors = "raise") -> Iterator[Any]:
        """As `tag`, but an iterator in bounded memory: sentences are read and tagged in windows of some hundreds.

        If `texts` raises an exception, the sentences before it are tagged first.
        """
        return self._results("texts", "str", texts, errors, Engine.tag)

    def tag_one(self, text: str) -> Tagged:
        """Tags one sentence.

        Raises:
            SentenceError: It cannot be tagged.
        """
        if not isinstance(text, str):
            raise TypeError(f"`text` is {type(text).__name__}, expected str")
        return self.tag([text])[0]

    @overload
    def tag_words(self, sentences: Iterable[Sequence[str]], errors: Literal["raise"] = "raise") -> list[Tagged]: ...
    @overload
    def tag_words(self, sentences: Iterable[Sequence[str]], errors: Errors) -> list[Tagged | SentenceError]: ...
    def tag_words(self, sentences: Iterable[Sequence[str]], errors: Errors = "raise") -> Any:
        """Tags sentences that are split into words already: lists or tuples of `str`. See `tag`."""
        return list(self._results("sentences", "lists of str", sentences, errors, Engine.tag_words))

    def tag_arrow(self, table: Any, column: str = "text", errors: Errors = "raise") -> pa.Table:
        """Tags the texts of an Arrow table, and adds the columns `spans`, `complete` and `unread`.

        Args:
            table: A `pyarrow.Table` or `RecordBatch`, or any object with the Arrow interface (`__arrow_c_stream__` or
                `__arrow_c_array__`), such as a data frame of polars.
            column: Name of the column of texts. Where it is null, all new columns are null.
            errors: `"raise"`, or `"return"`: a column `error` says why a text cannot be tagged (bytes that are not UTF-8, for
                example); its other new columns are null.

        Returns:
            A `pyarrow.Table` with all columns of `table`, `spans` (`list<struct<start, end, label, text, score, unknown>>`,
            as `hl-run` writes Parquet), `complete`, `unread` (`list<int64>`) and, where the options ask for them, `score`,
            `abstained` and `withheld`.

        Raises:
            ImportError: `pyarrow` is missing.
            KeyError: The table lacks the column.
            ValueError: The table has one of the new columns already.
            SentenceError: The first text that cannot be tagged, with the index of its row.
            TypeError: The column has no texts.
        """
        from hyperloader import _arrow

        policy = _policy(errors)
        wanted = {
            "score": bool(self._options["scores"]) or self.threshold is not None,
            "abstained": self._options["max_error"] is not None,
            "withheld": self._options["max_span_error"] is not None,
            "error": policy == "return",
        }
        names = ["spans", "complete", "unread", *(name for name, is_wanted in wanted.items() if is_wanted)]
        return _arrow.tag(table, column, names, policy, self._tagged)

    def _results(
        self,
        name: str,
        kind: str,
        items: Iterable[_Item],
        errors: Errors,
        tag: Callable[[Engine, list[_Item], int], list[Any]],
    ) -> Iterator[Any]:
        policy = _policy(errors)
        if hasattr(items, "columns"):
            raise TypeError(
                f"`{name}` is {type(items).__name__}, a table, expected an iterable of {kind}\n"
                'hint: give a column, such as `table["text"]`, or call `tag_arrow(table, "text")`'
            )
        if isinstance(items, (set, frozenset)):
            raise TypeError(
                f"`{name}` is {type(items).__name__}, which has no order, expected an iterable of {kind}\n"
                "hint: `sorted(texts)` is a list"
            )
        if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
            hint = "\nhint: `tag_one(text)` tags one sentence" if isinstance(items, str) else ""
            raise TypeError(f"`{name}` is {type(items).__name__}, expected an iterable of {kind}{hint}")
        return self._windows(iter(items), policy, tag, count())

    def _tagged(self, texts: Iterator[str], places: Iterator[int], errors: Errors) -> Iterator[Tagged | SentenceError]:
        """As `tag_iter`; `places` are the indices of the texts in messages."""
        return self._windows(texts, errors, Engine.tag, places)

    def _windows(
        self,
        items: Iterator[_Item],
        errors: Errors,
        tag: Callable[[Engine, list[_Item], int], list[Any]],
        places: Iterator[int],
    ) -> Iterator[Any]:
        """The results of all items. `places` are their indices in messages."""
        first = 0
        failure: Exception | None = None
        while failure is None:
            window: list[_Item] = []
            try:
                for item in islice(items, self._engine().window()):
                    window.append(item)
            except Exception as error:
                # What was read before is tagged first.
                failure = error
            if not window:
                break
            for row, place in zip(tag(self._engine(), window, first), places, strict=False):
                yield self._result(row, place, errors)
            first += len(window)
        if failure is not None:
            raise failure

    def _result(self, row: Any, index: int, errors: Errors) -> Tagged | SentenceError:
        if isinstance(row, str):
            error = SentenceError(row, index)
            if errors == "raise":
                raise error
            return error
        tagged = Tagged._of_row(row)
        sentence = f"sentence {index} ({_shown(tagged.text, 40)})"
        if not tagged.complete:
            _warn(f"{sentence}: the target reached its maximum length: the last words may have no tags")
        for at in tagged.unread:
            word = tagged.tokens[at]
            _warn(
                f"{sentence}: word {at + 1} ({_shown(word, 20)}, {len(word)} characters) takes more tokens than the tagger does: "
                "it was not read and is tagged `O`"
            )
        return tagged

    def _engine(self) -> Engine:
        """The open file; it is opened at the first use in a process."""
        engine = self._open
        if engine is None:
            with _Forks.opening:
                engine = self._open
                if engine is None:
                    engine = self._open = self._opened()
        return engine

    def _opened(self) -> Engine:
        wanted = self._options["backend"]
        if os.path.exists(self._path) and not (os.path.isfile(self._path) or os.path.isdir(self._path)):
            # Reading a FIFO would wait for a writer.
            raise ModelError(f"`{self._path}` is not a regular file")
        engine = Engine(self._path, self._options, _onnxruntime.library())
        description, kind, notices = engine.backend()
        _log.info("`%s` runs in %s", self._path, description)
        if kind == "tract" and wanted == "auto":
            _warn(f"the backend is {description}, because {' '.join(notices)}")
        else:
            for notice in notices:
                _warn(notice)
        return engine


def _policy(errors: Errors) -> Errors:
    if errors not in ("raise", "return"):
        raise ValueError(f"`errors` is {errors!r}, expected 'raise' or 'return'")
    return errors


def _shown(text: str, most: int) -> str:
    return f"`{text}`" if len(text) <= most else f"`{text[:most]}...`"


def _warn(message: str) -> None:
    # The level of the caller of the package depends on the method, and on generators: the message says what it is about.
    warnings.warn(message, TaggerWarning, stacklevel=2)


class _Forks:
    """Sessions do not survive a fork, because their threads are missing in the new process: taggers open their files anew."""

    taggers: ClassVar[weakref.WeakSet[Tagger]] = weakref.WeakSet()
    # Held while a file is opened, so that no process is forked then: locks of ONNX Runtime would stay locked in it.
    opening = threading.RLock()

    @classmethod
    def before(cls) -> None:
        cls.opening.acquire()

    @classmethod
    def in_parent(cls) -> None:
        cls.opening.release()

    @classmethod
    def in_child(cls) -> None:
        _hyperloader.after_fork()
        cls.opening = threading.RLock()
        for tagger in list(cls.taggers):
            # The extension module does not free a session of another process.
            tagger._open = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Forks.before, after_in_parent=_Forks.in_parent, after_in_child=_Forks.in_child)
