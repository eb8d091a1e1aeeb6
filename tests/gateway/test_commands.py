"""Slash commands, as they arrive over HTTP and work on real sessions."""

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Cost
from famulus.core.messages import Usage
from famulus.gateway.commands import COMMANDS, parse
from famulus.state.budget import Budget
from famulus.state.spending import Bill, Call

pytestmark = pytest.mark.anyio


@pytest.fixture
async def chat(gateway):
    """Says something and gives the reply; `chat.house` is the gateway."""
    async with gateway() as house:
        client = await house.browser()

        async def say(text, **more):
            async with client.post("/api/chat", json={"message": text, **more}) as answer:
                return (await answer.json())["reply"]

        say.house = house
        yield say


async def current(chat):
    return str(await chat.house.sessions.current("web", "main", "owner"))


async def test_new_begins_a_conversation_with_a_title(chat):
    await chat("hello")
    reply = await chat("/new Holiday   plans")
    assert "Holiday plans" in reply
    assert (await chat.house.sessions.find(await current(chat))).title == "Holiday plans"


async def test_sessions_are_listed_and_switched_between(chat):
    await chat("hello")
    first = await current(chat)
    await chat("/new Second")
    listed = await chat("/sessions")
    assert "Second" in listed
    assert listed.count("you are here") == 1
    assert "You are in conversation 1" in await chat("/switch 1")
    assert await current(chat) == first
    assert "Second" in await chat("/switch web:main:2")
    assert "There is no conversation '9'" in await chat("/switch 9")
    assert "Which one?" in await chat("/switch")
    assert await current(chat) == "web:main:2"


async def test_rename_needs_a_title(chat):
    await chat("hello")
    assert "What shall it be called" in await chat("/rename")
    await chat("/rename Better")
    assert "Better" in await chat("/info")


async def test_delete_goes_to_another_conversation(chat):
    await chat("in the first")
    await chat("/new Second")
    await chat("in the second")
    assert "You are in 1 now" in await chat("/delete")
    assert await chat.house.messages.latest("web:main:2", 10) == []
    assert "You are in a new one" in await chat("/delete")
    assert await chat("still works") == "echo: still works"


async def test_dump_saves_markdown_in_the_workspace(chat, tmp_path):
    assert await chat("/dump") == "There is nothing to save yet."
    await chat("tool")
    reply = await chat("/dump")
    (file,) = (tmp_path / "workspace" / "dumps").iterdir()
    assert f"dumps/{file.name}" in reply
    text = file.read_text("utf-8")
    assert "echo: tool" in text
    assert "`clock` {}" in text


async def test_stop_ends_the_running_turn_at_once(chat):
    chat.house.agent.hold = True
    socket = await chat.house.connect()
    await socket.send("user_input", content="long")
    await socket.until("turn_started")
    assert await chat("/stop") == "Stopped."
    assert (await socket.until("assistant_response"))["content"] == "Stopped."
    assert await chat("/stop") == "Nothing is running here."


async def test_model_belongs_to_the_conversation(chat):
    assert "`mirror`" in await chat("/model")
    assert "There is no model 'x'" in await chat("/model x")
    assert (await chat("/model mirror")).endswith("uses mirror now. A doubt.")
    assert (await chat.house.sessions.find(await current(chat))).model == "mirror"
    await chat("/model default")
    assert (await chat.house.sessions.find(await current(chat))).model == ""


@pytest.mark.parametrize("text", ["/help", "/?", "/HELP", "/help@famulus_bot"])
async def test_help_names_every_command(chat, text):
    reply = await chat(text)
    assert all(f"`/{each.usage}`" in reply for each in COMMANDS)


async def test_an_unknown_command_gets_a_hint_and_never_the_model(chat):
    assert "Did you mean /rename?" in await chat("/renmae x")
    assert "There is no command /memory" in await chat("/memory cats")
    assert chat.house.agent.ran == []


async def test_a_path_is_not_a_command(chat):
    assert await chat("/etc/hosts is a file") == "echo: /etc/hosts is a file"


async def test_a_command_that_is_sent_twice_is_done_once(chat):
    await chat("hello")
    for _ in range(2):
        await chat("/new", message_id="m1")
    assert await current(chat) == "web:main:2"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("/new", ("new", "")),
        ("  /New  a  b ", ("new", "a  b ".strip())),
        ("/rename\nline", ("rename", "line")),
        ("/stop@bot now", ("stop", "now")),
    ],
)
def test_a_command_is_a_name_and_an_argument(text, parsed):
    assert parse(text) == parsed


@pytest.mark.parametrize("days", ["abc", "-5", "0", "1.5", "7 days", "3661", "9" * 5000])
async def test_usage_of_no_number_of_days_is_refused(chat, days):
    reply = await chat(f"/usage {days}")
    assert f"`{days[:50]}` is no number of days. Write 1 to 3660" in reply
    assert len(reply) < 200


async def test_usage_tells_what_calls_cost(chat):
    assert await chat("/usage") == "No model was called yet in this time."
    database = chat.house.database
    async with Budget(database, Cost(), clock=Clock()) as budget:
        for person, session, cost in (("owner", "web:main:1", 5), ("bob", "web:bob:1", 7)):
            call = Call(provider="p", model="large", person=person, session=session)
            usage = Usage(input_tokens=1200, output_tokens=34)
            budget.book(call, Bill(usage=usage, cost_nano=cost * 10**8, outcome="ok"))
    reply = await chat("/usage 7")
    assert "$1.20, 2 calls, 2,400 tokens in, 68 out" in reply
    assert "- this conversation: $0.5000, 1 call, 1,200 tokens in, 34 out" in reply
    assert "- `large` $1.20" in reply


async def test_compact_condenses_this_conversation(chat):
    await chat("hello")
    assert await chat("/compact") == "web:main:1 of owner is condensed."


async def test_times_are_in_the_zone_that_the_client_tells(chat, tmp_path):
    await chat("hello")
    assert "Asia/Tokyo" in await chat("/info", timezone="Asia/Tokyo")
    assert "etc/passwd" not in await chat("/info", timezone="../../etc/passwd")
    path = (await chat("/dump", timezone="America/New_York")).split("`")[1]
    (dump,) = tmp_path.rglob(path)
    assert dump.read_text().count(" America/New_York\n") == 2
