"""`famulus ask` without a gateway."""

import io
import json
from datetime import UTC, datetime

import pytest

from famulus.cli.program import run


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path))
    monkeypatch.setenv("FAMULUS_AGENT__MODEL", "offline")
    monkeypatch.chdir(tmp_path)

    def run_ask(*arguments):
        code = run(["ask", *arguments])
        return code, capsys.readouterr()

    return run_ask


def test_what_is_no_conversation_at_all_is_refused(ask):
    code, said = ask("hello", "--session", "a::b")
    assert code == 1
    assert said.err.startswith("'a::b' is not a session")


@pytest.mark.parametrize("session", ["web:main:1", "telegram:1"])
def test_a_conversation_of_another_channel_is_refused_instead_of_waiting_for_ever(ask, session):
    code, said = ask("hello", "--session", session)
    assert code == 1
    assert said.err.startswith(f"{session} is not a conversation of the terminal.")


@pytest.mark.parametrize(
    ("session", "key"),
    [
        ("", "console:main:1"),
        ("kitchen", "console:main:kitchen"),
        ("console:kitchen", "console:kitchen:1"),
        ("console:kitchen:7", "console:kitchen:7"),
    ],
)
def test_a_conversation_of_the_terminal_is_named_in_full_or_in_part(ask, session, key):
    code, said = ask("what is 2+3", "--json", *(["--session", session] if session else []))
    assert code == 0
    answer = json.loads(said.out)
    assert answer["reply"] == "2+3 = 5"
    assert answer["session_id"] == key


def test_a_piped_question_is_stored_without_the_end_of_its_line(ask, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"what is\n2+3\r\n\n")))
    code, said = ask("-", "--json")
    assert code == 0
    session = json.loads(said.out)["session_id"]
    assert run(["sessions", "show", session, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["messages"]
    assert shown[0]["content"] == "what is\n2+3"


def test_a_question_shows_when_it_came_and_an_answer_when_it_was_made(ask, capsys):
    before = datetime.now(UTC)
    _, said = ask("what is 2+3", "--json")
    session = json.loads(said.out)["session_id"]
    assert run(["sessions", "show", session, "--json"]) == 0
    question, answer = json.loads(capsys.readouterr().out)["messages"]
    times = [datetime.fromisoformat(each["time"]) for each in (question, answer)]
    assert before <= times[0] < times[1] <= datetime.now(UTC)
