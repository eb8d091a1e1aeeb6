import json
import os
import socket
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
        (
            '[cost.limits."channel:wbe"]\ndaily_limit_usd = 1',
            '1: cost.limits."channel:wbe": there is no channel "wbe", so this limit would never '
            "hold. Did you mean web?",
        ),
        (
            '[cost.limits."agent:famulsu"]\ndaily_limit_usd = 1',
            '1: cost.limits."agent:famulsu": there is no agent "famulsu", so this limit would never'
            " hold. Did you mean famulus?",
        ),
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
        ('[agent]\ntools_deny = ["shel"]', '2: agent.tools_deny[0]: no tool matches "shel"'),
        (
            '[router]\nlocal_tools = ["calculater"]',
            '2: router.local_tools[0]: no tool matches "calculater". Did you mean calculator?',
        ),
        (
            '[models.a]\nprovider = "offline"\nid = "a"\ntools = ["x_*"]',
            '4: models.a.tools[0]: no tool matches "x_*"',
        ),
        ('[agent]\nprompts = "nope"', "2: agent.prompts: cannot read"),
        ('[server]\nhost = "no.such.invalid"\npassword = "x"', "2: server.host is no.such.invalid"),
        (
            '[server]\nhost = "192.0.2.1"\npassword = "x"',
            "2: server.host is 192.0.2.1, which is no address of this machine",
        ),
        ('[server]\npassword = "$argon2bogus"', "2: server.password begins like an argon2 hash"),
        ('[server]\npublic_url = "not a url"', "2: server.public_url is no web address"),
        ('[providers.x]\napi_key = "enc:abcdef"', "2: providers.x.api_key is sealed (enc:…)"),
        ('[providers.x]\nbase_url = "htp://foo"', "2: providers.x.base_url is no address of an"),
        ("[agent]\nturn_timeout = 0", "2: agent.turn_timeout must be a duration"),
        ("[agent]\ntool_timeout = 0", "2: agent.tool_timeout must be a duration"),
        ("[tools.shell]\ntimeout = 0", "2: tools.shell.timeout must be a duration"),
        ("[limits]\nmessage = 0", "2: limits.message must be a size"),
        ("[limits]\nbody = 1", "2: limits.body must be a size"),
        ("[limits]\nframe = 0", "2: limits.frame must be a size"),
        ('[limits]\nupload = "30MB"', "2: limits.upload is larger than limits.body, so no file"),
        (
            '[limits]\nmessage = "2MB"',
            "2: limits.message is larger than limits.frame, so the web chat could not send",
        ),
        ('[limits]\n\nframe = "4KiB"', "3: limits.frame: limits.message is larger than"),
        (
            '[tools.current_datetime]\ntimezone = "Mars/Base"',
            "2: tools.current_datetime.timezone is 'Mars/Base', which is no time zone",
        ),
        ('[tools.web]\nallow_hosts = ["foo"]', "2: tools.web.allow_hosts[0] is 'foo', but must be"),
        (
            '[storage]\nurl = "sqlite:////no/such/f.db"',
            "2: storage.url: the folder /no/such is not",
        ),
        ('[storage]\nurl = "sqlite:////tmp"', "2: storage.url: names a folder"),
        (
            '[server]\ntrust_loopback = true\n[tools.shell]\nnetwork = "host"',
            "2: server.trust_loopback lets in every program of this machine, and with",
        ),
        ("[channels.web]\nenabled = false", "2: channels.web.enabled is not a setting"),
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
    said = {"ok": True, "path": "famulus.toml", "error": None, "warnings": []}
    assert json.loads(done.stdout) == said
    assert done.returncode == 0
    for text in ('[agent]\nmodel = "nonsense"', "[agent]\nmodle = 1"):
        (folder / "famulus.toml").write_text(text)
        done = famulus("config", "check", "--json", "--config", "famulus.toml")
        said = json.loads(done.stdout)
        assert (done.returncode, said["ok"], said["path"]) == (1, False, "famulus.toml")
        assert said["error"].startswith("famulus.toml:2: agent.mod")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            '[cost.limits."person:nobody"]\ndaily_limit_usd = 1',
            'famulus.toml:1: cost.limits."person:nobody": nobody of the configuration is the person'
            ' "nobody", so this limit may never hold. Known: owner.',
        ),
        (
            '[cost.limits."person:onwer"]\ndaily_limit_usd = 1',
            'famulus.toml:1: cost.limits."person:onwer": nobody of the configuration is the person'
            ' "onwer", so this limit may never hold. Did you mean owner?',
        ),
        (
            '[cost.limits."job:backup"]\ndaily_limit_usd = 1',
            'famulus.toml:1: cost.limits."job:backup": there are no jobs in this version, so this'
            " limit holds nobody.",
        ),
        (
            '[models.m]\nprovider = "openai"\nid = "m"\ncontext_tokens = 4096\nmax_tokens = 8192\n'
            '[providers.openai]\napi_key = "k"',
            "famulus.toml:1: models.m: answers of 8,192 tokens in a window of 4,096 leave little "
            "for the conversation, so an answer gets only what the prompt leaves. Lower max_tokens,"
            " or raise context_tokens if the window is larger.",
        ),
    ],
)
def test_check_warns_of_what_is_hardly_meant(folder: Path, text: str, warning: str) -> None:
    (folder / "famulus.toml").write_text(f'{text}\n[agent]\nmodel = "offline"')
    done = famulus("config", "check")
    assert (done.returncode, done.stderr) == (0, f"warning: {warning}\n")
    assert done.stdout == "famulus.toml is fine\n"
    assert json.loads(famulus("config", "check", "--json").stdout)["warnings"] == [warning]


def test_check_is_silent_about_a_limit_that_holds(folder: Path) -> None:
    (folder / "famulus.toml").write_text(
        '[cost.limits."person:owner"]\ndaily_limit_usd = 1\n'
        '[cost.limits."channel:console"]\ndaily_limit_usd = 1\n'
        '[cost.limits."agent:jeeves"]\ndaily_limit_usd = 1\n'
        '[agent]\nname = "jeeves"\nmodel = "offline"'
    )
    assert famulus("config", "check").stderr == ""


def test_a_provider_of_an_unknown_type_stops_the_start(folder: Path) -> None:
    (folder / "famulus.toml").write_text('[providers.x]\ntype = "antropic"')
    done = famulus("ask", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        'famulus.toml:2: providers.x.type is "antropic", which is no type of provider.'
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        '[agent]\nmodel = "nonsense"',
        '[agent]\nprompts = "nope"',
        '[agent]\ntools_deny = ["shel"]',
        '[server]\nhost = "no.such.invalid"\npassword = "x"',
        "[limits]\nframe = 0",
    ],
)
def test_a_start_stops_with_the_words_of_the_check(folder: Path, text: str) -> None:
    (folder / "famulus.toml").write_text(text)
    checked, served = famulus("config", "check"), famulus("serve")
    assert (served.returncode, served.stdout) == (1, "")
    assert served.stderr == checked.stderr != ""


def test_ask_stops_with_the_words_of_the_check(folder: Path) -> None:
    (folder / "famulus.toml").write_text('[agent]\nfallbacks = ["nonsense"]')
    assert famulus("ask", "hello").stderr == famulus("config", "check").stderr != ""


def test_a_list_of_ids_is_checked_entry_by_entry(folder: Path) -> None:
    package = folder / "installed" / "gadget-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: gadget\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[famulus.channels]\ngadget = gadget_channel\n")
    (package.parent / "gadget_channel.py").write_text(
        "from famulus.core.settings import Section\n"
        "class Settings(Section, frozen=True):\n    allow: tuple[str, ...] = ()\n"
    )
    text = '[channels.gadget]\nallow = ["12345", "@bob::example.org",\n"@ann:example.org"]'
    (folder / "famulus.toml").write_text(text)
    done = famulus("config", "check", PYTHONPATH=str(package.parent))
    assert done.stderr.startswith(
        "famulus.toml:3: channels.gadget.allow[2]: '@ann:example.org' is no id."
    )


def test_check_calls_fine_what_means_something(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "famulus.toml").write_text(
        '[server]\nhost = "localhost"\npublic_url = "https://famulus.example.org"\n'
        "[limits]\nattachments = 0\nupload = 0\n[engine]\ndrain_timeout = 0\n"
        '[agent]\nmodel = "offline"\ntools_deny = ["shell", "web_*", "use_tool"]\n'
    )
    assert run(["--home", "home", "config", "check"]) == 0
    assert capsys.readouterr().out == "famulus.toml is fine\n"


def test_check_is_fine_while_the_gateways_port_is_in_use(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        (folder / "famulus.toml").write_text(f"server.port = {listening.getsockname()[1]}")
        assert run(["--home", "home", "config", "check"]) == 0
    assert capsys.readouterr().out == "famulus.toml is fine\n"


def test_a_sealed_key_of_the_environment_is_not_taken_for_the_key(folder: Path) -> None:
    for arguments in (("config", "check"), ("serve",), ("ask", "hello")):
        done = famulus(*arguments, OPENAI_API_KEY="enc:abcdef")
        assert done.returncode == 1
        assert done.stderr.startswith("OPENAI_API_KEY is sealed (enc:…), and this version cannot")
        assert "abcdef" not in done.stderr
