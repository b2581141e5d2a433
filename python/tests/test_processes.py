"""Threads, forks, other processes and other libraries."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from hyperloader import Tagger


def run(code, *arguments, **options):
    """Runs Python code in another process."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("backend", ["ort", "tract"])
def test_threads_share_a_tagger(model, sentences, backend):
    tagger = Tagger(model, backend, workers=2, threads=1)
    expected = tagger.tag(sentences[:60])
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: tagger.tag(sentences[:60]), range(16)):
            assert result == expected


def test_other_threads_run_while_sentences_are_tagged(tagger, sentences):
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(None)
            time.sleep(0.001)

    tagger.tag(sentences[:10])
    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    # One call of the extension module: a window.
    tagger._engine().tag(sentences[:200], 0)
    during = len(ticks) - before
    done.set()
    thread.join()
    assert during > 5


def test_statistics_wait_without_the_lock_of_the_interpreter(model, sentences):
    tagger = Tagger(model, "tract", batch_size=1024, threads=1)
    texts, ticks, begun = (sentences * 4)[:1024], [], threading.Event()

    def work():
        begun.set()
        tagger._engine().tag(texts, 0)

    def tick():
        while thread.is_alive():
            ticks.append(None)
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    ticker = threading.Thread(target=tick)
    ticker.start()
    time.sleep(0.05)
    before = len(ticks)
    # The batch is running, so that this waits for it.
    assert tagger.statistics["sentences"] == 1024
    assert len(ticks) - before > 5
    thread.join()
    ticker.join()


def test_threads_that_open_a_tagger_at_once_open_it_once(model, sentences):
    tagger = Tagger(model)
    tagger._open = None
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: id(tagger._engine()), range(8)))
    assert len(engines) == 1


def work(tagger, sentences):
    return os.getpid(), tagger.tag(sentences)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("backend", ["ort", "tract"])
def test_processes_share_a_tagger(model, sentences, method, backend):
    tagger = Tagger(model, backend)
    expected = tagger.tag(sentences[:20])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for process, found in pool.map(work, [tagger] * 4, [sentences[:20]] * 4):
            assert process != os.getpid() and found == expected
    assert tagger.tag(sentences[:20]) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", ["ort", "tract"])
def test_a_forked_process_opens_the_file_anew_and_ends(model, backend):
    code = """
        import os, sys
        from hyperloader import Tagger
        tagger = Tagger(sys.argv[1], sys.argv[2], threads=2)
        expected = tagger.tag(["set an alarm for 7 am"])
        engine = tagger._engine()
        child = os.fork()
        if child == 0:
            assert tagger._open is None
            try:
                engine.tag(["7 am"], 0)
                sys.exit("the session of the parent was used")
            except RuntimeError as error:
                assert "another process" in str(error), error
            assert tagger.tag(["set an alarm for 7 am"]) == expected
            grandchild = os.fork()
            if grandchild == 0:
                # Never used here: it is not freed here either.
                print("grandchild")
                sys.exit(7 if tagger.tag(["7 am"])[0].spans else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 7
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert tagger.tag(["set an alarm for 7 am"]) == expected
        print("done")
    """
    done = run(code, model, backend)
    assert (done.returncode, done.stdout) == (0, "grandchild\ndone\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_another_thread_tags_or_opens(model):
    code = """
        import os, sys, threading
        from hyperloader import Tagger
        tagger = Tagger(sys.argv[1], threads=1)
        stop = threading.Event()
        def tag():
            while not stop.is_set():
                tagger.tag(["set an alarm for 7 am"] * 20)
        def reopen():
            while not stop.is_set():
                Tagger(sys.argv[1], threads=1)
        threads = [threading.Thread(target=tag), threading.Thread(target=reopen)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if tagger.tag(["set an alarm for 7 am"])[0].spans else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        print("done")
    """
    done = run(code, model)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_an_interpreter_ends_while_a_thread_tags(model):
    code = """
        import sys, threading, time
        from hyperloader import Tagger
        tagger = Tagger(sys.argv[1])
        def tag():
            while True:
                tagger.tag(["set an alarm for 7 am"] * 50)
        threading.Thread(target=tag, daemon=True).start()
        time.sleep(0.3)
        print("done")
    """
    done = run(code, model)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_ctrl_c_ends_tagging(model, sentences):
    code = """
        import os, signal, sys, threading
        from hyperloader import Tagger
        tagger = Tagger(sys.argv[1])
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            tagger.tag(["set an alarm for 7 am"] * 10_000_000)
        except KeyboardInterrupt:
            print("interrupted")
    """
    done = run(code, model)
    assert done.stdout == "interrupted\n", done.stderr


def test_ctrl_c_does_not_wait_for_the_window(model):
    code = """
        import os, signal, sys, threading, time
        from hyperloader import Tagger
        tagger = Tagger(sys.argv[1], threads=1)
        texts = ["set an alarm for 7 am"] * 1_000_000
        engine = tagger._engine()
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            # One call of the extension module.
            engine.tag(texts, 0)
        except KeyboardInterrupt:
            tagged = tagger.statistics["sentences"]
            assert 0 < tagged < 500_000, tagged
            # The tagger can be used, and the rest is not tagged.
            assert tagger.tag_one(texts[0]).spans
            assert tagger.statistics["sentences"] <= tagged + 2 * 32 + 1
            print("interrupted")
    """
    done = run(code, model)
    assert done.stdout == "interrupted\n", done.stderr


def test_ctrl_c_does_not_wait_for_a_long_text(model):
    code = """
        import os, signal, sys, threading
        from hyperloader import Tagger
        tagger = Tagger(sys.argv[1], threads=1)
        text = "set an alarm for 7 am. " * 300_000
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            tagger.tag_one(text)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)
    """
    done = run(code, model)
    assert done.stdout == "interrupted\n", done.stderr


def test_interpreters_of_a_process_have_exceptions_of_their_own(model):
    pytest.importorskip("_xxsubinterpreters")
    code = """
        import sys
        import _xxsubinterpreters as interpreters

        inner = '''if True:
            from hyperloader import ModelError, SentenceError, Tagger
            good, bad = Tagger(path, threads=1).tag(["set an alarm for 7 am", chr(0xD800)], "return")
            assert good.spans and isinstance(bad, SentenceError)
            try:
                Tagger(program)
            except ModelError:
                print("done", flush=True)
        '''
        exec(inner, {"path": sys.argv[1], "program": sys.executable})
        names = f"path = {sys.argv[1]!r}; program = {sys.executable!r}\\n"
        interpreters.run_string(interpreters.create(), names + inner)
    """
    done = run(code, model)
    assert (done.returncode, done.stdout) == (0, "done\ndone\n"), done.stderr


def test_onnxruntime_of_python_runs_in_the_same_process(model, sentences):
    pytest.importorskip("onnxruntime")
    code = """
        import sys
        import onnxruntime
        from hyperloader import Tagger
        session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
        tagger = Tagger(sys.argv[1])
        spans = tagger.tag(["set an alarm for 7 am"])[0].spans
        print([one.name for one in session.get_inputs()], [span.label for span in spans])
    """
    done = run(code, model)
    assert "input_ids" in done.stdout and "date_time" in done.stdout, done.stderr


def test_without_onnx_runtime_tract_runs_with_a_warning(model, tmp_path):
    code = """
        import sys, warnings
        from hyperloader import BackendError, Tagger, _onnxruntime
        _onnxruntime.importlib.util.find_spec = lambda name: None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tagger = Tagger(sys.argv[1])
        assert tagger.backend == "tract on cpu", tagger.backend
        message = str(caught[0].message)
        assert len(caught) == 1 and "the backend is tract on cpu, because ONNX Runtime cannot be loaded" in message
        assert "hint: `pip install onnxruntime` installs it" in message, message
        assert tagger.tag(["set an alarm for 7 am"])[0].spans
        try:
            Tagger(sys.argv[1], "ort")
        except BackendError as error:
            print("hint: `pip install onnxruntime`" in str(error))
    """
    # No library is found from this folder upwards.
    done = run(code, model, cwd=tmp_path, env={**os.environ, "ORT_DYLIB_PATH": ""})
    assert done.stdout == "True\n", done.stderr


def test_a_library_of_the_package_that_cannot_be_loaded_is_passed_over_with_the_reason(model, tmp_path):
    code = """
        import sys, warnings
        from hyperloader import BackendError, Tagger, _onnxruntime
        _onnxruntime.library = lambda: sys.argv[2]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(Tagger(sys.argv[1]).backend, len(caught))
        message = str(caught[0].message)
        assert f"`{sys.argv[2]}` (" in message and "hint: `pip install onnxruntime`" in message, message
        try:
            Tagger(sys.argv[1], "ort")
        except BackendError as error:
            assert f"`{sys.argv[2]}` (" in str(error), error
            print("not loaded")
    """
    library = tmp_path / "libonnxruntime.so.1.99.0"
    library.write_bytes(b"no library")
    done = run(code, model, str(library), cwd=tmp_path, env={**os.environ, "ORT_DYLIB_PATH": ""})
    assert done.stdout == "tract on cpu 1\nnot loaded\n", done.stderr


def test_no_library_is_taken_from_the_current_folder_or_its_parents(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*")
    native, current = tmp_path / ".native/onnxruntime/lib", tmp_path / "a/b"
    native.mkdir(parents=True)
    current.mkdir(parents=True)
    (native / library.name).symlink_to(library)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (current / name).symlink_to(library)
    code = """
        import sys, warnings
        from hyperloader import Tagger, _onnxruntime
        _onnxruntime.library = lambda: None
        warnings.simplefilter("ignore")
        print(Tagger(sys.argv[1]).backend)
    """
    done = run(code, model, cwd=current, env={**os.environ, "ORT_DYLIB_PATH": ""})
    assert done.stdout == "tract on cpu\n", done.stderr


def test_a_library_that_is_loaded_serves_later_taggers(model):
    onnxruntime = pytest.importorskip("onnxruntime")
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*")
    code = """
        import sys, warnings
        from hyperloader import Tagger, _onnxruntime
        warnings.simplefilter("error")
        first = Tagger(sys.argv[1], ort_lib=sys.argv[2])
        _onnxruntime.library = lambda: "/absent/libonnxruntime.so"
        print(Tagger(sys.argv[1]).backend == first.backend)
    """
    done = run(code, model, str(library), env={**os.environ, "ORT_DYLIB_PATH": ""})
    assert done.stdout == "True\n", done.stderr
