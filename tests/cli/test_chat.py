"""`famulus chat` as a process."""

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

SECONDS = 20


@pytest.fixture
def chat(tmp_path):
    """Starts it on the given standard input; what it says comes out of a pipe."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "FAMULUS_AGENT__MODEL": "offline",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    started = []

    def start(stdin, stdout=subprocess.PIPE, options=()):
        process = subprocess.Popen(
            [sys.executable, "-m", "famulus", "chat", *options], stdin=stdin,
            stdout=stdout, stderr=subprocess.PIPE, cwd=tmp_path, env=environment,
        )  # fmt: skip
        # Whoever reads from a program that hangs would wait for ever.
        end = threading.Timer(SECONDS, process.kill)
        end.start()
        started.append((process, end))
        return process

    yield start
    for process, end in started:
        end.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("options", [(), ("--plain",)])
def test_each_line_of_a_pipe_is_answered_in_turn(chat, options):
    said, errors = chat(subprocess.PIPE, options=options).communicate(
        "what is 1+1\n\nwas ist 2+3? größer\nwhat is 2+2".encode(), timeout=SECONDS
    )
    lines = said.decode().splitlines()
    assert (lines[0], lines[-1]) == ("1+1 = 2", "2+2 = 4")
    assert errors == b""


def test_ctrl_c_while_it_waits_for_a_line_of_a_pipe_ends_it_without_a_word(chat):
    process = chat(subprocess.PIPE)
    process.stdin.write(b"what is 1+1\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"1+1 = 2\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130
    assert process.stderr.read() == b""


def test_ctrl_c_at_the_prompt_of_a_terminal_ends_it_without_a_word(chat):
    ours, theirs = pty.openpty()
    try:
        process = chat(theirs, theirs)
        os.close(theirs)
        os.write(ours, b"what is 1+1\n")
        said = b""
        while not said.endswith(b"1+1 = 2\r\n> "):
            said += os.read(ours, 1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stderr.read() == b""
    finally:
        os.close(ours)
