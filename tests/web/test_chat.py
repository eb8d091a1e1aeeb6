import re

from playwright.sync_api import FilePayload, Page, expect

from famulus.testing.fake_gateway import HOLD, FakeGateway


def say(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Message")
    box.fill(text)
    box.press("Enter")


def delta(text: str, **more: object) -> dict[str, object]:
    return {"type": "assistant_delta", "content": text, **more}


def test_an_answer_streams_in_and_its_final_text_replaces_what_was_shown(
    chat: Page, gateway: FakeGateway
) -> None:
    gateway.script["tell me"] = [
        delta("One **bold"),
        HOLD,
        delta("** word"),
        HOLD,
        {"type": "assistant_response", "content": "The *final* word", "model": "sonnet"},
    ]
    say(chat, "tell me")
    answer = chat.get_by_role("article", name="Famulus")
    expect(answer).to_contain_text("One **bold")
    expect(answer).to_have_attribute("aria-busy", "true")
    gateway.go_on()
    expect(answer.locator("strong")).to_have_text("bold")
    gateway.go_on()
    expect(answer.locator("em")).to_have_text("final")
    expect(answer).not_to_contain_text("One")
    expect(answer.locator("footer")).to_contain_text("sonnet · 906 tokens")
    expect(answer).not_to_have_attribute("aria-busy", "true")


def test_a_restarted_stream_discards_what_was_streamed_before(
    chat: Page, gateway: FakeGateway
) -> None:
    gateway.script["go"] = [delta("wrong start"), HOLD, delta("right", restarted=True), HOLD]
    say(chat, "go")
    answer = chat.get_by_role("article", name="Famulus")
    expect(answer).to_contain_text("wrong start")
    gateway.go_on()
    expect(answer.locator(".markdown")).to_have_text("right")
    gateway.go_on()


def test_shift_enter_breaks_the_line_and_enter_sends(chat: Page, gateway: FakeGateway) -> None:
    box = chat.get_by_role("textbox", name="Message")
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    box.press("Enter")
    expect(chat.get_by_role("article", name="You")).to_have_text("one\ntwo", use_inner_text=True)
    expect(box).to_have_value("")
    expect(chat.get_by_role("log")).to_contain_text("You: one")
    assert [frame["content"] for frame in gateway.messages("user_input")] == ["one\ntwo"]


def test_a_tool_shows_as_a_chip_with_its_arguments_and_result(
    chat: Page, gateway: FakeGateway
) -> None:
    call = {"call_id": "c1", "name": "calculator", "arguments": '{"expression": "17.5% of 230"}'}
    gateway.script["sum"] = [
        {"type": "tool_started", **call},
        HOLD,
        {"type": "tool_finished", "call_id": "c1", "ok": True, "summary": "40.25"},
        delta("It is 40.25."),
    ]
    say(chat, "sum")
    chip = chat.locator("details.tool")
    expect(chip).to_contain_text("calculator17.5% of 230")
    gateway.go_on()
    expect(chip.get_by_role("img", name="done")).to_be_visible()
    expect(chip.get_by_text("40.25")).to_be_hidden()
    chip.locator("summary").click()
    expect(chip.get_by_text("40.25")).to_be_visible()
    chat.reload()
    expect(chat.locator("details.tool")).to_contain_text("calculator17.5% of 230")


def test_a_reload_keeps_the_conversation(chat: Page, gateway: FakeGateway) -> None:
    say(chat, "remember this")
    expect(chat.get_by_role("log")).to_contain_text("You: remember this")
    chat.reload()
    expect(chat.get_by_role("article", name="You")).to_have_text("remember this")
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text("You: remember this")
    assert len(gateway.messages("user_input")) == 1


def test_a_reload_in_the_middle_of_an_answer_shows_the_question_once(
    chat: Page, gateway: FakeGateway
) -> None:
    gateway.script["slow"] = [delta("first half"), HOLD, delta(" second half")]
    say(chat, "slow")
    expect(chat.get_by_role("log")).to_contain_text("first half")
    chat.reload()
    expect(chat.get_by_role("article", name="You")).to_have_text("slow")
    expect(chat.get_by_role("button", name="Stop")).to_be_visible()
    gateway.go_on()
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text("first half second half")
    expect(chat.get_by_role("article", name="You")).to_have_count(1)


def test_the_stop_button_ends_a_running_answer(chat: Page, gateway: FakeGateway) -> None:
    gateway.script["forever"] = [delta("on and on"), HOLD, delta(" and on")]
    stop = chat.get_by_role("button", name="Stop")
    expect(stop).to_be_hidden()
    say(chat, "forever")
    stop.click()
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text("Stopped.")
    expect(stop).to_be_hidden()
    assert len(gateway.messages("stop")) == 1


def test_a_message_cut_off_by_the_network_is_sent_again_under_its_id_and_answered_once(
    chat: Page, gateway: FakeGateway
) -> None:
    gateway.script["hello"] = [delta("Hi"), HOLD, delta(" there")]
    say(chat, "hello")
    expect(chat.get_by_role("log")).to_contain_text("Hi")
    gateway.drop()
    expect(chat.get_by_role("status").filter(has_text="connect")).to_be_visible()
    expect(chat.get_by_role("status").filter(has_text="connect")).to_be_hidden()
    gateway.go_on()
    expect(chat.get_by_role("article", name="Famulus")).to_have_count(1)
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text("Hi there")
    expect(chat.get_by_role("article", name="You")).to_have_count(1)
    sent = [frame["message_id"] for frame in gateway.messages("user_input")]
    assert len(sent) == 2
    assert len(set(sent)) == 1


def test_an_answer_made_while_the_page_was_away_appears_once(
    chat: Page, gateway: FakeGateway, complaints: list[str]
) -> None:
    gateway.script["hello"] = [delta("Hi"), HOLD, delta(" there")]
    say(chat, "hello")
    expect(chat.get_by_role("log")).to_contain_text("Hi")
    gateway.refusing = True
    gateway.drop()
    expect(chat.locator("#connection")).to_have_text("No connection. Try now")
    gateway.go_on()
    gateway.refusing = False
    chat.locator("#connection").click()
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text("Hi there")
    expect(chat.get_by_role("article", name="Famulus")).to_have_count(1)
    expect(chat.get_by_role("article", name="You")).to_have_count(1)
    expect(chat.get_by_role("article", name="You")).not_to_have_attribute("data-state", "sending")
    complaints[:] = [line for line in complaints if "WebSocket" not in line]


def test_a_message_written_without_a_connection_goes_out_when_it_is_back(
    chat: Page, gateway: FakeGateway, complaints: list[str]
) -> None:
    gateway.refusing = True
    gateway.drop()
    pill = chat.locator("#connection")
    expect(pill).to_have_text("No connection. Try now")
    say(chat, "are you there?")
    expect(chat.get_by_role("article", name="You")).to_have_attribute("data-state", "sending")
    gateway.refusing = False
    # It may try by itself before the pointer is there, and the pill is gone then.
    pill.dispatch_event("click")
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text("You: are you there?")
    expect(chat.get_by_role("article", name="You")).not_to_have_attribute("data-state", "sending")
    complaints[:] = [line for line in complaints if "WebSocket" not in line]


def test_a_refused_message_says_why_beside_it(chat: Page, gateway: FakeGateway) -> None:
    gateway.script["spam"] = [HOLD]
    say(chat, "spam")
    expect(chat.get_by_role("button", name="Stop")).to_be_visible()
    (sent,) = gateway.messages("user_input")
    refusal = {"type": "error", "code": "queue_full", "message": "Too many messages are waiting."}
    gateway.broadcast({**refusal, "message_id": sent["message_id"]})
    mine = chat.get_by_role("article", name="You")
    expect(mine.get_by_role("alert")).to_have_text("Too many messages are waiting.")
    gateway.script["spam"] = [delta("Now it went through.")]
    mine.get_by_role("button", name="Send again").click()
    expect(chat.get_by_role("log")).to_contain_text("Now it went through.")
    expect(mine).to_have_count(1)
    first, second = gateway.messages("user_input")
    assert first["message_id"] != second["message_id"]


def test_conversations_can_be_made_switched_renamed_and_deleted(
    chat: Page, gateway: FakeGateway
) -> None:
    say(chat, "first topic")
    expect(chat.get_by_role("log")).to_contain_text("You: first topic")
    chat.get_by_role("button", name="New conversation").first.click()
    expect(chat.get_by_role("log")).to_be_empty()
    say(chat, "second topic")
    expect(chat.get_by_role("log")).to_contain_text("You: second topic")
    rows = chat.get_by_role("navigation", name="Conversations")
    rows.get_by_role("button", name="first topic", exact=True).click()
    expect(chat.get_by_role("log")).to_contain_text("You: first topic")
    expect(chat.get_by_role("log")).not_to_contain_text("second")
    expect(chat.get_by_role("heading", level=1)).to_have_text("first topic")

    chat.get_by_role("button", name="Options for first topic").click()
    chat.get_by_role("menuitem", name="Rename").press("Enter")
    title = chat.get_by_role("textbox", name="Title")
    title.fill("Groceries")
    title.press("Enter")
    expect(chat.get_by_role("heading", level=1)).to_have_text("Groceries")
    expect(chat).to_have_title("Groceries · Famulus")

    chat.get_by_role("button", name="Options for Groceries").click()
    chat.get_by_role("menuitem", name="Delete").click()
    chat.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(chat.get_by_role("log")).to_contain_text("You: second topic")
    expect(rows.get_by_text("Groceries")).to_have_count(0)


def test_an_answer_in_another_conversation_marks_it_and_stays_out_of_this_one(
    chat: Page, gateway: FakeGateway
) -> None:
    gateway.script["long job"] = [delta("working"), HOLD, delta(", done")]
    say(chat, "long job")
    expect(chat.get_by_role("log")).to_contain_text("working")
    chat.get_by_role("button", name="New conversation").first.click()
    expect(chat.get_by_role("log")).to_be_empty()
    gateway.go_on()
    expect(chat.get_by_role("img", name="new answer")).to_be_visible()
    expect(chat.get_by_role("log")).to_be_empty()


def test_slash_opens_the_commands_and_the_keyboard_chooses_one(
    chat: Page, gateway: FakeGateway
) -> None:
    box = chat.get_by_role("textbox", name="Message")
    box.press_sequentially("/")
    options = chat.get_by_role("listbox", name="Commands").get_by_role("option")
    expect(options).to_have_count(5)
    box.press_sequentially("m")
    expect(options).to_have_count(2)
    box.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(box).to_have_value("/memory ")
    box.press_sequentially("milk")
    box.press("Enter")
    expect(chat.get_by_role("log")).to_contain_text("Did /memory milk.")
    assert gateway.messages("user_input")[0]["content"] == "/memory milk"


def test_a_typed_new_moves_to_a_new_conversation(chat: Page, gateway: FakeGateway) -> None:
    say(chat, "old topic")
    expect(chat.get_by_role("log")).to_contain_text("You: old topic")
    say(chat, "/new Garden")
    expect(chat.get_by_role("heading", level=1)).to_have_text("Garden")
    expect(chat.get_by_role("log")).not_to_contain_text("old topic")
    expect(chat.get_by_role("log")).to_contain_text("Did /new Garden.")


def test_a_file_is_uploaded_shown_and_sent_by_its_id(chat: Page, gateway: FakeGateway) -> None:
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
        "789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
    chat.locator("#file").set_input_files(
        [
            FilePayload(name="dot.png", mimeType="image/png", buffer=png),
            FilePayload(name="<b>notes</b>.txt", mimeType="text/plain", buffer=b"milk"),
        ]
    )
    waiting = chat.get_by_role("list", name="Attached files")
    expect(waiting.get_by_role("listitem")).to_have_count(2)
    expect(waiting).to_contain_text("<b>notes</b>.txt")
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()
    say(chat, "see these")
    picture = chat.get_by_role("article", name="You").get_by_role("img", name="dot.png")
    expect(picture).to_have_js_property("naturalWidth", 1)
    expect(chat.get_by_role("log")).to_contain_text("You: see these")
    chat.reload()
    expect(chat.get_by_role("article", name="You")).to_contain_text("<b>notes</b>.txt")
    assert sorted(content for _, content in gateway.uploads) == sorted([png, b"milk"])
    (sent,) = gateway.messages("user_input")
    assert [list(attachment) for attachment in sent["attachments"]] == [["id"], ["id"]]


def test_the_view_follows_an_answer_until_the_reader_scrolls_up(
    chat: Page, gateway: FakeGateway
) -> None:
    gateway.script["long"] = [delta("line\n\n" * 60 + "end of part one"), HOLD]
    gateway.script["long"] += [delta("\n\nline" * 60 + "\n\nend of part two"), HOLD]
    gateway.script["long"] += [delta("\n\nline" * 60 + "\n\nend of part three")]
    say(chat, "long")
    expect(chat.get_by_text("end of part one")).to_be_in_viewport()
    gateway.go_on()
    expect(chat.get_by_text("end of part two")).to_be_in_viewport()
    chat.mouse.move(700, 300)
    chat.mouse.wheel(0, -900)
    latest = chat.get_by_role("button", name="Go to the latest message")
    expect(latest).to_be_visible()
    gateway.go_on()
    expect(chat.get_by_text("end of part three")).to_have_count(1)
    expect(chat.get_by_text("end of part three")).not_to_be_in_viewport()
    latest.click()
    expect(chat.get_by_text("end of part three")).to_be_in_viewport()
    expect(latest).to_be_hidden()


def test_a_recording_is_attached_as_a_file(chat: Page, gateway: FakeGateway) -> None:
    chat.context.grant_permissions(["microphone"])
    chat.get_by_role("button", name="Record a spoken message").click()
    chat.get_by_role("button", name="End the recording").click()
    waiting = chat.get_by_role("list", name="Attached files").get_by_role("listitem")
    expect(waiting).to_contain_text("voice.webm")
    expect(waiting).to_have_attribute("data-state", "ready")
    ((name, content),) = gateway.uploads
    assert name == "voice.webm"
    assert content.startswith(b"\x1a\x45\xdf\xa3")  # the magic number of WebM
    chat.get_by_role("button", name="Send").click()
    expect(chat.get_by_role("article", name="You")).to_contain_text("voice.webm")
    (sent,) = gateway.messages("user_input")
    assert [attachment["voice"] for attachment in sent["attachments"]] == [True]


def test_an_approval_is_asked_with_its_arguments_and_decided_by_a_button(
    chat: Page, gateway: FakeGateway
) -> None:
    ask = {"type": "approval_requested", "approval_id": "a1", "name": "run_command"}
    gateway.script["wipe"] = [{**ask, "arguments": '{"command": "rm x"}'}, HOLD, delta("Not done.")]
    say(chat, "wipe")
    card = chat.get_by_role("group", name="Approval of run_command")
    expect(card).to_contain_text("rm x")
    card.get_by_role("button", name="Deny").click()
    expect(card).to_have_count(0)
    expect(chat.get_by_role("log")).to_contain_text("Not done.")
    (decision,) = gateway.messages("approve")
    assert (decision["approval_id"], decision["decision"]) == ("a1", "deny")


def test_a_message_from_another_window_appears_here_too(chat: Page, gateway: FakeGateway) -> None:
    other = chat.context.new_page()
    other.goto(gateway.url)
    say(other, "from the other window")
    expect(chat.get_by_role("article", name="You")).to_have_text("from the other window")
    expect(chat.get_by_role("article", name="Famulus")).to_have_count(1)
    expect(chat.get_by_role("article", name="Famulus")).to_contain_text(re.compile("^You: from"))
