"""A real browser against the page, served by the scripted gateway with the real headers."""

import shutil
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from famulus.testing.fake_gateway import FakeGateway

WAIT_MS = 10_000


# For a module: while Playwright runs, its loop keeps the async tests of a worker from running.
@pytest.fixture(scope="module")
def browser(lacking: Callable[[str], NoReturn]) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        lacking("Chromium is not installed: apt install chromium")
    expect.set_options(timeout=WAIT_MS)
    try:
        playwright = sync_playwright().start()
    except Exception as error:  # noqa: BLE001 - it names no kind for a driver that cannot start
        lacking(f"Playwright does not start here: {error}")
    running = playwright.chromium.launch(
        executable_path=chromium,
        args=["--no-sandbox", "--use-fake-device-for-media-stream"],
    )
    yield running
    running.close()
    playwright.stop()


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1200, "height": 800}, locale="en-GB")
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console complained about. A test takes out what it caused on purpose."""
    return []


@pytest.fixture
def window(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """A page whose every error and policy violation fails the test at its end."""
    page = context.new_page()
    watch(page, complaints)
    yield page
    # A refused request is shown by the browser as an error, and by the page as words.
    unexpected = [line for line in complaints if "Failed to load resource" not in line]
    assert unexpected == []


def watch(page: Page, complaints: list[str]) -> None:
    def weberror(error: Error) -> None:
        complaints.append(f"uncaught: {error}")

    page.on("pageerror", weberror)
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
    )


@pytest.fixture
def chat(window: Page, gateway: FakeGateway) -> Page:
    """The page after the login, connected and empty."""
    window.goto(f"{gateway.url}/#login=once-only")
    expect(window.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    return window
