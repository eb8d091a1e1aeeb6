"""Sessions of one chat, made by many at once."""

import asyncio

import pytest

from famulus.core.clock import Clock
from famulus.core.messages import SessionKey
from famulus.state.sessions import Sessions
from famulus.store.postgres import Postgres
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request, tmp_path):
    if request.param == "sqlite":
        opened = SQLite(tmp_path / "famulus.db")
    else:
        opened = Postgres(request.getfixturevalue("postgres_url"))
    async with opened as database:
        yield database


async def at_once(*calls):
    return await asyncio.gather(*calls)


class Slow:
    """A database that keeps what it has read of a chat to itself until `told` is set."""

    def __init__(self, database) -> None:
        self._database = database
        self.read, self.told = asyncio.Event(), asyncio.Event()

    async def fetch(self, sql, /, **parameters):
        rows = await self._database.fetch(sql, **parameters)
        if "from chat" in sql:
            self.read.set()
            await self.told.wait()
        return rows

    async def transaction(self, statements, **options):
        return await self._database.transaction(statements, **options)


async def test_first_messages_that_come_at_once_share_one_conversation(database) -> None:
    slow = Slow(database)
    first, second = Sessions(database, clock=Clock()), Sessions(slow, clock=Clock())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        later = group.create_task(second.current("web", "main", "owner"))
        await slow.read.wait()
        calls = [first.current("web", "main", "owner") for _ in range(8)]
        assert set(await at_once(*calls)) == {SessionKey("web", "main", "1")}
        slow.told.set()
    assert later.result() == SessionKey("web", "main", "1")
    assert len(await first.of_chat("web", "main")) == 1


async def test_conversations_that_are_begun_at_once_are_different_ones(database) -> None:
    sessions = [Sessions(database, clock=Clock()) for _ in range(2)]
    calls = [sessions[n % 2].create("web", "main", "owner", title=f"title {n}") for n in range(6)]
    made = await at_once(*calls)
    assert {key.dialog_id for key in made} == set("123456")
    found = {each.key: each.title for each in await sessions[0].of_chat("web", "main")}
    assert found == {str(key): f"title {n}" for n, key in enumerate(made)}


async def test_session_that_is_made_twice_at_once_belongs_to_whoever_was_first(database) -> None:
    sessions = [Sessions(database, clock=Clock()) for _ in range(2)]
    key = SessionKey("chat", "group", "1")
    calls = [sessions[n].ensure(key, person) for n, person in enumerate(("ann", "bob"))]
    first, second = await at_once(*calls)
    assert first.person == second.person
