"""Arrow tables."""

import subprocess
import sys

import pytest

from hyperloader import SentenceError, Tagger, TaggerWarning

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def as_arrow(tagged):
    return [
        {
            "start": span.start,
            "end": span.end,
            "label": span.label,
            "text": span.text,
            "score": span.score,
            "unknown": span.unknown,
        }
        for span in tagged.spans
    ]


def test_spans_are_those_of_tag_and_other_columns_stay(tagger, sentences):
    table = pa.table({"id": range(len(sentences)), "text": sentences})
    tagged = tagger.tag_arrow(table, "text")
    assert tagged.column_names == ["id", "text", "spans", "complete", "unread"]
    assert tagged.select(["id", "text"]) == table
    assert tagged["spans"].to_pylist() == [as_arrow(one) for one in tagger.tag(sentences)]


def test_the_type_of_spans_is_that_of_hl_run(model, tagger, tmp_path):
    (tmp_path / "in.txt").write_text("set an alarm for 7 am\nplay\n")
    command = [sys.executable, "-m", "hyperloader", "--model", model, "--quiet"]
    command += ["--input", tmp_path / "in.txt", "--output", tmp_path / "out.parquet"]
    subprocess.run(command, check=True)
    theirs = pq.read_table(tmp_path / "out.parquet")
    ours = tagger.tag_arrow(theirs.select(["text"]))
    pq.write_table(ours, tmp_path / "ours.parquet")
    ours = pq.read_table(tmp_path / "ours.parquet")
    assert ours["spans"].type == theirs["spans"].type
    assert ours["spans"] == theirs["spans"]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary", "chunks", "slice", "batch"])
def test_every_kind_of_text_column(tagger, sentences, kind):
    texts = sentences[:30]
    expected = [as_arrow(one) for one in tagger.tag(texts)]
    if kind == "batch":
        table = pa.record_batch({"text": texts})
    elif kind == "chunks":
        table = pa.table({"text": pa.chunked_array([texts[:7], [], texts[7:]])})
    elif kind == "slice":
        table = pa.table({"text": ["before", *texts, "after"]}).slice(1, 30)
    elif kind == "dictionary":
        table = pa.table({"text": pa.array(texts).dictionary_encode()})
    else:
        table = pa.table({"text": pa.array(texts, getattr(pa, kind)())})
    assert tagger.tag_arrow(table)["spans"].to_pylist() == expected


def test_any_object_with_the_arrow_interface(tagger):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"n": [1, 2], "text": ["set an alarm for 7 am", None]})
    tagged = tagger.tag_arrow(frame, "text")
    again = polars.from_arrow(tagged)
    assert again["n"].to_list() == [1, 2]
    assert again["spans"].to_list()[0][0]["label"] == "date_time" and again["spans"].to_list()[1] is None


def test_null_texts_have_null_spans_and_empty_texts_none(tagger):
    spans = tagger.tag_arrow(pa.table({"text": [None, "", "at 7 am", None]}))["spans"].to_pylist()
    assert spans[0] is None and spans[1] == [] and spans[2] and spans[3] is None
    empty = tagger.tag_arrow(pa.table({"text": pa.array([], pa.string())}))
    assert empty.num_rows == 0 and empty.column_names == ["text", "spans", "complete", "unread"]
    nulls = tagger.tag_arrow(pa.table({"text": pa.nulls(2)}))
    assert nulls["spans"].to_pylist() == [None, None] and nulls.schema.field("spans").type == empty.schema.field("spans").type


def test_messages_name_the_row_also_after_nulls(model):
    tagger = Tagger(model, split="never")
    texts = [None, "at 7 am", None, None, "again " * 5000]
    with pytest.raises(SentenceError, match="sentence 4: ") as caught:
        tagger.tag_arrow(pa.table({"text": texts}))
    assert caught.value.index == 4
    errors = tagger.tag_arrow(pa.table({"text": texts}), errors="return")["error"].to_pylist()
    assert errors[:4] == [None] * 4 and "5000 words" in errors[4]
    with pytest.warns(TaggerWarning, match=r"sentence 2 .*: word 1 \("):
        Tagger(model).tag_arrow(pa.table({"text": [None, None, "x7" * 5000]}))


def test_what_was_not_read_has_columns(tagger):
    with pytest.warns(TaggerWarning, match="not read"):
        tagged = tagger.tag_arrow(pa.table({"text": ["at 7 am", None, "at " + "x7" * 5000, ""]}))
    assert tagged["unread"].to_pylist() == [[], None, [1], []]
    assert tagged["complete"].to_pylist() == [True, None, True, True]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary", "slice", "chunks"])
def test_bytes_that_are_not_utf_8_are_the_error_of_their_row(tagger, kind):
    good = ["set an alarm for 7 am", "caf\u00e9 at 8 am"]
    rows = [good[0].encode(), b"half \xff", None, good[1].encode()]

    def strings(rows):
        name = kind if kind in ("large_string", "string_view") else "string"
        return pa.array(rows, getattr(pa, name.replace("string", "binary"))()).view(getattr(pa, name)())

    column = strings(rows)
    if kind == "dictionary":
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2]), strings([rows[0], rows[1], rows[3]]))
    elif kind == "slice":
        column = strings([b"before \xfe", *rows, b"after"]).slice(1, 4)
    elif kind == "chunks":
        column = pa.chunked_array([strings(rows[:2]), strings([]), strings(rows[2:])])
    table = pa.table({"text": column})
    with pytest.raises(SentenceError, match="sentence 1: byte 5 is not UTF-8"):
        tagger.tag_arrow(table)
    tagged = tagger.tag_arrow(table, errors="return")
    assert tagged["error"].to_pylist() == [None, "byte 5 is not UTF-8", None, None]
    first, second = tagger.tag(good)
    assert tagged["spans"].to_pylist() == [as_arrow(first), None, None, as_arrow(second)]


def test_a_column_that_is_there_already_is_found_before_the_work(model):
    for name in ("spans", "complete", "unread", "score", "error"):
        tagger = Tagger(model, scores=True)
        table = pa.table({"text": ["at 7 am"] * 3, name: [1, 2, 3]})
        with pytest.raises(ValueError, match=f"has a column `{name}` already\nhint: "):
            tagger.tag_arrow(table, errors="return")
        assert tagger.statistics["sentences"] == 0


def test_scores_and_errors_have_columns(scorer, model):
    table = pa.table({"text": ["at 7 am", "again " * 5000]})
    tagger = Tagger(model, split="never", scores=True)
    with pytest.raises(SentenceError, match="sentence 1"):
        tagger.tag_arrow(table)
    tagged = tagger.tag_arrow(table, errors="return")
    assert tagged.column_names == ["text", "spans", "complete", "unread", "score", "error"]
    assert tagged["spans"].to_pylist()[1] is None and tagged["score"].to_pylist()[1] is None
    assert tagged["error"].to_pylist()[0] is None and "5000 words" in tagged["error"].to_pylist()[1]
    assert tagged["spans"].to_pylist()[0][0]["score"] == scorer.tag_one("at 7 am").spans[0].score


@pytest.mark.parametrize("bad", [None, 7, "text", [["a"]], {"text": ["a"]}])
def test_data_that_is_no_table(tagger, bad):
    with pytest.raises(TypeError, match="expected an Arrow table"):
        tagger.tag_arrow(bad)


def test_columns_that_do_not_fit(tagger):
    table = pa.table({"n": [1], "spans": ["x"], "text": ["a"]})
    with pytest.raises(KeyError, match="no column `body`; its columns are n, spans, text"):
        tagger.tag_arrow(table, "body")
    with pytest.raises(TypeError, match="`n` has values of type int64, expected string"):
        tagger.tag_arrow(table, "n")
    with pytest.raises(ValueError, match="has a column `spans` already"):
        tagger.tag_arrow(table)
    with pytest.raises(TypeError, match="`column` is int"):
        tagger.tag_arrow(table, 2)
    with pytest.raises(KeyError, match="several columns `a`"):
        tagger.tag_arrow(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], ["a", "a"]), "a")


def test_without_pyarrow_the_other_methods_work(model):
    code = """
import sys
sys.modules["pyarrow"] = None
from hyperloader import Tagger
tagger = Tagger(sys.argv[1])
print(tagger.tag_one("at 7 am").spans[0].label)
try:
    tagger.tag_arrow(None)
except ImportError:
    print("no pyarrow")
"""
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=True)
    assert done.stdout == "date_time\nno pyarrow\n"
