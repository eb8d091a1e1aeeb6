"""`famulus tokens` and `famulus login`."""

import json
import os
import socket
import threading

import pytest
from click.testing import CliRunner

from famulus.cli.program import run
from famulus.cli.tokens import command


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def famulus(*arguments):
    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_token_is_shown_once_and_listed_by_name(home):
    token = famulus("create", "script").strip()
    assert len(token) > 40
    listed = famulus("list", "--json")
    assert token not in listed
    (entry,) = json.loads(listed)["tokens"]
    assert (entry["name"], entry["used"]) == ("script", None)
    assert "script" in famulus("list")


def test_a_token_can_be_printed_as_json(home):
    assert json.loads(famulus("create", "script", "--json")).keys() == {"name", "token"}


def test_a_name_is_used_once_and_freed_by_removing(home, capsys):
    famulus("create", "script")
    assert run(["tokens", "create", "script"]) == 1
    assert "tokens remove script" in capsys.readouterr().err
    famulus("remove", "script")
    famulus("create", "script")
    assert run(["tokens", "remove", "other"]) == 1


def test_login_without_a_gateway_says_how_to_start_one(home, capsys):
    assert run(["login"]) == 1
    assert "famulus serve" in capsys.readouterr().err


def test_login_at_a_gateway_that_does_not_answer_says_so(home, capsys):
    def hang_up(listening):
        # The first caller looks whether anyone listens, the second one asks.
        for _ in range(2):
            listening.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=hang_up, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        gateway = {"pid": os.getpid(), "url": url, "token": "t"}
        (home / "gateway.json").write_text(json.dumps(gateway), "utf-8")
        assert run(["login"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_file_that_a_crash_left_is_no_gateway(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    gateway = {"pid": os.getpid(), "url": url, "token": "t"}
    (home / "gateway.json").write_text(json.dumps(gateway), "utf-8")
    assert run(["login"]) == 1
    assert "is not running" in capsys.readouterr().err
