"""Tagging of Arrow tables, with pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from hyperloader.errors import Errors, SentenceError
from hyperloader.tagged import Tagged

# The type of the column `spans` that `hl-run` writes to Parquet.
SPAN = pa.struct(
    [
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("unknown", pa.bool_(), nullable=False),
    ]
)
SPANS = pa.list_(pa.field("element", SPAN, nullable=False))
UNREAD = pa.list_(pa.field("element", pa.int64(), nullable=False))


# Tags texts; the second argument has their indices in messages.
Run = Callable[[Iterator[str], Iterator[int], Errors], Iterator[Tagged | SentenceError]]


def tag(data: Any, column: str, names: list[str], errors: Errors, run: Run) -> pa.Table:
    """See `Tagger.tag_arrow`. `names` are the columns that are added."""
    table = _table(data)
    texts = _texts(table, column)
    # Before the work.
    for name in names:
        if name in table.column_names:
            raise ValueError(f"the table has a column `{name}` already\nhint: rename it, or drop it")
    rows: list[Tagged | SentenceError | None] = [text if isinstance(text, SentenceError) else None for text in texts]
    is_read = (str, SentenceError) if errors == "raise" else str
    places = [place for place, text in enumerate(texts) if isinstance(text, is_read)]
    results = run(_given(texts[place] for place in places), iter(places), errors)
    for place, result in zip(places, results, strict=True):
        rows[place] = result
    columns = _columns(rows)
    for name in names:
        table = table.append_column(name, columns[name]())
    return table


def _table(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return pa.table(data)
    raise TypeError(f"`table` is {type(data).__name__}, expected an Arrow table, such as a pyarrow.Table")


def _given(texts: Iterable[str | SentenceError | None]) -> Iterator[str]:
    """The texts; the first error is raised at its place."""
    for text in texts:
        if isinstance(text, SentenceError):
            raise text
        yield text or ""


def _texts(table: pa.Table, column: str) -> list[str | SentenceError | None]:
    """The text of each row, or why it has none."""
    if not isinstance(column, str):
        raise TypeError(f"`column` is {type(column).__name__}, expected str")
    names = table.column_names
    if names.count(column) != 1:
        found = "no column" if column not in names else "several columns"
        raise KeyError(f"the table has {found} `{column}`; its columns are {', '.join(names)}")
    values = table.column(column)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not is_text and not pa.types.is_null(kind):
        raise TypeError(f"the column `{column}` has values of type {values.type}, expected string")
    try:
        texts: list[str | SentenceError | None] = values.to_pylist()
    except UnicodeDecodeError:
        # Arrow does not check that strings are UTF-8: each row is decoded.
        binary = pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
        binary = pa.binary_view() if pa.types.is_string_view(kind) else binary
        rows = [row for chunk in values.chunks for row in _bytes(chunk, binary)]
        texts = [None if row is None else _decoded(row, place) for place, row in enumerate(rows)]
    return texts


def _bytes(chunk: pa.Array, binary: pa.DataType) -> list[bytes | None]:
    if pa.types.is_dictionary(chunk.type):
        entries = chunk.dictionary.view(binary).to_pylist()
        return [None if index is None else entries[index] for index in chunk.indices.to_pylist()]
    found: list[bytes | None] = chunk.view(binary).to_pylist()
    return found


def _decoded(row: bytes, place: int) -> str | SentenceError:
    try:
        return row.decode("utf-8")
    except UnicodeDecodeError as error:
        return SentenceError(f"byte {error.start} is not UTF-8", place)


def _columns(rows: list[Tagged | SentenceError | None]) -> dict[str, Callable[[], pa.Array]]:
    tagged = [row if isinstance(row, Tagged) else None for row in rows]
    messages = [row.message if isinstance(row, SentenceError) else None for row in rows]
    return {
        "spans": lambda: _spans(tagged),
        "complete": lambda: pa.array([row and row.complete for row in tagged], pa.bool_()),
        "unread": lambda: pa.array([row and row.unread for row in tagged], UNREAD),
        "score": lambda: pa.array([row and row.score for row in tagged], pa.float64()),
        "abstained": lambda: pa.array([row and row.abstained for row in tagged], pa.bool_()),
        "withheld": lambda: pa.array([row and row.withheld for row in tagged], pa.int64()),
        "error": lambda: pa.array(messages, pa.string()),
    }


def _spans(rows: list[Tagged | None]) -> pa.Array:
    spans = [span for row in rows if row is not None for span in row.spans]
    values = pa.StructArray.from_arrays(
        [
            pa.array([span.start for span in spans], pa.int64()),
            pa.array([span.end for span in spans], pa.int64()),
            pa.array([span.label for span in spans], pa.string()),
            pa.array([span.text for span in spans], pa.string()),
            pa.array([span.score for span in spans], pa.float64()),
            pa.array([span.unknown for span in spans], pa.bool_()),
        ],
        fields=list(SPAN),
    )
    # A null offset makes a null list.
    ends, end = [None if row is None else 0 for row in rows], 0
    for at, row in enumerate(rows):
        if row is not None:
            ends[at] = end
            end += len(row.spans)
    offsets = pa.array([*ends, end], pa.int32())
    return pa.ListArray.from_arrays(offsets, values, type=SPANS)
