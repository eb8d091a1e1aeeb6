import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import famulus.cli.version
from famulus import __version__
from famulus.cli.options import Options, common
from famulus.cli.program import COMMANDS, run
from famulus.core.errors import ConfigError


def start(*arguments: str, python: tuple[str, ...] = (), **pipes: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *python, "-m", "famulus", *arguments],
        stdout=pipes.get("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
    )


def famulus_runs(*arguments: str, python: tuple[str, ...] = ()) -> tuple[int, str, str]:
    process = start(*arguments, python=python)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


def imported(*arguments: str) -> set[str]:
    """The modules that a run imports."""
    _, _, log = famulus_runs(*arguments, python=("-X", "importtime"))
    lines = [line for line in log.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def command_that(monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    """Put a command that calls `body(options)` in the place of `version`."""
    assert callable(body)

    @click.command()
    @common
    def command(options: Options) -> None:
        body(options)

    monkeypatch.setattr(famulus.cli.version, "command", command)


def test_no_arguments_print_a_help_with_every_command() -> None:
    code, output, errors = famulus_runs()
    assert (code, errors) == (0, "")
    assert all(f"\n  {name} " in output for name in COMMANDS)


@pytest.mark.parametrize("arguments", [("--version",), ("version",), ("--debug", "version")])
def test_the_version_is_printed_in_every_way_to_ask(arguments: tuple[str, ...]) -> None:
    assert famulus_runs(*arguments) == (0, f"famulus {__version__}\n", "")


def test_the_version_is_data_too() -> None:
    assert json.loads(famulus_runs("version", "--json")[1]) == {"version": __version__}


def test_the_version_imports_nothing_and_the_help_no_command() -> None:
    assert not imported("--version") & {"click", "msgspec", "asyncio", "famulus.cli.program"}
    helped = imported("--help")
    assert "famulus.cli.program" in helped
    assert not helped & ({f"famulus.cli.{name}" for name in COMMANDS} | {"asyncio", "msgspec"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("servve",), "There is no command 'servve'. Did you mean serve?"),
        (("zzz",), "There is no command 'zzz'."),
        (("config", "shwo"), "Did you mean 'show'?"),
        (("--hom", "x", "version"), "No such option '--hom'"),
        (("version", "extra"), "Got unexpected extra argument (extra)"),
    ],
)
def test_wrong_usage_is_exit_2_with_the_nearest_name(
    arguments: tuple[str, ...], message: str
) -> None:
    code, output, errors = famulus_runs(*arguments)
    assert (code, output) == (2, "")
    assert message in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("--home", "h", "--config", "c", "--debug", "version"),
        ("version", "--home", "h", "--config", "c", "--debug"),
        ("--home", "other", "--debug", "version", "--config", "c", "--home", "h"),
    ],
)
def test_common_options_stand_before_or_after_the_command_and_the_nearest_wins(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Options] = []
    command_that(monkeypatch, seen.append)
    assert run(list(arguments)) == 0
    assert (seen[0].config, seen[0].debug) == (Path("c"), True)
    assert not (tmp_path / "h").exists()
    assert seen[0].home == tmp_path / "h"
    assert (tmp_path / "h").is_dir()


def raising(error: BaseException) -> object:
    def body(_options: Options) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("x is wrong. Do y."), "x is wrong. Do y.\n"),
        (ExceptionGroup("tasks", [ConfigError("x is wrong.")]), "x is wrong.\n"),
        (
            RuntimeError("two\nlines"),
            "famulus: internal error: RuntimeError: two lines. "
            "Run again with --debug to see where.\n",
        ),
    ],
)
def test_a_failure_is_one_line_and_exit_1(
    error: Exception,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_that(monkeypatch, raising(error))
    assert run(["version"]) == 1
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("arguments", [["--debug", "version"], ["version", "--debug"]])
def test_debug_shows_where_an_error_comes_from(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raising(RuntimeError("boom")))
    assert run(arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("Traceback")
    assert "RuntimeError: boom" in errors


def test_ctrl_c_is_exit_130_without_a_word() -> None:
    program = (
        "import sys, click, famulus.cli, famulus.cli.version as version\n"
        "def wait():\n    print('ready', flush=True)\n    sys.stdin.read()\n"
        "version.command = click.Command('version', callback=wait)\n"
        "sys.argv = ['famulus', '--debug', 'version']\n"
        "sys.exit(famulus.cli.main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("config", "example")])
def test_a_reader_that_has_left_is_no_reason_to_complain(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*arguments, stdout=writing)
    os.close(writing)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 1
