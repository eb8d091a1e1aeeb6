"""Pages, where the gateway lets programs of this machine in without a login."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

SECONDS = 30
CONNECT = """url => new Promise(settle => {
  const socket = new WebSocket(url);
  socket.onopen = () => settle("open");
  socket.onerror = () => settle("refused");
})"""


@pytest.fixture
def login_link(tmp_path: Path) -> Iterator[str]:
    """`famulus serve` that trusts loopback, without a password: its login link."""
    (tmp_path / "famulus.toml").write_text("[server]\nport = 0\ntrust_loopback = true\n")
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "famulus", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "FAMULUS_HOME": str(tmp_path), "HOME": str(tmp_path)},
        text=True,
    ) as process:
        end = threading.Timer(SECONDS, process.kill)
        end.start()
        assert process.stdout
        said = process.stdout.readline() + process.stdout.readline()
        try:
            link = re.search(r"http\S+/#login=\S+", said)
            assert link, said
            yield link[0]
        finally:
            end.cancel()
            process.terminate()
            process.communicate(timeout=SECONDS)


def test_no_page_is_let_in_where_programs_need_no_login(browser: Browser, login_link: str) -> None:
    own = login_link.partition("/#")[0]
    there = own.replace("http://", "ws://") + "/ws"
    with browser.new_context() as context:
        context.route(
            "http://evil.example/**",
            lambda route: route.fulfill(body="<!doctype html><p>hi", content_type="text/html"),
        )
        page = context.new_page()
        for place in (own, "http://evil.example/", "about:blank"):
            page.goto(place)
            assert page.evaluate(CONNECT, there) == "refused"
        page.goto(login_link)
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()
        assert page.evaluate(CONNECT, there) == "open"
