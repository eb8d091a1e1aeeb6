import pytest

from famulus.core.errors import ToolError
from famulus.core.messages import Origin
from famulus.testing.check_tool import ToolContract, services
from famulus.tools import list_files

pytestmark = pytest.mark.anyio


class TestListFiles(ToolContract):
    example = "{}"

    @pytest.fixture
    def tool(self):
        return list_files.build(list_files.Settings(), services())


@pytest.fixture
def tree(workspace):
    for path in ("a.md", "b.txt", "docs/c.md", "docs/deep/d.md", "uploads/evil.md"):
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text("12345")
    return workspace


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, ["a.md  5 B", "b.txt  5 B", "docs/", "uploads/"]),
        ({"pattern": "*.md"}, ["a.md  5 B"]),
        ({"path": "docs", "pattern": "*.md"}, ["docs/c.md  5 B"]),
        ({"path": "docs", "pattern": "**/*.md"}, ["docs/c.md  5 B", "docs/deep/d.md  5 B"]),
        ({"pattern": "docs/**"}, ["docs/c.md  5 B", "docs/deep/", "docs/deep/d.md  5 B"]),
        ({"pattern": "*.none"}, ["[nothing found]"]),
    ],
)
async def test_what_is_listed(text, tree, arguments, found):
    assert (await text(list_files, **arguments)).split("\n") == found


async def test_names_of_received_files_are_marked(call, tree):
    assert (await call(list_files, pattern="**")).parts[0].origin is Origin.OUTSIDE
    assert (await call(list_files, path="docs")).parts[0].origin is Origin.TOOL


async def test_a_long_list_is_cut_and_says_so(text, workspace):
    for number in range(500):
        (workspace / f"file-{number:04}.txt").touch()
    listed = await text(list_files)
    assert len(listed) < 4100
    assert "more; narrow the pattern]" in listed


async def test_a_hostile_pattern_ends_soon(text, workspace):
    (workspace / ("a" * 200)).touch()
    assert await text(list_files, pattern="*a" * 40 + "b") == "[nothing found]"
    with pytest.raises(ToolError, match="too many"):
        await text(list_files, pattern="**/a/" * 20)
