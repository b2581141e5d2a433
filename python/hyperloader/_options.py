"""The options of a tagger: names, defaults and ranges as those of `hl-run`."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, fields
from typing import Any

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Options:
    """The options that `Tagger` was called with; each is described there."""

    task: str | None
    backend: str | None
    threads: int | None
    cache: bool | Path | None
    batch_size: int
    workers: int
    device: str
    words: str
    split: str
    decode: str
    draft_from: str
    align: str
    scores: bool
    max_error: float | None
    max_span_error: float | None
    confidence: float
    ort_lib: Path | None

    def __post_init__(self) -> None:
        _integer("threads", self.threads, 1, 1024, optional=True)
        _integer("batch_size", self.batch_size, 1, 1 << 20)
        _integer("workers", self.workers, 1, 256)
        for name in ("device", "words", "split", "decode", "draft_from", "align"):
            _instance(name, getattr(self, name), str)
        for name in ("task", "backend"):
            _instance(name, getattr(self, name), str, optional=True)
        _instance("scores", self.scores, bool)
        if self.max_error is not None and self.max_span_error is not None:
            raise ValueError("`max_error` and `max_span_error` exclude each other")
        for name in ("max_error", "max_span_error", "confidence"):
            _share(name, getattr(self, name), optional=name != "confidence")

    def for_engine(self, model: str) -> dict[str, Any]:
        """The options as the extension module takes them, with absolute paths."""
        options: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        options["backend"] = "auto" if self.backend is None else self.backend
        options["cache"] = _cache(self.cache, model)
        options["ort_lib"] = None if self.ort_lib is None else _library(text("ort_lib", self.ort_lib))
        return options


def text(name: str, path: object) -> str:
    """A path as a string; `TypeError` if it is none."""
    if isinstance(path, (str, os.PathLike)):
        found = os.fspath(path)
        if isinstance(found, str):
            if "\0" in found:
                raise ValueError(f"`{name}` has a null character")
            if not found:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), found)
            return found
    raise TypeError(f"`{name}` is {_type(path)}, expected a str or a path")


def _cache(cache: bool | Path | None, model: str) -> str | None:
    if cache is None or cache is False:
        return None
    return os.path.dirname(model) if cache is True else os.path.abspath(text("cache", cache))


def _library(path: str) -> str:
    # A bare name is left to the system's loader.
    return os.path.abspath(path) if os.path.dirname(path) or os.path.exists(path) else path


def _type(value: object) -> str:
    return type(value).__name__


def _instance(name: str, value: object, kind: type, *, optional: bool = False) -> None:
    if not (isinstance(value, kind) or (optional and value is None)):
        raise TypeError(f"`{name}` is {_type(value)}, expected {kind.__name__}")


def _integer(name: str, value: object, least: int, most: int, *, optional: bool = False) -> None:
    if optional and value is None:
        return
    # bool is a kind of int in Python.
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` is {_type(value)}, expected int")
    if not least <= value <= most:
        raise ValueError(f"`{name}` is {value}, expected a number from {least} to {most}")


def _share(name: str, value: object, *, optional: bool) -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"`{name}` is {_type(value)}, expected float")
    if not 0 < value < 1:
        raise ValueError(f"`{name}` is {value}, expected a number between 0 and 1")
