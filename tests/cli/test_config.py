import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SECRET = "sk-very-secret"
FILE = """\
[server]
port = 1
password = "sk-very-secret"
[providers.x]
api_key = "${KEY}"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def famulus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "famulus", *arguments],
        env={"PATH": os.environ["PATH"], "FAMULUS_HOME": "home"} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_check_says_that_the_file_is_fine(folder: Path) -> None:
    (folder / "famulus.toml").write_text(FILE)
    done = famulus("config", "check", KEY="k")
    assert (done.returncode, done.stdout, done.stderr) == (0, "famulus.toml is fine\n", "")


def test_check_says_that_there_is_no_file_and_makes_no_folder(folder: Path) -> None:
    done = famulus("config", "check")
    assert done.stdout == "no configuration file; defaults are used\n"
    assert list(folder.iterdir()) == []


def test_check_fails_with_one_line_that_says_where_and_what(folder: Path) -> None:
    (folder / "famulus.toml").write_text(FILE)
    done = famulus("config", "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("famulus.toml:5: providers.x.api_key refers to ${KEY}, which")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("config", "show"), ("config", "show", "--json")])
def test_show_prints_what_is_in_force_without_secrets(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    (folder / "famulus.toml").write_text(FILE)
    done = famulus(*arguments, KEY=SECRET, FAMULUS_SERVER__PORT="2")
    shown = json.loads(done.stdout) if "--json" in arguments else tomllib.loads(done.stdout)
    assert shown["server"] == shown["server"] | {"port": 2, "password": "***"}
    assert shown["providers"]["x"]["api_key"] == "***"
    assert SECRET not in done.stdout + done.stderr


def test_the_printed_example_is_a_configuration(folder: Path) -> None:
    (folder / "my.toml").write_text(famulus("config", "example").stdout)
    assert famulus("config", "check", "--config", "my.toml").stdout == "my.toml is fine\n"


def test_schema_prints_json() -> None:
    assert "server" in json.loads(famulus("config", "schema").stdout)["properties"]
