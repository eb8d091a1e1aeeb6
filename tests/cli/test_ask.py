"""`famulus ask` as a program: arguments, pipes, exit codes, and the shape of its JSON."""

import json
import os
import subprocess
import sys

import pytest

DEAD = """
[providers.dead]
type = "openai"
base_url = "http://127.0.0.1:1"
api_key = "k"
[agent]
model = "dead/x"
"""


@pytest.fixture
def ask(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "FAMULUS_HOME": str(tmp_path / "home"),
        "OLLAMA_HOST": "127.0.0.1:1",
    }

    def run(*arguments, text=None, command=("ask",), stdin=subprocess.DEVNULL, start=False):
        words = [sys.executable, "-m", "famulus", *command, *arguments]
        options = {
            "stdin": stdin if text is None else subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": not isinstance(text, bytes),
            "env": environment,
            "cwd": tmp_path,
        }
        process = subprocess.Popen(words, **options)
        if start:
            return process
        with process:
            said = process.communicate(text, timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, *said)

    return run


def test_the_reply_is_all_that_is_printed(ask):
    done = ask("what is", "17.5% of 230")
    assert (done.returncode, done.stdout, done.stderr) == (0, "17.5% of 230 = 40.25\n", "")


def test_the_question_may_come_through_a_pipe(ask):
    done = ask("-", text="what is 6*7\n")
    assert done.stdout == "6*7 = 42\n"


def test_json_has_what_programs_rely_on(ask):
    shown = json.loads(ask("--json", "what is 2+2").stdout)
    assert shown["reply"] == "2+2 = 4"
    assert shown["session_id"] == "console:main:1"
    assert shown["turn_id"].startswith("console::main:")
    assert shown["model"] == "offline"
    assert {"input_tokens", "output_tokens", "cached_tokens", "cost_usd"} <= set(shown["usage"])


def test_a_session_can_be_named(ask):
    ask("--session", "console:main:9", "make a note: milk")
    shown = json.loads(ask("--session", "9", "--json", "show my notes").stdout)
    assert shown["session_id"] == "console:main:9"
    assert "milk" in shown["reply"]


@pytest.mark.parametrize(
    ("arguments", "text", "code", "words"),
    [
        ((), None, 2, "Say what to ask"),
        (("-",), "  \n", 1, "nothing to ask"),
        (("--model", "nosuch", "hi"), None, 1, 'no model "nosuch"'),
        (("--attach", "nosuch.png", "hi"), None, 2, "nosuch.png"),
        (("x" * 70_000,), None, 1, "65,536"),
    ],
)
def test_what_is_wrong_is_one_clear_line(ask, arguments, text, code, words):
    done = ask(*arguments, text=text)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_can_be_sent_along(ask, tmp_path):
    (tmp_path / "list.txt").write_text("eggs\n")
    done = ask("--attach", "list.txt", "list my files")
    assert done.returncode == 0, done.stderr


def test_json_tells_an_answer_from_a_reason_why_there_is_none(ask, tmp_path):
    (tmp_path / "famulus.toml").write_text(DEAD)
    done = ask("--json", "hello")
    shown = json.loads(done.stdout)
    assert "could not get an answer" in shown["reply"]
    assert shown["failed"] is True
    assert done.returncode == 1


def test_no_answer_is_exit_1_with_the_reason_on_standard_error_alone(ask, tmp_path):
    (tmp_path / "famulus.toml").write_text(DEAD)
    done = ask("hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("I could not get an answer from a model.")


@pytest.mark.parametrize("command", ["/nosuch", "/switch 99", "/model no/such/model"])
def test_a_slash_command_that_could_not_be_done_is_exit_1(ask, command):
    done = ask(command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "asked"),
    [
        (("what is",), "6*7", "what is\n\n6*7"),
        (("-", "what is"), "6*7\n", "what is\n\n6*7"),
        ((), "what is 6*7\n", "what is 6*7"),
        (("what is 6*7",), "", "what is 6*7"),
        (("what is 6*7",), "\n", "what is 6*7"),
        (("--", "-5+47"), "", "-5+47"),
    ],
)
def test_what_is_piped_in_follows_the_text(ask, arguments, text, asked):
    assert ask(*arguments, text=text).stdout.endswith("42\n")
    assert ask("--session", "other", "-", text="/model offline").returncode == 0
    assert asked_last(ask) == asked


def asked_last(ask):
    shown = json.loads(ask(command=("sessions", "show", "console:main:1", "--json")).stdout)
    return [each["content"] for each in shown["messages"] if each["role"] == "user"][-1]


def test_a_file_is_piped_in_as_well(ask, tmp_path):
    (tmp_path / "sum.txt").write_text("6*7\n")
    with (tmp_path / "sum.txt").open() as file:
        assert ask("what is", stdin=file).stdout == "6*7 = 42\n"


def test_a_question_that_begins_with_a_dash_gets_a_hint(ask):
    done = ask("-5+3")
    assert done.returncode == 2
    assert "famulus ask -- -5+3" in done.stderr


@pytest.mark.parametrize("arguments", [("-",), ("what is this?",)])
def test_text_in_another_encoding_is_told_where_it_is(ask, arguments):
    done = ask(*arguments, text="ok\ncaf\xe9".encode("latin-1"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"not UTF-8 text: byte 0xe9 in line 2" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_pipe_that_nobody_closes_is_told(ask):
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as feed:
        process = ask("what is", stdin=reading, start=True)
        assert process.stderr.readline().startswith("Waiting for text on standard input.")
        feed.write("6*7")
        feed.close()
        assert process.communicate(timeout=60) == ("6*7 = 42\n", "")
