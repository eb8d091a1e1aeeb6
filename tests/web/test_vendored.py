import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest

VENDOR = Path(str(files("famulus") / "web" / "vendor"))
PAGES = VENDOR.parent
LISTED = dict(
    re.findall(
        r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$",
        (VENDOR / "VENDORED.md").read_text(),
        re.MULTILINE,
    )
)


def test_every_vendored_file_is_listed() -> None:
    present = {path.name for path in VENDOR.iterdir()} - {"VENDORED.md"}
    assert present == set(LISTED)


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_vendored_file_has_the_hash_that_is_written_down(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == LISTED[name]


def test_our_own_modules_never_turn_text_into_markup() -> None:
    markup = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser"
    )
    guilty = [path.name for path in PAGES.glob("*.js") if markup.search(path.read_text())]
    assert guilty == []


def test_the_page_has_no_inline_script_or_style() -> None:
    page = (PAGES / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
