import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GADGET = """
from typing import Annotated
from famulus.core.settings import Secret, Section, doc

class Settings(Section, frozen=True):
    enabled: Annotated[bool, doc("Whether it runs.")] = False
    token: Annotated[Secret, doc("What it logs in with.")] = Secret()
    allow: Annotated[tuple[str, ...], doc("Who may talk to it.")] = ()

def build(settings, services):
    return settings
"""


@pytest.fixture
def gadget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a channel of another package, installed for one test."""
    package = tmp_path / "installed"
    metadata = package / "gadget-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gadget\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[famulus.channels]\ngadget = gadget_channel\n")
    (package / "gadget_channel.py").write_text(GADGET)
    monkeypatch.syspath_prepend(package)
    yield "gadget"
    sys.modules.pop("gadget_channel", None)
