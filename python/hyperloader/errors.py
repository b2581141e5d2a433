"""The exceptions of the package.

A file that the system cannot read raises `OSError` (`FileNotFoundError`, `PermissionError`), an argument of the wrong type
`TypeError`, an argument outside its range `ValueError`.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["BackendError", "Error", "ModelError", "SentenceError", "TaggerWarning"]

# What becomes of a sentence that cannot be tagged: the option `errors`.
Errors = Literal["raise", "return"]


class Error(Exception):
    """An error of this package."""


class ModelError(Error, ValueError):
    """The file is not a tagger, is damaged, or cannot do what the options ask for."""


class BackendError(Error, RuntimeError):
    """ONNX Runtime or tract cannot be used, or failed."""


class SentenceError(Error, ValueError):
    """One sentence cannot be tagged; others can.

    Attributes:
        index: Index of the sentence among those that were given, from 0; `None` if the error was not raised by a tagger.
    """

    index: int | None

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message, index)
        self.index = index

    @property
    def message(self) -> str:
        """The reason, without the index."""
        return str(self.args[0])

    def __str__(self) -> str:
        return self.message if self.index is None else f"sentence {self.index}: {self.message}"

    def __eq__(self, other: object) -> bool:
        return self.args == other.args if isinstance(other, SentenceError) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.args)


class TaggerWarning(UserWarning):
    """Something of a sentence may be missing, or a tagger runs in another way than by default."""
