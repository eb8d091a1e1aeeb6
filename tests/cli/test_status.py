"""`famulus status`: what is set up, and why something is missing."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner

from famulus.cli.status import command
from famulus.core import plugins
from famulus.core.settings import Section


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    return tmp_path


def status(*arguments):
    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_json_has_what_programs_rely_on(home):
    shown = json.loads(status("--json"))
    assert shown["version"]
    assert shown["home"] == str(home)
    assert shown["config"] == ""
    assert shown["database"] == str(home / "famulus.db")
    assert shown["gateway"] == {"running": False, "url": "", "state": ""}
    assert shown["models"] == ["offline"]
    assert shown["channels"] == ["console", "web"]
    tools = {tool["name"]: tool for tool in shown["tools"]}
    assert tools["calculator"] == {"name": "calculator", "available": True, "reason": ""}
    assert not (home / "famulus.db").exists()


class Ollama(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"models": [{"name": "llama3.2"}]}')

    def log_message(self, *_):
        pass


@pytest.fixture
def ollama(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Ollama) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


def test_a_key_and_an_ollama_share_the_work(home, ollama, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    shown = status()
    assert "models    openai/gpt-5.5 (openai/gpt-5.5)" in shown
    assert "simple    messages go to ollama/llama3.2" in shown
    assert json.loads(status("--json"))["simple"] == "ollama/llama3.2"
    (home / "famulus.toml").write_text("[router]\npair = false\n")
    assert json.loads(status("--json"))["simple"] == ""
    (home / "famulus.toml").write_text('[agent]\nmodel = "openai/gpt-5.5"\n')
    assert json.loads(status("--json"))["simple"] == "", "whoever names a model has chosen"


def test_a_tool_that_cannot_work_here_says_why(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.setattr("famulus.policy.sandbox.inside_container", lambda: False)
    shown = json.loads(status("--json"))
    (shell,) = (tool for tool in shown["tools"] if tool["name"] == "shell")
    assert not shell["available"]
    assert "apt install bubblewrap" in shell["reason"]
    assert "✗ shell  not offered: bubblewrap is not installed" in status()


def test_what_is_switched_off_names_its_setting(home):
    (home / "famulus.toml").write_text("[tools.files]\nenabled = false\n")
    assert "✗ read_file  not offered: tools.files.enabled is false." in status()


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('tools_deny = ["calc*"]', "agent.tools_deny names it."),
        ('tools_allow = ["read_file"]', "agent.tools_allow does not name it."),
    ],
)
def test_a_tool_that_is_forbidden_says_by_what(home, setting, reason):
    (home / "famulus.toml").write_text(f"[agent]\n{setting}\n")
    tools = {tool["name"]: tool for tool in json.loads(status("--json"))["tools"]}
    assert tools["calculator"] == {"name": "calculator", "available": False, "reason": reason}
    assert tools["read_file"]["available"]


def test_a_channel_that_is_switched_off_is_shown_so(home, monkeypatch):
    class Settings(Section, frozen=True):
        enabled: bool = True

    find = plugins.section
    monkeypatch.setattr(
        plugins, "section", lambda kind, name: Settings if name == "line" else find(kind, name)
    )
    (home / "famulus.toml").write_text("[channels.line]\nenabled = false\n")
    shown = json.loads(status("--json"))
    assert (shown["channels"], shown["channels_off"]) == (["console", "web"], ["line"])
    assert "console, web, line (off: channels.line.enabled is false)" in status()


@pytest.mark.parametrize(
    ("setting", "name", "words"),
    [
        ('sandbox = "none"', "none", "can do all that you can"),
        ("enabled = false", "", "Commands are not offered."),
    ],
)
def test_what_contains_commands_is_shown(home, setting, name, words):
    (home / "famulus.toml").write_text(f"[tools.shell]\n{setting}\n")
    assert json.loads(status("--json"))["sandbox"] == name
    assert words in status()


def test_a_broken_configuration_hides_nothing_else(home):
    (home / "famulus.toml").write_text("[agent]\nnmae = 'x'\n")
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert f"home      {home}" in result.stdout
    assert "gateway   not running" in result.stdout
    assert result.stderr == "famulus.toml:2: agent.nmae is not a setting. Did you mean name?\n"
    shown = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert shown["gateway"] == {"running": False, "url": "", "state": ""}
    assert "agent.nmae" in shown["error"]


def test_no_password_is_shown(home):
    (home / "famulus.toml").write_text('[storage]\nurl = "postgresql://me:hush@db.example/x"\n')
    shown = status()
    assert "postgresql://db.example/x" in shown
    assert "hush" not in shown
