"""`python -m hyperloader` is hl-run."""

import json
import signal
import subprocess
import sys
import time

PROGRAM = [sys.executable, "-m", "hyperloader"]


def run(*arguments, **options):
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=300, **options)


def test_arguments_and_output_are_those_of_hl_run(model):
    done = run("--model", model, "--output-format", "jsonl", "set an alarm for 7 am")
    assert done.returncode == 0
    assert json.loads(done.stdout)["spans"][0]["label"] == "date_time"
    assert "backend: ONNX Runtime 1." in done.stderr
    assert run("--version").stdout.startswith("hl-run ")
    assert "Usage: hl-run" in run("--help").stdout


def test_exit_codes_are_those_of_hl_run(model):
    assert run("--model", "absent.onnx", "a").returncode == 1
    assert run("--no-such-option").returncode == 1
    assert run().returncode == 1
    assert run("--model", model, "--no-split", "again " * 5000).returncode == 1


def test_a_closed_pipe_is_no_error(model):
    tag = [*PROGRAM, "--model", model, "--quiet", "--input", "-"]
    process = subprocess.Popen(tag, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(b"set an alarm for 7 am\n" * 5000)
    process.stdin.close()
    assert process.wait(timeout=300) == 0
    assert process.stderr.read() == b""


def test_ctrl_c_ends_with_130_and_what_was_complete(model):
    tag = [*PROGRAM, "--model", model, "--output-format", "jsonl"]
    process = subprocess.Popen(tag, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"set an alarm for 7 am\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["spans"]
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130
    assert b"Traceback" not in process.stderr.read()


def test_a_missing_program_is_reported(tmp_path, monkeypatch):
    code = "import hyperloader.__main__ as m; m.__file__ = '/absent/x.py'; m.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "hint: " in done.stderr
