import pytest

from famulus.core.errors import ToolError
from famulus.testing.check_tool import ToolContract, context, services
from famulus.tools import edit_file

pytestmark = pytest.mark.anyio


class TestEditFile(ToolContract):
    example = '{"path": "a.txt", "old": "one", "new": "two"}'

    @pytest.fixture
    def tool(self):
        return edit_file.build(edit_file.Settings(), services())

    async def _call(self, tool, workspace):
        workspace.mkdir(exist_ok=True)
        (workspace / "a.txt").write_text("one")
        return await tool.call(context(workspace), self.example)


@pytest.fixture
def file(workspace):
    path = workspace / "a.py"
    path.write_text("def f():\n    return 1\n\ndef g():\n    return 1\n")
    return path


async def test_text_found_once_is_replaced(text, file):
    assert "1 occurrence in" in await text(edit_file, path="a.py", old="def f", new="def h")
    assert file.read_text().startswith("def h():")


async def test_text_found_twice_is_ambiguous_unless_all_are_meant(text, file):
    with pytest.raises(ToolError, match=r"2 times \(lines 2, 5\)"):
        await text(edit_file, path="a.py", old="return 1", new="return 2")
    assert "2 occurrences" in await text(
        edit_file, path="a.py", old="return 1", new="return 2", all=True
    )
    assert file.read_text().count("return 2") == 2


async def test_missing_text_shows_the_nearest_line(text, file):
    with pytest.raises(ToolError, match="Nearest is line 2: '    return 1'"):
        await text(edit_file, path="a.py", old="retrun 1", new="x")


async def test_a_file_that_is_not_text_is_left_alone(text, workspace):
    (workspace / "a.bin").write_bytes(b"\xff\xfeold")
    with pytest.raises(ToolError, match="not UTF-8"):
        await text(edit_file, path="a.bin", old="old", new="new")
    assert (workspace / "a.bin").read_bytes() == b"\xff\xfeold"
