import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "write-a-tool.md"


def test_the_tool_on_the_page_passes_the_test_on_the_page(tmp_path):
    blocks = re.findall(r"```python (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [name for name, _ in blocks] == ["roll_dice.py", "test_roll_dice.py"]
    for name, code in blocks:
        (tmp_path / name).write_text(code)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "."],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"1[0-9] passed", ran.stdout)


def test_the_page_names_every_effect_and_every_way_to_replay():
    from famulus.core.protocols import Effect, Replay

    page = PAGE.read_text("utf-8")
    assert all(f"`{each.name}`" in page for kind in (Effect, Replay) for each in kind)
