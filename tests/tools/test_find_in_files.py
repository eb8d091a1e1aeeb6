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


async def test_a_file_may_be_named_as_the_place(text, tree):
    found = await text(find_in_files, pattern="hello", path="b.md")
    assert found == "b.md:1: hello world"
    assert await text(find_in_files, pattern="hello", path="/work/b.md", glob="*.py") == found
    with pytest.raises(ToolError, match=r"There is no c\.md"):
        await text(find_in_files, pattern="hello", path="c.md")


async def test_a_large_file_is_searched(text, workspace):
    (workspace / "big.log").write_text("x\n" * 1_500_000 + "needle\n")
    assert await text(find_in_files, pattern="needle") == "big.log:1500001: needle"


async def test_a_file_that_is_too_large_is_named(text, workspace):
    with (workspace / "huge.log").open("wb") as file:
        file.truncate(17 * 2**20)
    (workspace / "a.txt").write_text("other")
    assert await text(find_in_files, pattern="needle") == (
        "[nothing found in 1 files]\n[not searched, larger than 16 MiB: huge.log]"
    )


async def test_what_tools_have_put_aside_is_found_only_where_it_is_named(text, workspace):
    (workspace / ".outputs").mkdir()
    (workspace / ".outputs/a.txt").write_text("needle")
    assert await text(find_in_files, pattern="needle") == "[nothing found in 0 files]"
    found = ".outputs/a.txt:1: needle"
    assert await text(find_in_files, pattern="needle", path=".outputs") == found
    assert await text(find_in_files, pattern="needle", path=".outputs/a.txt") == found
