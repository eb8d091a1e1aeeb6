import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from famulus.cli.route import command
from famulus.core.errors import ConfigError

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
    assert lines == ["simple → ollama/llama3.2 (score 20)", "  small talk → simple 20"]


def test_text_may_come_from_standard_input(tmp_path: Path) -> None:
    assert route(tmp_path, "-", stdin="你好\n").startswith("simple → ollama/llama3.2")


def test_without_a_router_the_one_model_is_named(tmp_path: Path) -> None:
    answer = json.loads(route(tmp_path, "hello", "--json", config=""))
    assert answer["model"] == "anthropic/claude-sonnet-5-5"
    assert "router.simple is not set" in answer["reasons"][-1]


def labelled(tmp_path: Path, lines: str, config: str = CONFIG) -> Result:
    (tmp_path / "famulus.toml").write_text(config, "utf-8")
    (tmp_path / "mine.jsonl").write_text(lines, "utf-8")
    environment = {"FAMULUS_HOME": str(tmp_path), "ANTHROPIC_API_KEY": "k"}
    arguments = ["--config", f"{tmp_path}/famulus.toml", "--labelled", f"{tmp_path}/mine.jsonl"]
    return CliRunner().invoke(command, arguments, env=environment)


def test_rules_are_measured_on_a_labelled_file(tmp_path: Path) -> None:
    lines = """{"text": "hello", "class": "simple", "lang": "en"}
{"text": "explain TCP", "class": "complex", "lang": "en"}
{"text": "hallo", "class": "complex", "lang": "de"}
{"text": "explain it", "class": "simple", "lang": "de"}
"""
    result = labelled(tmp_path, lines)
    assert result.exit_code == 0, result.output
    rows = result.output.splitlines()
    assert rows[2:5] == [
        "| en | 1 · 0 · 0 | 0 · 1 · 0 | 0 · 0 · 0 | 0 of 1 (0.0 %) | 1 of 1 (100.0 %) |",
        "| de | 0 · 1 · 0 | 1 · 0 · 0 | 0 · 0 · 0 | 1 of 1 (100.0 %) | 0 of 1 (0.0 %) |",
        "| together | 1 · 1 · 0 | 1 · 1 · 0 | 0 · 0 · 0 | 1 of 2 (50.0 %) | 1 of 2 (50.0 %) |",
    ]
    assert "µs at the median" in rows[-1]


def test_wrong_line_of_a_labelled_file_is_named(tmp_path: Path) -> None:
    result = labelled(tmp_path, '{"text": "a", "class": "simple"}\n{"text": "a"}\n')
    assert isinstance(result.exception, ConfigError)
    assert "mine.jsonl, line 2: Object missing required field `class`" in str(result.exception)


def test_shadow_shows_that_the_agents_model_answers(tmp_path: Path) -> None:
    config = "[agent]\nmodel = 'anthropic/claude-y'\n" + CONFIG.replace(
        "[router]", "[router]\nshadow = true"
    )
    answer = json.loads(route(tmp_path, "hello", "--json", config=config))
    assert (answer["class"], answer["model"]) == ("simple", "anthropic/claude-y")
