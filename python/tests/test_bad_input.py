"""Bad input raises the exception that Python programmers expect, and the interpreter lives on."""

import contextlib
import importlib
import os
import pickle
import re
import threading
from pathlib import Path

import pytest

import hyperloader
from hyperloader import ModelError, SentenceError, Tagger
from hyperloader._hyperloader import in_python

ROOT = Path(__file__).resolve().parents[2]


def test_a_missing_file():
    with pytest.raises(FileNotFoundError) as caught:
        Tagger("absent/mtop.onnx")
    assert caught.value.errno == 2 and caught.value.filename.endswith("absent/mtop.onnx")


def test_a_folder(tmp_path):
    with pytest.raises((IsADirectoryError, ModelError)):
        Tagger(tmp_path)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        Tagger("")
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(ModelError, match="is not a regular file"):
            Tagger(path)


def test_a_cache_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(hyperloader.BackendError, match=r"the cache of the model cannot be written in .*\nhint: "):
        Tagger(model, cache=tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 1000, bytes(1 << 16)])
def test_a_file_that_is_not_a_tagger(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.onnx.*\nhint: |not a HyperLoader tagger"):
        Tagger(tmp_path / "a.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut(model, tmp_path, part):
    whole = Path(model).read_bytes()
    (tmp_path / "a.onnx").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ModelError):
        Tagger(tmp_path / "a.onnx")


@pytest.mark.parametrize("backend", ["ort", "tract"])
def test_a_file_whose_bytes_are_damaged_raises_or_tags(model, tmp_path, backend):
    whole = bytearray(Path(model).read_bytes())
    for at in range(0, len(whole), len(whole) // 12):
        damaged = whole.copy()
        damaged[at : at + 64] = bytes(byte ^ 0xFF for byte in damaged[at : at + 64])
        (tmp_path / "a.onnx").write_bytes(damaged)
        try:
            Tagger(tmp_path / "a.onnx", backend).tag(["set an alarm for 7 am"], errors="return")
        except hyperloader.Error:
            pass


@pytest.mark.parametrize("path", [None, 7, b"mtop.onnx", ["mtop.onnx"]])
def test_a_path_of_another_type(path):
    with pytest.raises(TypeError, match="`path` is"):
        Tagger(path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "onnx"}, ValueError, "unknown backend `onnx`, expected one of: auto, ort, tract"),
        ({"backend": ""}, ValueError, "unknown backend ``"),
        ({"decode": "beam"}, ValueError, "unknown decoding mode `beam`"),
        ({"draft_from": "x"}, ValueError, "unknown source of drafts `x`"),
        ({"words": ""}, ValueError, "unknown rule for words ``"),
        ({"split": "all"}, ValueError, "unknown splitting of texts `all`"),
        ({"align": "x"}, ValueError, "unknown alignment `x`"),
        ({"device": "gpu"}, ValueError, "unknown device `gpu`"),
        ({"threads": 0}, ValueError, "`threads` is 0, expected a number from 1 to 1024"),
        ({"threads": -1}, ValueError, "`threads` is -1"),
        ({"threads": 1 << 70}, ValueError, "`threads` is"),
        ({"threads": True}, TypeError, "`threads` is bool"),
        ({"threads": 1.0}, TypeError, "`threads` is float"),
        ({"batch_size": 0}, ValueError, "`batch_size` is 0"),
        ({"batch_size": None}, TypeError, "`batch_size` is NoneType"),
        ({"workers": "2"}, TypeError, "`workers` is str"),
        ({"scores": 1}, TypeError, "`scores` is int"),
        ({"max_error": 1.5}, ValueError, "`max_error` is 1.5, expected a number between 0 and 1"),
        ({"max_error": float("nan")}, ValueError, "`max_error` is nan"),
        ({"max_error": "0.1"}, TypeError, "`max_error` is str"),
        ({"max_error": 0.1, "max_span_error": 0.1}, ValueError, "exclude each other"),
        ({"confidence": 0}, ValueError, "`confidence` is 0"),
        ({"cache": 7}, TypeError, "`cache` is int"),
        ({"ort_lib": 7}, TypeError, "`ort_lib` is int"),
        ({"backend": 7}, TypeError, "`backend` is int"),
        ({"words": None}, TypeError, "`words` is NoneType"),
    ],
)
def test_options_outside_their_range(model, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Tagger(model, **options)
    with pytest.raises(TypeError):
        Tagger(model, no_such_option=1)


def test_a_guarantee_that_the_file_cannot_give(model):
    with pytest.raises(ModelError, match="not calibrated"):
        Tagger(model, max_error=0.1)


def test_a_library_that_cannot_be_loaded(model, tmp_path):
    (tmp_path / "libonnxruntime.so").write_bytes(b"no library")
    with pytest.raises(hyperloader.BackendError, match="`ort_lib`"):
        Tagger(model, ort_lib=tmp_path / "libonnxruntime.so")


def test_a_device_that_is_not_there(model):
    with pytest.raises(hyperloader.BackendError, match='hint: `device="cpu"` runs everywhere'):
        Tagger(model, "tract", device="cuda:7")


def test_a_null_character_in_a_path():
    with pytest.raises(ValueError, match="null character"):
        Tagger("a\0b.onnx")


@pytest.mark.parametrize("texts", ["set an alarm", b"set", None, 7, {"text": "a"}, object()])
def test_texts_of_another_type(tagger, texts):
    for tag in (tagger.tag, tagger.tag_iter):
        with pytest.raises(TypeError, match=r"`texts` is \w+, expected an iterable of str"):
            tag(texts)
    with pytest.raises(TypeError, match="`sentences` is"):
        tagger.tag_words(texts)


@pytest.mark.parametrize("bad", [None, 7, b"set", ["set"], float("nan")])
def test_one_text_of_another_type_is_named(tagger, bad):
    for errors in ("raise", "return"):
        with pytest.raises(TypeError, match=rf"texts\[400\] is {type(bad).__name__}, expected str"):
            tagger.tag(["7 am"] * 400 + [bad], errors)
    with pytest.raises(TypeError):
        tagger.tag_one(bad)


def test_words_of_another_type_are_named(tagger):
    for bad, message in [
        ([["a"], "b c"], r"sentences\[1\] is str, expected a list of str"),
        ([None], r"sentences\[0\] is NoneType"),
        ([["a", None]], r"sentences\[0\]\[1\] is NoneType, expected str"),
    ]:
        with pytest.raises(TypeError, match=message):
            tagger.tag_words(bad)


def test_a_lone_surrogate_concerns_its_sentence_only(tagger):
    texts = ["at 7 am", "at \ud800 am", "at 8 am"]
    with pytest.raises(SentenceError, match="sentence 1: character 3 is a lone surrogate") as caught:
        tagger.tag(texts)
    assert isinstance(caught.value, ValueError) and caught.value.index == 1
    first, error, last = tagger.tag(texts, errors="return")
    assert error == caught.value
    assert [first, last] == tagger.tag([texts[0], texts[2]])
    with pytest.raises(SentenceError, match="word 2: character 0 is a lone surrogate"):
        tagger.tag_words([["at", "\udfff"]])


def test_words_that_are_none(tagger):
    with pytest.raises(SentenceError, match="sentence 0: word 2 is `b c`"):
        tagger.tag_words([["a", "b c"]])
    good, bad = tagger.tag_words([["a"], [""]], errors="return")
    assert good.text == "a" and isinstance(bad, SentenceError)


def test_a_text_that_is_too_long_with_no_splitting(model):
    tagger = Tagger(model, split="never")
    texts = ["at 7 am", "again " * 5000]
    with pytest.raises(SentenceError, match="sentence 1: the sentence has 5000 words") as caught:
        tagger.tag(texts)
    assert 'hint: have it tagged in parts, which is the default: `split="long"`' in str(caught.value)
    good, bad = tagger.tag(texts, errors="return")
    assert good.text == texts[0] and bad.index == 1


def test_odd_texts_are_tagged(tagger):
    odd = [
        "\0",
        "a\0b",
        "\x1b[31m7 am",
        "\u202e7 am",
        "\U0010ffff",
        "\ufffe",
        "7 am" * 20000,
        "a" * 100000,
        " ".join("a" * 20000),
    ]
    with pytest.warns(hyperloader.TaggerWarning):
        results = tagger.tag(odd)
    assert [tagged.text for tagged in results] == odd


def test_an_iterator_that_fails_passes_its_error_on_after_what_it_gave(tagger):
    def texts(many):
        yield from ["7 am"] * many
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tagger.tag(texts(1))
    for many in (0, 1, 300):
        found = []
        with pytest.raises(KeyError, match="mine"):
            for tagged in tagger.tag_iter(texts(many)):
                found.append(tagged.text)
        assert found == ["7 am"] * many


def tables():
    text = ["at 7 am"]
    for module in ("pandas", "polars"):
        with contextlib.suppress(ImportError):
            yield importlib.import_module(module).DataFrame({"text": text})
    with contextlib.suppress(ImportError):
        yield importlib.import_module("pyarrow").table({"text": text})


def test_tables_and_sets_are_no_lists_of_texts(tagger, model):
    pipe = hyperloader.pipeline(model)
    found = list(tables())
    assert found
    for table in found:
        for tag in (tagger.tag, tagger.tag_iter, tagger.tag_words, pipe):
            with pytest.raises(TypeError, match=r'a table, expected an iterable of (.*\n)hint: .*tag_arrow\(table, "text"\)'):
                tag(table)
    for texts in ({"a", "b"}, frozenset("a")):
        for tag in (tagger.tag, tagger.tag_iter, tagger.tag_words, pipe):
            with pytest.raises(TypeError, match="has no order"):
                tag(texts)
    assert [tagged.text for tagged in tagger.tag({"a": 1, "b": 2}.keys())] == ["a", "b"]


def test_an_unknown_policy(tagger):
    with pytest.raises(ValueError, match="`errors` is 'ignore'"):
        tagger.tag(["a"], errors="ignore")
    with pytest.raises(ValueError):
        tagger.tag_iter(["a"], errors=None)


def test_errors_are_pickled_and_compared():
    error = SentenceError("too long", 3)
    again = pickle.loads(pickle.dumps(error))
    assert again == error and str(again) == "sentence 3: too long" and again.index == 3
    assert error != SentenceError("too long", 4) and len({error, again}) == 1
    assert str(SentenceError("too long")) == "too long"
    assert issubclass(SentenceError, hyperloader.Error) and issubclass(ModelError, hyperloader.Error)


def test_a_list_that_changes_while_it_is_tagged(tagger, sentences):
    texts = list(sentences)
    thread = threading.Thread(target=lambda: [texts.pop() for _ in range(200)])
    results = tagger.tag_iter(texts)
    next(results)
    thread.start()
    thread.join()
    assert len(list(results)) <= len(sentences)


def test_hints_name_arguments_and_not_options_of_the_command_line():
    """Each message of the runtime that names an option of hl-run names it as an argument."""
    sources = [*(ROOT / "runtime/src").glob("*.rs"), *(ROOT / "runtime/src/backend").rglob("*.rs")]
    spans = {span for source in sources for span in re.findall(r"`(--[^`]+)`", source.read_text(encoding="utf-8"))}
    assert {"--split {split}", "--words", "--device cpu"} <= spans
    of_export = {"--precision f32", "--task TASK"}
    # These are replaced together with the words around them.
    for span in spans - of_export - {"--no-split", "--features {kind}"}:
        assert "--" not in in_python(f"hint: use `{span}` here"), span
    assert in_python("leave out `--words`") == "leave out `words`"
    assert in_python("`--device cpu` runs") == '`device="cpu"` runs'
    assert in_python("leave out `--no-split`") == '`split="long"`'
    assert in_python("`--ort-lib FILE` or ORT_DYLIB_PATH") == "`ort_lib` or ORT_DYLIB_PATH"
    assert in_python("export with `--precision f32`, `--max-errors`") == "export with `--precision f32`, `--max-errors`"
