"""`famulus sessions`, on a database with two conversations."""

import asyncio
import json
import os
import socket

import pytest
from click.testing import CliRunner

from famulus.cli.program import run
from famulus.cli.sessions import command
from famulus.core.clock import Clock
from famulus.core.messages import Message, Origin, SessionKey, Text
from famulus.state.messages import Messages
from famulus.state.sessions import Sessions
from famulus.store.sqlite import SQLite


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    asyncio.run(_fill(tmp_path))
    return tmp_path


async def _fill(home):
    async with SQLite(home / "famulus.db") as database:
        sessions, messages = Sessions(database, clock=Clock()), Messages(database)
        for chat, text in (("main", "the cat sleeps"), ("work", "a dog barks")):
            key = SessionKey("web", chat, "1")
            await sessions.ensure(key, "owner", title=f"About {chat}")
            await sessions.switch(key)
            said = (
                Message("user", (Text(text, Origin.OWNER),)),
                Message("assistant", (Text(f"yes, {text}", Origin.ASSISTANT),)),
            )
            await database.transaction(
                messages.added(said, session=str(key), person="owner", turn=chat, at=0.0)
            )


def famulus(*arguments):
    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_list_names_every_conversation(home):
    listed = json.loads(famulus("list", "--json"))["sessions"]
    assert {each["session_id"]: each["title"] for each in listed} == {
        "web:main:1": "About main",
        "web:work:1": "About work",
    }
    assert "web:main:1" in famulus("list")


@pytest.mark.parametrize("session", ["web:main:1", "web:main"])
def test_show_prints_the_messages(home, session):
    shown = json.loads(famulus("show", session, "--json"))
    assert [(each["role"], each["content"]) for each in shown["messages"]] == [
        ("user", "the cat sleeps"),
        ("assistant", "yes, the cat sleeps"),
    ]
    assert shown["messages"][0]["time"] == "1970-01-01T00:00:00+00:00"
    assert "the cat sleeps" in famulus("show", session)


def test_search_finds_where_it_was_said(home):
    results = json.loads(famulus("search", "cat", "--json"))["results"]
    assert {each["session_id"] for each in results} == {"web:main:1"}
    assert json.loads(famulus("search", "cat", "--session", "web:work", "--json"))["results"] == []


def test_rename_and_delete_change_it(home):
    famulus("rename", "web:main", "Better")
    assert json.loads(famulus("show", "web:main:1", "--json"))["title"] == "Better"
    famulus("delete", "web:main")
    listed = json.loads(famulus("list", "--json"))["sessions"]
    assert [each["session_id"] for each in listed] == ["web:work:1"]


@pytest.mark.parametrize("session", ["nonsense", "web:nowhere", "web:main:9"])
def test_a_session_that_is_not_there_is_one_line(home, capsys, session):
    assert run(["sessions", "show", session]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_is_deleted_under_a_running_gateway(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        gateway = {"pid": os.getpid(), "url": url, "token": "t"}
        (home / "gateway.json").write_text(json.dumps(gateway), "utf-8")
        assert run(["sessions", "delete", "web:main:1"]) == 1
    assert "/delete" in capsys.readouterr().err
    assert json.loads(famulus("show", "web:main:1", "--json"))["messages"]


def test_times_name_their_zone(home, monkeypatch):
    monkeypatch.setenv("FAMULUS_AGENT__TIMEZONE", "Asia/Tokyo")
    assert " Asia/Tokyo  " in famulus("list")
    assert "user, 1970-01-01 09:00 Asia/Tokyo" in famulus("show", "web:main:1")
    assert json.loads(famulus("show", "web:main:1", "--json"))["messages"][0]["time"] == (
        "1970-01-01T00:00:00+00:00"
    )
