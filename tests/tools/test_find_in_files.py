import pytest

from famulus.core.errors import ToolError
from famulus.core.messages import Origin
from famulus.core.settings import Seconds
from famulus.testing.check_tool import ToolContract, context, services
from famulus.tools import find_in_files

pytestmark = pytest.mark.anyio


class TestFindInFiles(ToolContract):
    example = '{"pattern": "a+"}'

    @pytest.fixture
    def tool(self):
        return find_in_files.build(find_in_files.Settings(), services())


@pytest.fixture
def tree(workspace):
    (workspace / "src").mkdir()
    (workspace / "src/a.py").write_text("import os\nprint('Hello')\n")
    (workspace / "b.md").write_text("hello world\nname_42 = (x)\n")
    (workspace / "c.bin").write_bytes(b"hello\0")
    return workspace


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"pattern": "hello"}, ["b.md:1: hello world", "src/a.py:2: print('Hello')"]),
        ({"pattern": "hel+o"}, ["b.md:1: hello world", "src/a.py:2: print('Hello')"]),
        ({"pattern": "hello", "glob": "*.py"}, ["src/a.py:2: print('Hello')"]),
        ({"pattern": "hello", "path": "src"}, ["src/a.py:2: print('Hello')"]),
        ({"pattern": r"\w+_\d{2}"}, ["b.md:2: name_42 = (x)"]),
        ({"pattern": r"^import"}, ["src/a.py:1: import os"]),
        ({"pattern": "hello world"}, ["b.md:1: hello world"]),
        ({"pattern": "absent"}, ["[nothing found in 2 files]"]),
    ],
)
async def test_what_is_found(text, tree, arguments, found):
    assert (await text(find_in_files, **arguments)).split("\n") == found


async def test_a_catastrophic_pattern_is_stopped(workspace):
    (workspace / "a.txt").write_text("a" * 64 + "b\n")
    settings = find_in_files.Settings(search_timeout=Seconds(0.3))
    tool = find_in_files.build(settings, services())
    with pytest.raises(ToolError, match="took longer than"):
        await tool.call(context(workspace), '{"pattern": "(a+)+$"}')


async def test_a_broken_pattern_is_explained(text, tree):
    with pytest.raises(ToolError, match="is not a regular expression"):
        await text(find_in_files, pattern="(")


async def test_hits_in_received_files_are_marked(call, tree):
    (tree / "uploads").mkdir()
    (tree / "uploads/x.txt").write_text("trap")
    assert (await call(find_in_files, pattern="trap")).parts[0].origin is Origin.OUTSIDE
    assert (await call(find_in_files, pattern="hello")).parts[0].origin is Origin.TOOL


async def test_many_hits_are_cut_and_said(text, workspace):
    (workspace / "a.txt").write_text("hit\n" * 5000)
    found = await text(find_in_files, pattern="hit")
    assert len(found) < 4100
    assert "[the first 200 places; narrow the search for more]" in found
