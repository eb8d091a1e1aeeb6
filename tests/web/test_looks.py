"""How the page looks and fits. `FAMULUS_SCREENSHOTS=docs/images` renews the docs' pictures."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from famulus.testing.fake_gateway import FakeGateway

CALL = {"call_id": "1", "name": "calculator", "arguments": '{"expression": "230 * 0.175"}'}
ANSWER = """17.5% of 230 is **40.25**.

| Share | Of 230 |
|:------|-------:|
| 10%   | 23.00  |
| 17.5% | 40.25  |
| 20%   | 46.00  |

To do it yourself:

```python
def percent(share: float, whole: float) -> float:
    return whole * share / 100  # 17.5 and 230 give 40.25
```

- Works for any share, also above 100%
- The [recipe](https://example.org) explains why
"""

Shoot = Callable[[Page, str], Path]


@pytest.fixture
def shoot(tmp_path: Path) -> Shoot:
    folder = Path(os.environ.get("FAMULUS_SCREENSHOTS") or tmp_path)

    def take(page: Page, name: str) -> Path:
        path = folder / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        return path

    return take


def converse(page: Page, gateway: FakeGateway) -> None:
    """A few conversations in the list and one with every kind of content open."""
    for title in ("Trip to Kyoto in May", "Why is the sky blue?", "Letter to the landlord"):
        session = gateway.sessions[gateway.add_session(title)]
        session["updated"] = "2026-01-05T10:00:00+00:00"
    gateway.script["What is 17.5% of 230?"] = [
        {"type": "tool_started", **CALL},
        {"type": "tool_finished", "call_id": "1", "ok": True, "summary": "40.25"},
        {"type": "assistant_delta", "content": ANSWER},
    ]
    box = page.get_by_role("textbox", name="Message")
    box.fill("What is 17.5% of 230?")
    box.press("Enter")
    expect(page.get_by_role("article", name="Famulus").locator("footer")).to_be_visible()


def fits(page: Page) -> bool:
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= innerWidth"
            " && document.querySelector('#scroll').scrollWidth"
            " <= document.querySelector('#scroll').clientWidth"
        )
    )


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_a_phone_shows_everything_without_scrolling_sideways(
    window: Page, gateway: FakeGateway, shoot: Shoot
) -> None:
    window.set_viewport_size({"width": 360, "height": 740})
    window.goto(f"{gateway.url}/#login=once-only")
    expect(window.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    assert fits(window)
    converse(window, gateway)
    expect(window.get_by_role("textbox", name="Message")).to_be_in_viewport(ratio=1)
    expect(window.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    assert fits(window)
    shoot(window, "web-chat-phone")


def test_on_a_phone_the_conversations_are_a_drawer_that_escape_closes(
    window: Page, gateway: FakeGateway
) -> None:
    window.set_viewport_size({"width": 360, "height": 740})
    window.goto(f"{gateway.url}/#login=once-only")
    converse(window, gateway)
    new = window.get_by_role("button", name="New conversation")
    expect(new).not_to_be_in_viewport()
    window.get_by_role("button", name="Show conversations").click()
    expect(new.first).to_be_in_viewport()
    window.keyboard.press("Escape")
    expect(new).not_to_be_in_viewport()
    expect(window.get_by_role("button", name="Show conversations")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_colour_scheme_of_the_system(
    window: Page, gateway: FakeGateway, shoot: Shoot, scheme: str
) -> None:
    window.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    window.goto(f"{gateway.url}/#login=once-only")
    expect(window.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    converse(window, gateway)
    shoot(window, f"web-chat-{scheme}")
    expected = {"light": "rgb(251, 250, 247)", "dark": "rgb(23, 22, 20)"}
    assert background(window) == expected[scheme]


def test_text_and_controls_have_enough_contrast_in_both_schemes(
    window: Page, gateway: FakeGateway
) -> None:
    window.goto(gateway.url)
    for scheme in ("light", "dark"):
        window.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        ratios = window.evaluate(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const light = (name) => {
                    const hex = style.getPropertyValue(name).trim().slice(1);
                    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
                    const [r, g, b] = parts.map((v) =>
                        v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const ratio = (a, b) => {
                    const [dark, bright] = [light(a), light(b)].sort((x, y) => x - y);
                    return (bright + 0.05) / (dark + 0.05);
                };
                const pairs = [
                    ["--text", "--ground"], ["--text", "--mine"], ["--muted", "--ground"],
                    ["--muted", "--panel"], ["--muted", "--hover"], ["--muted", "--raised"],
                    ["--accent", "--ground"], ["--on-accent", "--accent"],
                    ["--danger", "--ground"], ["--hl-comment", "--code"],
                    ["--hl-string", "--code"], ["--hl-number", "--code"], ["--hl-word", "--code"],
                ];
                return Object.fromEntries(pairs.map(([a, b]) => [a + " on " + b, ratio(a, b)]));
            }"""
        )
        assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}


def test_the_keyboard_alone_reaches_every_control(chat: Page, gateway: FakeGateway) -> None:
    chat.get_by_role("button", name="Hide conversations").focus()
    reached: set[str] = set()
    for _ in range(20):
        chat.keyboard.press("Tab")
        reached.add(
            chat.evaluate(
                "document.activeElement.getAttribute('aria-label')"
                " || document.activeElement.textContent.trim()"
            )
        )
    assert {"New conversation", "Log out", "List my files", "Attach files", "Message"} <= reached
