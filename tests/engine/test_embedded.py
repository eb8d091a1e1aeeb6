"""The embedded driver, through the contract of all engines and what only it promises."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Engine as Settings
from famulus.core.messages import Outbound
from famulus.engine import journal
from famulus.engine.embedded import Embedded
from famulus.store.database import statement
from famulus.store.sqlite import SQLite
from famulus.testing.check_engine import EngineContract
from famulus.testing.check_resume import ResumeContract
from famulus.testing.runner import Script, ask, message

pytestmark = pytest.mark.anyio


@dataclass
class Running:
    engine: Embedded
    database: SQLite
    sent: list[Outbound] = field(default_factory=list)


@pytest.fixture
def make(tmp_path):
    @asynccontextmanager
    async def running(runner, *, while_busy="join", **settings):
        async with SQLite(tmp_path / "famulus.db") as database:
            sent = []
            engine = Embedded(
                database,
                runner,
                Settings(**settings),
                clock=Clock(),
                emit=lambda event: None,
                send=sent.append,
                while_busy=while_busy,
            )
            async with asyncio.TaskGroup() as group:
                task = group.create_task(engine.run())
                try:
                    yield Running(engine, database, sent)
                finally:
                    task.cancel()

    return running


class TestEmbedded(EngineContract, ResumeContract):
    @pytest.fixture
    def make(self, make):
        return make


async def test_a_turn_that_another_worker_took_over_stops_silently(make):
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def body(turn):
        reached.set()
        await goes_on.wait()
        return "late"

    async with make(Script(body)) as running:
        accepted = await running.engine.accept(message("go"), session="test:main:1")
        await reached.wait()
        await running.database.execute("update turn set attempt = attempt + 1")
        goes_on.set()
        await running.engine.drain(5)
        place = await journal.place(running.database, accepted.turn_id)
    assert (place.status, place.answer) == ("running", "")
    assert running.sent == []


@pytest.mark.parametrize(("acted", "answer"), [(False, "done"), (True, "outdated")])
async def test_a_journal_of_another_format_is_begun_anew_unless_something_was_done(
    make, acted, answer
):
    inbound = message("go")
    async with make(Script()) as running:
        await running.engine.drain(0)
        now = Clock().now().timestamp()
        await running.database.transaction(
            [
                journal.accept(inbound, lane="test:main:1", session="test:main:1", now=now),
                statement("update turn set format = -1, status = 'running', attempt = 1"),
                *journal.record(inbound.turn_id, 0, "old", b'"x"', acted=acted, attempt=1, now=now),
            ]
        )

    async def body(turn):
        return await turn.step("new", str, _done)

    async with make(Script(body)) as running:
        text = (await running.engine.answer(inbound.turn_id)).text
    assert text.startswith(answer)


async def test_a_large_outcome_is_kept_beside_the_journal(make):
    large = "x" * 300_000
    made = []

    async def act(_):
        made.append(1)
        return large

    async def body(turn):
        text = await turn.step("large", str, act)
        if turn.attempt == 1:
            await asyncio.Event().wait()
        return str(len(text))

    runner = Script(body)
    async with make(runner) as running:
        accepted = await running.engine.accept(message("go"), session="test:main:1")
        while not await running.database.fetch("select 1 from step"):
            await asyncio.sleep(0.005)
        (row,) = await running.database.fetch("select length(payload) as n from step")
        assert row["n"] < 100
    async with make(runner) as running:
        answer = await running.engine.answer(accepted.turn_id)
    assert answer.text == "300000"
    assert made == [1]


async def test_stop_is_quick(make):
    reached = asyncio.Event()

    async def body(turn):
        reached.set()
        await asyncio.Event().wait()
        return ""

    async with make(Script(body)) as running:
        await running.engine.accept(message("go"), session="test:main:1")
        await reached.wait()
        async with asyncio.timeout(0.2):
            await running.engine.cancel("test:main:1")


async def test_idle_lanes_are_forgotten(make):
    async with make(Script()) as running:
        for n in range(20):
            await ask(running.engine, message("hello", chat=str(n)))
        await running.engine.drain(5)
        assert running.engine._lanes._lanes == {}


async def _done(_):
    return "done"


@pytest.mark.parametrize("busy", [False, True])
async def test_a_message_is_answered_though_its_sender_left_while_it_was_stored(make, busy):
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def body(turn):
        if turn.inbound.text == "first":
            reached.set()
            await goes_on.wait()
        return "done"

    runner = Script(body)
    async with make(runner) as running, asyncio.TaskGroup() as group:
        await ask(running.engine, message("hello"))
        if busy:
            await running.engine.accept(message("first"), session="test:main:1")
            await reached.wait()
        leaving = group.create_task(running.engine.accept(message("go"), session="test:main:1"))
        await asyncio.sleep(0)
        leaving.cancel()
        goes_on.set()
        async with asyncio.timeout(5):
            while "go" not in runner.ran:
                await asyncio.sleep(0.005)


async def test_turns_with_ids_of_an_older_form_are_answered(make):
    first, second = "test::a:b:one", "test::a:b:two"
    async with make(Script()) as running:
        await running.engine.drain(0)
        for text in ("one", "two"):
            inbound = message(text, chat="a:b")
            insert = journal.accept(inbound, lane="test:a:b:1", session="test:a:b:1", now=1.0)
            await running.database.transaction([insert])
        await running.database.execute("update turn set id = replace(id, '%3A', ':')")
    async with make(Script()) as running:
        for turn in (first, second):
            answer = await running.engine.answer(turn)
            assert (answer.text, answer.turn_id) == ("one + two", first)
    assert [each.id for each in running.sent] == [first]


async def test_a_message_that_an_older_version_stored_is_not_answered_again(make):
    script = Script()
    async with make(script) as running:
        stored = message("go", id="x:1")
        first = await running.engine.accept(stored, session="test:main:1")
        await running.engine.answer(first.turn_id)
        await running.database.execute("update turn set id = :old", old=stored.plain_id)
        again = await running.engine.accept(stored, session="test:main:1")
        assert (again.turn_id, again.duplicate) == (stored.plain_id, True)
        other = message("go on", id="1", chat="main:x")
        assert other.plain_id == stored.plain_id
        accepted = await running.engine.accept(other, session="test:main:x:1")
        assert not accepted.duplicate
        await running.engine.answer(accepted.turn_id)
        assert script.ran == ["go", "go on"]
