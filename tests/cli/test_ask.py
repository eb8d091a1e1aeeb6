"""`famulus ask` as a program: arguments, pipes, exit codes, and the shape of its JSON."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def ask(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "FAMULUS_HOME": str(tmp_path / "home"),
        "OLLAMA_HOST": "127.0.0.1:1",
    }

    def run(*arguments, text=None):
        return subprocess.run(
            [sys.executable, "-m", "famulus", "ask", *arguments],
            input=text,
            capture_output=True,
            check=False,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=60,
        )

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
        ((), None, 2, "Missing argument"),
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
    (tmp_path / "famulus.toml").write_text(
        '[providers.dead]\ntype = "openai"\nbase_url = "http://127.0.0.1:1"\napi_key = "k"\n'
        '[agent]\nmodel = "dead/x"\n'
    )
    shown = json.loads(ask("--json", "hello").stdout)
    assert "could not get an answer" in shown["reply"]
    assert shown["failed"] is True
