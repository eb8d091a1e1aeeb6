import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from famulus.cli.route import command

CONFIG = """
[router]
simple = "ollama/llama3.2"
complex = "anthropic/claude-x"
tool = "openai/gpt-5.5"
[[router.rules]]
class = "local"
pattern = "#private"
"""


def route(tmp_path: Path, text: str, *options: str, stdin: str = "", config: str = CONFIG) -> str:
    (tmp_path / "famulus.toml").write_text(config, "utf-8")
    environment = {"FAMULUS_HOME": str(tmp_path), "ANTHROPIC_API_KEY": "k"}
    arguments = ["--config", str(tmp_path / "famulus.toml"), *options, "--", text]
    result = CliRunner().invoke(command, arguments, input=stdin, env=environment)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("text", "class_", "model"),
    [
        ("hello", "simple", "ollama/llama3.2"),
        ("explain TCP", "complex", "anthropic/claude-x"),
        ("list my files", "tool", "openai/gpt-5.5"),
        ("explain TCP #private", "complex", "ollama/llama3.2"),
    ],
)
def test_decision_is_one_json_object(tmp_path: Path, text: str, class_: str, model: str) -> None:
    answer = json.loads(route(tmp_path, text, "--json"))
    assert list(answer) == ["class", "model", "score", "reasons"]
    assert (answer["class"], answer["model"]) == (class_, model)
    assert answer["score"] > 0
    assert answer["reasons"]


def test_people_read_the_reasons_below_the_decision(tmp_path: Path) -> None:
    lines = route(tmp_path, "hello").splitlines()
    assert lines == ["simple → ollama/llama3.2 (score 10)", "  greeting → simple 10"]


def test_text_may_come_from_standard_input(tmp_path: Path) -> None:
    assert route(tmp_path, "-", stdin="你好\n").startswith("simple → ollama/llama3.2")


def test_without_a_router_the_one_model_is_named(tmp_path: Path) -> None:
    answer = json.loads(route(tmp_path, "hello", "--json", config=""))
    assert answer["model"] == "anthropic/claude-sonnet-5-5"
    assert "router.simple is not set" in answer["reasons"][-1]
