import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from famulus.cli.program import run

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
    for variable in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(variable)
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[server]\nhost = "0.0.0.0"', "2: server.host is 0.0.0.0, which others can reach"),
        ('[storage]\nurl = "mysql://x"', "2: storage.url must be sqlite:///famulus.db"),
        ('[cost]\ntimezone = "Mars"', "2: cost.timezone is 'Mars', which is no time zone"),
        ('[cost.limits."dog:rex"]\ndaily_limit_usd = 1', '1: cost.limits."dog:rex" is for nobody'),
        ('[providers.x]\ntype = "antropic"', '2: providers.x.type is "antropic", which is no'),
        (
            '[models.big]\nprovider = "opnai"\nid = "x"',
            '1: models.big.provider is "opnai", which is not a [providers] section. Did you mean',
        ),
        ('[agent]\nmodel = "nonsense"', '2: agent.model: There is no model "nonsense"'),
        (
            '[agent]\nmodel = "openai/gpt-5.5"',
            "2: agent.model: providers.openai.api_key is empty. Set it, or OPENAI_API_KEY",
        ),
        (
            '[agent]\nfallbacks = ["offline",\n"nonsense"]',
            '3: agent.fallbacks[1]: There is no model "nonsense"',
        ),
        ('[agent]\nvision = "nonsense"', '2: agent.vision: There is no model "nonsense"'),
        ('[router]\nsimple = "nonsense"', '2: router.simple: There is no model "nonsense"'),
        ('[router]\ncomplex = "nonsense"', '2: router.complex: There is no model "nonsense"'),
        ('[router]\ntool = "nonsense"', '2: router.tool: There is no model "nonsense"'),
        (
            '[[router.rules]]\nclass = "simple"\npattern = "a"\n'
            '[[router.rules]]\nclass = "simple"\npattern = "("',
            "6: router.rules[1].pattern '(' is not a regular expression",
        ),
        (
            '[transcription]\nmodel = "nonsense"',
            '2: transcription.model: There is no model "nonsense"',
        ),
        ('[cost]\nover_limit = "nonsense"', '2: cost.over_limit: There is no model "nonsense"'),
        (
            '[agent]\ntools_allow = ["calc*", "read_fil"]',
            '2: agent.tools_allow[1]: no tool matches "read_fil". Did you mean read_file?',
        ),
    ],
)
def test_check_finds_what_a_start_would_stop_at(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (folder / "famulus.toml").write_text(text)
    assert run(["--home", "home", "config", "check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"famulus.toml:{said}")
    assert error.count("\n") == 1


def test_check_asks_no_key_of_a_model_that_no_message_goes_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[agent]\nmodel = "offline"\n[models.later]\nprovider = "openai"\nid = "gpt-5.5"\n'
    (folder / "famulus.toml").write_text(text)
    assert run(["--home", "home", "config", "check"]) == 0
    assert capsys.readouterr().out == "famulus.toml is fine\n"


def test_check_names_the_variable_that_is_wrong() -> None:
    done = famulus("config", "check", FAMULUS_AGENT__MODEL="nonsense")
    assert done.stderr.startswith('FAMULUS_AGENT__MODEL: agent.model: There is no model "nonsense"')


def test_check_prints_json(folder: Path) -> None:
    (folder / "famulus.toml").write_text('[agent]\nmodel = "offline"')
    done = famulus("config", "check", "--json")
    assert json.loads(done.stdout) == {"ok": True, "path": "famulus.toml", "error": None}
    assert done.returncode == 0
    for text in ('[agent]\nmodel = "nonsense"', "[agent]\nmodle = 1"):
        (folder / "famulus.toml").write_text(text)
        done = famulus("config", "check", "--json", "--config", "famulus.toml")
        said = json.loads(done.stdout)
        assert (done.returncode, said["ok"], said["path"]) == (1, False, "famulus.toml")
        assert said["error"].startswith("famulus.toml:2: agent.mod")


def test_a_provider_of_an_unknown_type_stops_the_start(folder: Path) -> None:
    (folder / "famulus.toml").write_text('[providers.x]\ntype = "antropic"')
    done = famulus("ask", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('providers.x.type is "antropic", which is no type of provider.')
    assert done.stderr.count("\n") == 1
