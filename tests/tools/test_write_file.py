import pytest

from famulus.core.errors import ToolError
from famulus.testing.check_tool import ToolContract, services
from famulus.tools import write_file

pytestmark = pytest.mark.anyio


class TestWriteFile(ToolContract):
    example = '{"path": "a/b.txt", "content": "hello"}'

    @pytest.fixture
    def tool(self):
        return write_file.build(write_file.Settings(), services())


async def test_a_file_is_made_with_its_folders_and_replaced(text, workspace):
    assert await text(write_file, path="a/b.txt", content="grün") == "Wrote 5 bytes to a/b.txt."
    assert (workspace / "a/b.txt").read_text("utf-8") == "grün"
    await text(write_file, path="a/b.txt", content="")
    assert (workspace / "a/b.txt").read_bytes() == b""


async def test_text_is_added_to_the_end(text, workspace):
    for _ in range(2):
        await text(write_file, path="log.txt", content="x\n", append=True)
    assert (workspace / "log.txt").read_text() == "x\nx\n"


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "link", "folder/out.txt", "", "d"])
async def test_nothing_outside_can_be_written(text, workspace, path, append):
    outside = workspace.parent / "outside.txt"
    outside.write_text("safe")
    (workspace / "link").symlink_to(outside)
    (workspace / "folder").symlink_to(workspace.parent)
    (workspace / "d").mkdir()
    with pytest.raises(ToolError):
        await text(write_file, path=path, content="evil", append=append)
    assert outside.read_text() == "safe"
    assert sorted(p.name for p in workspace.parent.iterdir()) == ["outside.txt", "workspace"]
