from playwright.sync_api import Page, expect

from famulus.testing.fake_gateway import FakeGateway


def test_a_wrong_password_is_refused_in_words_and_the_right_one_opens_the_chat(
    window: Page, gateway: FakeGateway
) -> None:
    window.goto(gateway.url)
    password = window.get_by_label("Password")
    expect(password).to_be_focused()
    password.fill("guess")
    password.press("Enter")
    expect(window.get_by_role("alert")).to_have_text("Wrong password")
    password.fill(gateway.password)
    window.get_by_role("button", name="Log in").click()
    expect(window.get_by_role("textbox", name="Message")).to_be_focused()
    expect(password).to_be_hidden()


def test_a_throttled_login_says_so(window: Page, gateway: FakeGateway) -> None:
    gateway.throttled = True
    window.goto(gateway.url)
    window.get_by_label("Password").fill("guess")
    window.get_by_role("button", name="Log in").click()
    expect(window.get_by_role("alert")).to_have_text("Too many attempts. Wait a minute.")


def test_a_login_link_logs_in_and_leaves_no_token_in_the_address_bar(
    window: Page, gateway: FakeGateway
) -> None:
    window.goto(f"{gateway.url}/#login=once-only")
    expect(window.get_by_role("textbox", name="Message")).to_be_visible()
    assert window.url == f"{gateway.url}/"


def test_a_used_login_link_shows_the_form_with_the_reason(
    window: Page, gateway: FakeGateway
) -> None:
    window.goto(f"{gateway.url}/#login=stale")
    expect(window.get_by_role("alert")).to_have_text("That login link was used already")
    assert window.url == f"{gateway.url}/"


def test_a_logout_ends_the_session_and_hides_the_conversation(
    chat: Page, gateway: FakeGateway
) -> None:
    chat.get_by_role("button", name="What time is it in Tokyo?").click()
    expect(chat.get_by_role("log")).to_contain_text("You: What time is it in Tokyo?")
    chat.get_by_role("button", name="Log out").click()
    expect(chat.get_by_label("Password")).to_be_visible()
    expect(chat.get_by_text("You: What time is it in Tokyo?")).to_have_count(0)
    chat.reload()
    expect(chat.get_by_label("Password")).to_be_visible()


def test_a_login_that_ended_meanwhile_brings_the_form_back(
    chat: Page, gateway: FakeGateway, complaints: list[str]
) -> None:
    gateway.forget_logins()
    gateway.drop()
    expect(chat.get_by_role("alert").filter(has_text="Please log in again.")).to_be_visible()
    chat.get_by_label("Password").fill(gateway.password)
    chat.get_by_role("button", name="Log in").click()
    expect(chat.get_by_role("textbox", name="Message")).to_be_visible()
    complaints[:] = [line for line in complaints if "WebSocket" not in line]
