"""Every page says what is true: links lead somewhere, names exist, examples run."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from famulus.cli.program import COMMANDS, program
from famulus.core.loading import load
from famulus.core.plugins import own_names
from famulus.gateway.commands import COMMANDS as SLASH_COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^( *)```(\w*)[ ]?(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SERVE_SECONDS = 30


def name(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, *languages):
    """(file name or nothing, text) of each fenced block in one of `languages`."""
    for indent, language, file, text in FENCE.findall(page.read_text("utf-8")):
        if language in languages:
            yield file, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def anchors(page):
    """The fragments of a page's headings, as GitHub makes them."""
    prose = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_inside_the_repository_leads_somewhere(page):
    prose = FENCE.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


def command_lines(page):
    """What follows `famulus` in inline code, in shell blocks and after a prompt."""
    text = page.read_text("utf-8")
    prose = FENCE.sub("", text)
    yield from re.findall(r"`famulus ([^`]+)`", prose)
    for _, shell in blocks(page, "sh", "console"):
        for line in shell.splitlines():
            yield from re.findall(r"(?:^|\$ |\(|\| )famulus ([^#|>)]+)", line)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_famulus_command_and_option_on_a_page_exists(page):
    for line in command_lines(page):
        words = shlex.split(line)
        if words[0].startswith("-") or words[0].isupper():
            continue
        assert words[0] in COMMANDS, line
        command = program.get_command(click.Context(program), words[0])
        if isinstance(command, click.Group) and words[1:]:
            assert words[1] in command.commands, line
            command = command.commands[words[1]]
        known = {option for each in command.params for option in each.opts}
        given = {word for word in words[1:] if re.fullmatch(r"--[a-z-]+", word)}
        assert given <= known | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_configuration_on_a_page_loads(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "famulus.toml"
    for file, text in blocks(page, "toml"):
        if file or "[project." in text or "[channels.line]" in text:
            continue  # a package's own file, or the example channel, which its own test installs
        path.write_text(text)
        variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "value")
        assert load(home=tmp_path, config=path, environment=variables).config


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_variable_of_a_setting_on_a_page_sets_it(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable, value in re.findall(r"\b(FAMULUS_[A-Z_]+__[A-Z_]+)=(\w+)", page.read_text()):
        assert load(home=tmp_path, config=None, environment={variable: value}).config


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_and_test_path_on_a_page_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    for _, shell in blocks(page, "sh", "console"):
        for target in re.findall(r"\bmake (\w+)", shell):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for line in re.findall(r"\bpytest ((?:[\w/.]+ ?)+)", page.read_text("utf-8")):
        for path in (word for word in line.split() if "/" in word and word.startswith("tests")):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_python_program_on_a_page_compiles(page):
    for file, text in blocks(page, "python"):
        compile(text, f"{page.name}:{file}", "exec")


def test_the_walk_of_a_message_names_functions_that_are_there():
    rows = re.findall(r"`([\w/]+\.py)` `(\w+)`", (ROOT / "docs/architecture.md").read_text())
    assert len(rows) > 10
    for path, function in rows:
        source = (ROOT / "src/famulus" / path).read_text()
        assert re.search(rf"^ *(async )?def {function}\(", source, re.MULTILINE), (path, function)


def test_the_rooms_of_the_page_are_those_of_the_sources():
    page = next(blocks(ROOT / "docs/architecture.md", ""))[1]
    named = set(re.findall(r"^([a-z.]+(?:  [a-z]+)*)(?:  |$)", page, re.MULTILINE))
    rooms = {path.parent.name for path in ROOT.glob("src/famulus/*/__init__.py")} | {"web"}
    rooms |= {path.name for path in ROOT.glob("src/famulus/[a-z]*.py")}
    assert {room for line in named for room in line.split()} == rooms


def test_the_terminals_page_names_every_command_and_every_slash_command():
    page = (ROOT / "docs/terminal.md").read_text()
    elsewhere = {"serve", "config"}  # on pages of their own
    assert {each for each in COMMANDS if f"famulus {each}" not in page} <= elsewhere
    assert [each.usage for each in SLASH_COMMANDS if f"`/{each.usage}`" not in page] == []


def test_the_security_page_speaks_of_every_tool():
    page = (ROOT / "docs/security.md").read_text()
    spoken = set(re.findall(r"`(\w+)`", page)) | {
        "edit_file", "find_in_files", "list_files", "read_file", "write_file",
    }  # fmt: skip
    assert set(own_names("tools")) <= spoken


# ------------------------------------------------------------ what is run


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """`famulus serve` with the offline model: its URL, and the environment of its home."""
    home = tmp_path_factory.mktemp("home")
    (home / "notes.txt").write_text("buy milk\n")
    bin_ = Path(sys.executable).parent
    environment = {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "HOME": str(home),
        "FAMULUS_HOME": str(home),
        "FAMULUS_SERVER__PORT": "0",
        "FAMULUS_AGENT__MODEL": "offline",
        "FAMULUS_LOGGING__LEVEL": "error",
    }
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "famulus", "serve"],
        cwd=home, env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            ready = process.stdout.readline()
            yield re.search(r"http://\S+", ready)[0], environment
        finally:
            process.terminate()
            process.communicate(timeout=SERVE_SECONDS)


def run(script, environment, *interpreter):
    ran = subprocess.run(
        [*interpreter, script],
        cwd=environment["HOME"], env=environment, capture_output=True, text=True,
        timeout=SERVE_SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.xdist_group("docs-gateway")
@pytest.mark.skipif(not shutil.which("curl"), reason="the page's examples use curl")
def test_the_curl_examples_work(gateway):
    url, environment = gateway
    shell = [text for _, text in blocks(ROOT / "docs/api.md", "sh")]
    script = "set -eu\n" + "\n".join(shell).replace("http://127.0.0.1:19876", url)
    answers = run(script, environment, "bash", "-c")
    assert '"reply":"17*23 = 391"' in answers
    assert '"session_id":"web:scripts:1"' in answers
    assert '"message_id":"sum-1"' in answers
    assert answers.count('"turn_id":') >= 4


@pytest.mark.xdist_group("docs-gateway")
def test_the_websocket_client_works_and_prints_what_the_page_says(gateway, tmp_path):
    url, environment = gateway
    ((file, code),) = blocks(ROOT / "docs/api.md", "python")
    token = run("famulus tokens create websocket", environment, "bash", "-c").strip()
    (tmp_path / file).write_text(code)
    said = run(
        str(tmp_path / file), environment | {"FAMULUS_URL": url, "FAMULUS_TOKEN": token},
        sys.executable,
    )  # fmt: skip
    assert said in [text for _, text in blocks(ROOT / "docs/api.md", "")]


@pytest.mark.xdist_group("docs-gateway")
@pytest.mark.parametrize("page", ["README.md", "docs/terminal.md"])
def test_the_terminals_examples_print_what_the_page_says(gateway, page):
    _, environment = gateway
    for _, text in blocks(ROOT / page, "console"):
        for line, expected in re.findall(r"^\$ (.*)\n((?:[^$].*\n?)*)", text, re.MULTILINE):
            assert run(line, environment, "bash", "-c") == expected


@pytest.mark.xdist_group("docs-gateway")
def test_what_the_readme_says_to_the_offline_model_is_understood(gateway):
    _, environment = gateway
    rows = re.findall(r"^\| (`.+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    said = [each for row in rows for each in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    said = [each for each in said if not each.isupper() and "_API_KEY" not in each]
    assert len(said) >= 6
    for each in said:
        answer = run(f"famulus ask {shlex.quote(each)}", environment, "bash", "-c")
        assert answer.strip()
        assert "do not understand" not in answer


def test_the_program_on_the_page_of_decisions_prints_its_figures(tmp_path):
    ((file, code),) = blocks(ROOT / "docs/decisions.md", "python")
    (tmp_path / file).write_text(code)
    said = run(str(tmp_path / file), {**os.environ, "HOME": str(tmp_path)}, sys.executable)
    assert re.fullmatch(r"1 [\d.]+ ms\n64 [\d.]+ ms\n", said)


def texts(source):
    """What a source file says somewhere: its strings and docstrings, as (line, text)."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "X" for each in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


SOURCES = sorted((ROOT / "src" / "famulus").rglob("*.py"))


def test_every_famulus_command_that_the_program_names_exists():
    wrong = []
    for source in SOURCES:
        for line, text in texts(source):
            for name, second in re.findall(r"\bfamulus ([a-z]+)(?: ([a-z]+))?", text):
                command = program.get_command(click.Context(program), name)
                if name == "import" or (isinstance(command, click.Group) and not second):
                    continue  # Python's, or the group as such
                if command is None or (
                    isinstance(command, click.Group) and second not in command.commands
                ):
                    wrong.append(f"{source.name}:{line}: famulus {name} {second}")
    assert not wrong
