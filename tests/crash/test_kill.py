"""kill -9 at every write and at random moments: more than 200 deaths of the real program."""

import asyncio
import os
import signal

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "kept", ["sqlite", "own_server"], ids=["sqlite", "postgres"], indirect=True
    ),
]

# In each of the four runs at random moments; more for a soak: CRASH_KILLS=1000 pytest …
RANDOM_KILLS = int(os.environ.get("CRASH_KILLS", "40"))


@pytest.mark.usefixtures("bwrap")  # one of the calls is a shell command
@pytest.mark.parametrize("point", ["before", "inside", "after"])
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_killed_at_every_write_of_a_turn(make_house, make_chat, twice, point):
    house, chat = make_house(agent={"while_busy": "queue"}), make_chat("a", twice=twice)
    async with asyncio.timeout(150), house.clients(chat):
        await house.start(message="a-0")
        await chat.say()
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
        writes = house.trace.read_text().splitlines()
        # A second delivery is an insert that does nothing.
        assert_whole_turn(
            [writes[0], *(each for each in writes[1:] if not each.startswith("insert turn"))]
        )
        for number in range(1, len(writes) + 1):
            await house.start(message=f"a-{len(chat.sent)}", number=number, point=point)
            await chat.answered()
            await chat.say()
            assert await house.end() == -signal.SIGKILL, f"write {number}"
        await house.start()
        await chat.answered()
        # Behind this one's reply, no earlier one is on its way any more.
        await chat.say()
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(chat)
    assert house.kills == len(writes) >= 11
    # A death between an intent and its outcome hides what became of a call.
    assert house.caught


def assert_whole_turn(writes):
    """Accept with start, two rounds of a model call and two tools, the end with the last model
    call, and the mark `sent`. What a model call cost is written together with its outcome.
    """
    assert all(("done model" in each) == ("insert spending" in each) for each in writes)
    writes = [each.replace(" + insert spending", "") for each in writes]
    assert writes[:2] == [
        "insert turn running",
        "insert step done opening + insert step done model",
    ]
    steps = [each.removeprefix("insert step ") for each in writes[2:-2]]
    assert sorted(steps) == sorted(
        [
            *("done tool:calculator", "intent tool:write_file", "acted tool:write_file"),
            *("done tool:read_file", "intent tool:shell", "acted tool:shell"),
            "done model",
        ]
    )
    assert writes[-2].startswith("insert step done model + update turn done + insert message")
    assert writes[-2].endswith("insert outbox")
    assert writes[-1] == "update outbox sent"


@pytest.mark.parametrize(
    ("while_busy", "twice"),
    [("queue", False), ("queue", True), ("join", False), ("steer", False)],
    ids=["queue", "queue-twice", "join", "steer"],
)
async def test_killed_at_random_moments(make_house, make_chat, chance, while_busy, twice):
    # On a slow machine a turn may well die five times before it gets any further.
    house = make_house(agent={"while_busy": while_busy}, engine={"max_attempts": 1000})
    chats = [make_chat(name, ahead=3, twice=twice) for name in "abc"]
    async with asyncio.timeout(60 + 3 * RANDOM_KILLS), house.clients(*chats):
        for _ in range(RANDOM_KILLS):
            await house.spawn()
            if chance.random() < 0.1:
                await asyncio.sleep(chance.uniform(0, 0.5))
            else:
                await house.ready()
                await asyncio.sleep(chance.uniform(0, 0.4))
            await house.kill()
        for chat in chats:
            chat.ahead = 0
        await house.start()
        for chat in chats:
            await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(*chats)
    assert house.kills == RANDOM_KILLS
    if while_busy != "queue":
        assert any(
            len(frame["message_ids"]) > 1 for chat in chats for frame in chat.frames.values()
        )


async def test_a_turn_that_always_kills_the_program_is_given_up_with_an_answer(
    make_house, make_chat
):
    house, chat = make_house(engine={"max_attempts": 5}), make_chat("a")
    async with asyncio.timeout(60), house.clients(chat):
        await house.start(message="a-0", number=2, point="after")
        await chat.say()
        assert await house.end() == -signal.SIGKILL
        for _ in range(4):
            # The first thing a start does is to take up the turn.
            await house.spawn(number=1, point="after")
            assert await house.end() == -signal.SIGKILL
        await house.start()
        await chat.answered()
        await chat.say()
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
    texts = [frame["content"] for frame in chat.frames.values()]
    assert "it failed 5 attempts in a row" in texts[0]
    assert texts[1] == "Answer to a-1: done, done"
    assert "Traceback" not in house.log.read_text()


async def test_a_command_is_done_once(make_house, make_chat):
    house, chat = make_house(), make_chat("a", twice=True)
    async with asyncio.timeout(120), house.clients(chat):
        await house.start(message="a-0")
        await chat.say("/new first")
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
        writes = len(house.trace.read_text().splitlines())
        for point in ("inside", "after"):
            for number in range(1, writes + 1):
                await house.start(message=f"a-{len(chat.sent)}", number=number, point=point)
                await chat.answered()
                await chat.say("/new next")
                assert await house.end() == -signal.SIGKILL, f"write {number}, {point}"
        await house.start()
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
    said = [frame["content"].partition(" “")[0] for frame in chat.frames.values()]
    # The first conversation was there before the first command.
    assert said == [f"New conversation {n + 2}" for n in range(len(chat.sent))]
    assert house.rows("select count(*) from session") == [(len(chat.sent) + 1,)]
    assert house.rows("select dialog_id from chat") == [(str(len(chat.sent) + 1),)]


async def test_a_call_that_was_cut_off_keeps_nobody_waiting_for_its_limit(make_house, make_chat):
    # A limit that leaves room for one call at a time.
    house, chat = make_house(cost={"daily_limit_tokens": 20_000}), make_chat("a")
    async with asyncio.timeout(60), house.clients(chat):
        await house.start()
        house.model.on_request = lambda turn, round_: house.process.kill()
        await chat.say()
        assert await house.end() == -signal.SIGKILL
        house.model.on_request = lambda turn, round_: None
        await house.start()
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
    (frame,) = chat.frames.values()
    # What it could have cost counts now, so there is no room for it to be made again.
    assert "The daily limit" in frame["content"]
