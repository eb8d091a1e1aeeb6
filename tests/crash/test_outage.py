"""PostgreSQL goes away and comes back under a gateway that lives on: nobody restarts anything."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from famulus.testing.chat import Caller, Chat
from famulus.testing.own_postgres import OwnPostgres
from famulus.testing.postgres_proxy import PostgresProxy

pytestmark = pytest.mark.anyio

# How long the database may be silent before the program gives up on a connection.
SILENCE = 1.0
# Whoever still has no answer then has got none without a restart.
STUCK_SECONDS = 25.0


@pytest.fixture
def house(kept, proxy, make_house):
    house = make_house(agent={"while_busy": "join"}, storage={"timeout": SILENCE})
    house.model.in_order = False
    return house


@pytest.mark.parametrize("kept", ["own_server"], indirect=True)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_connection_is_lost_at_every_message_of_a_scenario(house, proxy, moment):
    chats, caller = [Chat(name, patient=True) for name in "ab"], Caller("c")
    waits = []
    async with asyncio.timeout(400):
        await house.start()
        async with house.faithful(*chats) as session:

            async def scenario():
                """A turn with tools, two messages that join it, and two other chats beside it."""
                started = time.monotonic()
                async with asyncio.TaskGroup() as group:
                    group.create_task(caller.say(session))
                    for chat in (*chats, *chats[:1], *chats[:1]):
                        await chat.say()
                    for chat in chats:
                        group.create_task(all_answered(chat))
                waits.append(time.monotonic() - started)

            await scenario()
            await scenario()
            proxy.cut(moment)
            await scenario()
            trips = len(proxy.trips)
            half = (trips + 1) // 2
            for number in range(1, half + 1):
                proxy.cut(moment, number, half + number)
                await scenario()
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(*chats, caller)
        assert not any(chat.seen_again for chat in chats)
    print(f"{proxy.cuts} cuts, longest scenario {max(waits):.1f} s, without {waits[1]:.1f} s")
    assert proxy.cuts >= 0.9 * trips


OUTAGES = {
    "sessions": 8,
    "network": 8,
    "restart": 3,
    "kill": 4,
    "frozen": 2,
    "silent": 2,
}


@pytest.mark.parametrize("kept", ["safe_server"], indirect=True)
@pytest.mark.parametrize("what", OUTAGES)
async def test_database_goes_away_under_load(house, proxy, kept, chance, what):
    outage = partial(OUTAGE[what], kept.server, proxy)
    chats = [
        Chat(name, ahead=ahead, patient=True) for name, ahead in (("a", 3), ("b", 3), ("c", 1))
    ]
    callers = [Caller(name) for name in "de"]
    waits = []
    async with asyncio.timeout(300):
        await house.start()
        async with house.faithful(*chats) as session, calling(session, *callers) as stop:
            for _ in range(OUTAGES[what]):
                await asyncio.sleep(chance.uniform(0.2, 0.7))
                await outage()
                ended = time.monotonic()
                for chat in (*chats, *callers):
                    await answered(chat, list(chat.open))
                waits.append(time.monotonic() - ended)
            stop()
            for chat in chats:
                chat.ahead = 0
                await all_answered(chat)
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(*chats, *callers)
        assert not any(chat.seen_again for chat in chats)
    said = sum(len(chat.sent) for chat in (*chats, *callers))
    refused = sum(len(chat.refused) for chat in (*chats, *callers))
    print(f"{what}: {said} messages, {refused} refused, waits {[round(each, 1) for each in waits]}")


async def cut_sessions(server: OwnPostgres, proxy: PostgresProxy) -> None:
    await asyncio.to_thread(server.cut_sessions)


async def cut_network(server: OwnPostgres, proxy: PostgresProxy) -> None:
    proxy.sever()


async def restart(server: OwnPostgres, proxy: PostgresProxy) -> None:
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def kill(server: OwnPostgres, proxy: PostgresProxy) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def freeze(server: OwnPostgres, proxy: PostgresProxy) -> None:
    server.freeze()
    await asyncio.sleep(2.5 * SILENCE)
    server.thaw()


async def swallow(server: OwnPostgres, proxy: PostgresProxy) -> None:
    proxy.swallow()
    await asyncio.sleep(2.5 * SILENCE)
    proxy.flow()


OUTAGE: dict[str, Callable[[OwnPostgres, PostgresProxy], Awaitable[None]]] = {
    "sessions": cut_sessions,
    "network": cut_network,
    "restart": restart,
    "kill": kill,
    "frozen": freeze,
    "silent": swallow,
}


@asynccontextmanager
async def calling(session, *callers) -> AsyncIterator[Callable[[], None]]:
    """The callers ask one question after the other until they are told to stop."""
    going = True

    async def call(caller: Caller) -> None:
        while going:
            await caller.say(session)

    def stop() -> None:
        nonlocal going
        going = False

    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(call(caller))
        yield stop


async def all_answered(chat: Chat) -> None:
    await answered(chat, list(chat.open))


async def answered(chat: Chat | Caller, messages: list[str]) -> None:
    try:
        async with asyncio.timeout(STUCK_SECONDS):
            while any(each in chat.open for each in messages):
                await asyncio.sleep(0.02)
    except TimeoutError:
        stuck = [each for each in messages if each in chat.open]
        raise AssertionError(f"nobody drives {stuck}") from None
