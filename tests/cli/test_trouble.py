"""Everyday trouble is one clear line, whatever the command: no traceback, no internal error."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest

from famulus.cli.trouble import sentence

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


@pytest.fixture
def famulus(tmp_path):
    """Runs it in a home of its own and gives exit code, standard output and standard error."""
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments, before=(), redirect="", env=None, **options):
        words = [*before, sys.executable, "-m", "famulus", *arguments]
        shell = ["sh", "-c", f'exec "$@" {redirect}', "sh", *words] if redirect else words
        done = subprocess.run(
            shell,
            **{"stdin": subprocess.DEVNULL, "timeout": 60, **options},
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "FAMULUS_HOME": str(home),
                "FAMULUS_AGENT__MODEL": "offline",
                **(env or {}),
            },
        )
        assert b"Traceback" not in done.stderr
        assert b"internal error" not in done.stderr
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    run.home = home
    return run


def bubblewrap(*options):
    """The words that run a program with another view of the disk."""
    words = [shutil.which("bwrap") or "bwrap", "--dev-bind", "/", "/", *map(str, options)]
    try:
        works = subprocess.run([*words, "true"], check=False).returncode == 0
    except OSError:
        works = False
    if not works:
        pytest.skip("bubblewrap does not work here")
    return words


def without_privileges():
    """As root nothing is forbidden, so that is given up before the program starts."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def one_line(said):
    return len(said.splitlines()) == 1


def test_a_home_that_is_read_only(famulus):
    assert famulus("ask", "2+2")[0] == 0
    shutil.rmtree(famulus.home / "workspace")
    before = bubblewrap("--ro-bind", famulus.home, famulus.home)
    code, out, errors = famulus("ask", "2+2", before=before)
    assert (code, out) == (1, "")
    assert f"{famulus.home}/workspace cannot be used: its file system is read-only." in errors
    assert one_line(errors)


@pytest.mark.parametrize("size", [10_000, 30_000, 200_000])
def test_a_full_disk(famulus, size):
    before = bubblewrap("--size", size, "--tmpfs", famulus.home)
    code, out, errors = famulus("ask", "2+2", before=before)
    assert (code, out) == (1, "")
    assert "space" in errors
    assert one_line(errors)


def test_a_disk_without_room_for_a_byte_is_named(famulus, small_disk):
    home = small_disk("1m")
    assert famulus("--home", home, "ask", "2+2")[0] == 0
    with (home / "fill").open("wb", buffering=0) as fill, suppress(OSError):
        while True:
            fill.write(bytes(4096))
    code, out, errors = famulus("--home", home, "ask", "2+2")
    assert (code, out) == (1, "")
    assert f"{home}/famulus.db.lock cannot be used: no space is left" in errors
    assert one_line(errors)


@pytest.mark.parametrize("name", ["workspace", "workspace/AGENTS.md", "famulus.db"])
def test_what_may_not_be_read(famulus, name):
    assert famulus("ask", "2+2")[0] == 0
    (famulus.home / name).chmod(0)
    try:
        code, out, errors = famulus("ask", "2+2", preexec_fn=without_privileges)
    finally:
        (famulus.home / name).chmod(0o700)
    assert (code, out) == (1, "")
    assert str(famulus.home / name) in errors
    assert "permission denied" in errors.lower()
    assert one_line(errors)


@pytest.mark.parametrize("arguments", [("ask", "2+2"), ("ask", "--json", "2+2"), ("--help",)])
def test_an_output_that_cannot_be_written(famulus, arguments):
    code, _, errors = famulus(*arguments, redirect=">/dev/full")
    assert code == 1
    assert errors.startswith("The output cannot be used: no space is left")
    assert one_line(errors)


def test_an_output_that_was_closed(famulus):
    code, _, errors = famulus("ask", "2+2", redirect=">&-")
    assert (code, errors) == (1, "The output cannot be written: Bad file descriptor.\n")
    # Nothing was written into a file that took the place of the stream.
    assert json.loads(famulus("sessions", "list", "--json")[1])["sessions"]


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&-"])
def test_an_answer_needs_no_other_stream(famulus, redirect):
    assert famulus("ask", "2+2", redirect=redirect)[:2] == (0, "2+2 = 4\n")


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_a_failure_that_nobody_can_be_told_is_still_a_failure(famulus, redirect):
    assert famulus("ask", "--model", "nosuch", "2+2", redirect=redirect) == (1, "", "")


@pytest.mark.parametrize(
    "arguments",
    [("ask",), ("sessions", "show"), ("sessions", "rename", "console:main")],
)
def test_an_argument_that_is_no_text(famulus, arguments):
    famulus("ask", "2+2")
    code, out, errors = famulus(*arguments, b"caf\xe9")
    assert (code, out) == (1, "")
    assert one_line(errors)


@pytest.mark.parametrize(
    "env",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}],
)
def test_a_terminal_that_lacks_a_character(famulus, env):
    code, out, errors = famulus("status", env=env)
    assert (code, errors) == (0, "")
    assert "calculator" in out
    code, out, _ = famulus("ask", "--json", "was ist 2+2? größer → ∞", env=env)
    assert code == 0
    assert json.loads(out)["reply"]


def test_an_error_that_is_ours_still_says_so():
    assert sentence(KeyError("x")) == ""
    assert sentence(OSError("no number")) == ""
