"""The page with the real gateway and the offline model behind it."""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Browser, FilePayload, Page, expect

from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Fault

START_SECONDS = 30
STOP_SECONDS = 15


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[str]:
    """`famulus serve` in a home of its own, on a free port, without a password: its login link."""
    home = folder / "home"
    home.mkdir()
    (home / "famulus.toml").write_text("[server]\nport = 0\n")
    links: queue.Queue[str] = queue.Queue()
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-u", "-m", "famulus", "serve", "--home", str(home)],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "UTC"} | environment,
            text=True,
        ) as process,
    ):
        reader = threading.Thread(target=_find_link, args=(process, links), daemon=True)
        reader.start()
        try:
            link = links.get(timeout=START_SECONDS)
            assert link, (folder / "log").read_text()
            yield link
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)
            reader.join(STOP_SECONDS)


@pytest.fixture
def login_link(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as link:
        yield link


def _find_link(process: subprocess.Popen[str], links: "queue.Queue[str]") -> None:
    assert process.stdout
    for line in process.stdout:
        if found := re.search(r"http\S+/#login=\S+", line):
            links.put(found[0])
    links.put("")


def test_the_first_minute_with_the_real_program(window: Page, login_link: str) -> None:
    window.goto(login_link)
    window.get_by_role("button", name="What is 17.5% of 230?").click()
    answer = window.get_by_role("article", name="Famulus")
    expect(answer).to_contain_text("40.25")
    expect(answer.locator("footer")).to_be_visible()
    expect(window.locator("details.tool")).to_contain_text("calculator")

    window.reload()
    expect(window.get_by_role("article", name="You")).to_have_text("What is 17.5% of 230?")
    expect(answer).to_contain_text("40.25")
    expect(answer).to_have_count(1)
    expect(window.locator("details.tool")).to_contain_text("calculator")

    box = window.get_by_role("textbox", name="Message")
    box.press_sequentially("/he")
    expect(window.get_by_role("option").first).to_contain_text("/help")
    box.fill("/new Garden")
    box.press("Enter")
    expect(window.get_by_role("heading", level=1)).to_have_text("Garden")
    expect(window.get_by_role("log")).not_to_contain_text("40.25")

    window.get_by_role("button", name="Options for Garden").click()
    window.get_by_role("menuitem", name="Delete").click()
    window.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(window.get_by_role("navigation").get_by_text("Garden")).to_have_count(0)

    window.get_by_role("button", name="Log out").click()
    expect(window.get_by_label("Password")).to_be_visible()


@pytest.mark.usefixtures("bwrap")  # one of the examples runs a command
def test_every_example_of_the_empty_page_gets_an_answer(window: Page, login_link: str) -> None:
    window.goto(login_link)
    buttons = window.locator("#examples button")
    expect(buttons).to_have_count(5)
    examples = buttons.all_text_contents()
    box = window.get_by_role("textbox", name="Message")
    answers = window.get_by_role("article", name="Famulus")
    for number, example in enumerate(examples, start=1):
        box.fill(example)
        box.press("Enter")
        expect(answers.locator("footer .copy")).to_have_count(number)
    expect(window.locator('details.tool[data-state="ok"]')).to_have_count(len(examples))


def test_a_file_reaches_the_real_program_and_can_be_opened_again(
    window: Page, login_link: str
) -> None:
    window.goto(login_link)
    note = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"buy milk")
    window.locator("#file").set_input_files([note])
    expect(window.locator('#attachments [data-state="ready"]')).to_have_count(1)
    window.get_by_role("textbox", name="Message").fill("Here is a file")
    window.get_by_role("button", name="Send").click()
    expect(window.get_by_role("article", name="Famulus").locator("footer")).to_be_visible()
    window.reload()
    with window.expect_download() as download:
        window.get_by_role("article", name="You").get_by_role("link", name="notes.txt").click()
    assert Path(download.value.path()).read_bytes() == b"buy milk"


def test_the_time_is_that_of_the_browser(browser: Browser, login_link: str) -> None:
    with browser.new_context(timezone_id="America/New_York") as context:
        page = context.new_page()
        page.goto(login_link)
        page.get_by_role("textbox", name="Message").fill("What time is it?")
        page.get_by_role("button", name="Send").click()
        answer = page.get_by_role("article", name="Famulus")
        expect(answer).to_contain_text("(America/New_York, E")


def test_what_was_shown_before_a_stop_stays_also_after_a_reload(
    window: Page, tmp_path: Path
) -> None:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(FakeOpenAI()) as vendor,
        serving(
            tmp_path,
            FAMULUS_AGENT__MODEL="fake/m",
            FAMULUS_PROVIDERS__FAKE__TYPE="openai",
            FAMULUS_PROVIDERS__FAKE__API_KEY=vendor.key,
            FAMULUS_PROVIDERS__FAKE__BASE_URL=vendor.url,
        ) as link,
    ):
        vendor.say(Answer(text=("The moon ", "is round ", "and far away.")))
        vendor.fail(Fault(after_events=3, hang=True))
        window.goto(link)
        box = window.get_by_role("textbox", name="Message")
        box.fill("Tell me of the moon")
        box.press("Enter")
        answer = window.get_by_role("article", name="Famulus")
        expect(answer).to_contain_text("The moon is round")
        window.get_by_role("button", name="Stop").click()
        expect(answer).to_contain_text("Stopped.")
        expect(answer).to_contain_text("The moon is round")
        window.reload()
        expect(answer).to_contain_text("Stopped.")
        expect(answer).to_contain_text("The moon is round")
