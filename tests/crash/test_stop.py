"""SIGTERM: the program ends in time with exit code 0, and what was running goes on afterwards."""

import asyncio
import signal

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "kept", ["sqlite", "own_server"], ids=["sqlite", "postgres"], indirect=True
    ),
]

STOPS = 8


@pytest.mark.parametrize("drain_seconds", [0, 10])
async def test_stopped_in_the_middle(make_house, make_chat, chance, drain_seconds):
    house = make_house(agent={"while_busy": "queue"}, engine={"drain_timeout": f"{drain_seconds}s"})
    chats = [make_chat(name, ahead=3) for name in "abc"]
    async with asyncio.timeout(120), house.clients(*chats):
        for _ in range(STOPS):
            await house.start()
            await asyncio.sleep(chance.uniform(0.1, 0.4))
            async with asyncio.timeout(drain_seconds + 5):
                assert await house.end(signal.SIGTERM) == 0
        for chat in chats:
            chat.ahead = 0
        await house.start()
        for chat in chats:
            await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(*chats)
    ((most,),) = house.rows("select max(attempt) from turn")
    # With time to end, no turn needs a second start; without any, some do.
    assert (most == 1) == (drain_seconds > 0)
    assert house.kills == 0
