import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "write-a-channel.md"


def blocks(language):
    return dict(re.findall(rf"```{language} (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


def test_the_channel_on_the_page_passes_the_test_on_the_page(tmp_path):
    code = blocks("python")
    assert list(code) == ["line.py", "test_line.py"]
    for name, text in code.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "."],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"5 passed", ran.stdout)


@pytest.fixture
def installed(tmp_path):
    """The page's module with its entry point, as `pip install` would leave them."""
    (tmp_path / "line.py").write_text(blocks("python")["line.py"])
    info = tmp_path / "line-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: line\nVersion: 1.0\n")
    entry = blocks("toml")["pyproject.toml"].replace("project.entry-points.", "").replace('"', "")
    (info / "entry_points.txt").write_text(entry)
    return tmp_path


def test_the_channel_on_the_page_talks_through_the_real_gateway(installed):
    path = installed / "s"
    section = re.search(r"```toml\n(\[channels\.line\].*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (installed / "famulus.toml").write_text(
        f'[server]\nport = 0\n[agent]\nmodel = "offline"\n'
        f'{section[1].replace("1000", str(os.getuid()))}path = "{path}"\n'
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(installed), "PYTHONPATH": str(installed)}
    with (
        (installed / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "famulus", "serve"],
            cwd=installed, env=environment, stdout=log, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            with socket.socket(socket.AF_UNIX) as person:
                person.settimeout(20)
                connect(person, path, installed / "log")
                person.sendall(b"what is 2+3\n")
                assert person.makefile().readline() == "2+3 = 5\n"
        finally:
            process.terminate()
            assert process.wait(20) == 0


def connect(person, path, log):
    deadline = time.monotonic() + 20
    while True:
        try:
            return person.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)  # the program says nothing when a channel begins to listen
