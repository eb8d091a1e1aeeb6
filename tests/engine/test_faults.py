"""A database that fails at any one transaction of a conversation: nothing lost, nothing twice."""

import asyncio
from datetime import UTC, datetime

import pytest

from famulus.core.errors import Busy, NotReady, StoreError
from famulus.core.messages import Origin, Text
from famulus.core.protocols import Accepted, Replay
from famulus.engine import journal, outbox
from famulus.store.database import Statement
from famulus.store.postgres import Postgres
from famulus.store.sqlite import SQLite
from famulus.testing.runner import Door, Script, ask, giving, message, now, soon, until

pytestmark = pytest.mark.anyio

TABLES = ("turn", "step", "outbox", "timer")
SESSION = "test:main:1"


@pytest.fixture(params=["sqlite", "postgres"])
async def empty(request, tmp_path):
    """Gives an open database with nothing in it."""
    if request.param == "sqlite":
        opened = SQLite(tmp_path / "famulus.db")
    else:
        opened = Postgres(request.getfixturevalue("postgres_url"))

    async with opened as database:

        async def again():
            await database.transaction([Statement(f"delete from {table}", {}) for table in TABLES])
            return database

        yield again


class Talk:
    """Three turns: one with every kind of write that is steered, and one that others have joined.
    A client sends again what was not accepted, and waits for each answer.
    """

    def __init__(self) -> None:
        self.working, self.steering = Door(), Door()
        self.effects: list[str] = []
        self.runner = Script(self.body)

    async def body(self, turn) -> str:
        if "one" in turn.inbounds[0].text:
            await turn.freeze("moment", float, now)
            await turn.step("look", str, giving("seen"))
            await turn.step("look", str, giving("seen again"))
            await turn.step("act", str, self.act, replay=Replay.UNSAFE, unknown="unknown")
            await turn.reply([Text("working on it", Origin.ASSISTANT)])
            await self.working()
            steered = await turn.steered()
            await turn.step("more", str, giving("seen"))
            await turn.step("last", str, giving("said"), last=lambda _: True)
            assert steered or turn.attempt > 1
        else:
            await self.steering()
            await turn.step("look", str, giving("seen"))
            await turn.step("look", str, giving("seen again"))
        return " + ".join(each.text for each in turn.inbounds)

    async def act(self, key: str) -> str:
        self.effects.append(key)
        return "acted"

    async def say(self, engine, text):
        while True:
            try:
                accepted = await engine.accept(message(text), session=SESSION)
            except Busy:
                await asyncio.sleep(0.01)
            else:
                return (await engine.answer(accepted.turn_id)).text

    async def hold(self, running) -> list[str]:
        """The answers to the messages in order."""
        engine = running.engine
        async with asyncio.TaskGroup() as group:
            said = [group.create_task(self.say(engine, "one"))]
            await soon(self.working.reached.wait())
            said.append(group.create_task(self.say(engine, "two")))
            await until(lambda: engine._lanes.depth(SESSION) >= 1)
            self.working.open.set()
            await soon(said[0])
            said.append(group.create_task(self.say(engine, "three")))
            await soon(self.steering.reached.wait())
            for n, text in enumerate(("four", "five"), 1):
                said.append(group.create_task(self.say(engine, text)))
                await until(lambda n=n: engine._lanes.depth(SESSION) >= n)
            self.steering.open.set()
        return [await each for each in said]


async def told(empty, serve, fault, at):
    talk = Talk()
    database = await empty()
    async with serve(database, talk.runner, at=at, fault=fault, while_busy="steer") as running:
        async with asyncio.timeout(10):
            answers = await talk.hold(running)
        assert await running.open_turns() == []
        left = await database.fetch("select id from outbox order by created, id")
        replies = [each.id for each in running.sent]
        assert sorted(replies) == sorted(row["id"] for row in left)
        assert len(set(replies)) == len(replies)
        return talk, answers, running


@pytest.mark.parametrize("fault", ["lost", "away", "outage"])
async def test_a_database_that_fails_once_costs_nobody_an_answer(empty, serve, fault) -> None:
    talk, clean, running = await told(empty, serve, "", 0)
    assert clean == ["one + two", "one + two", "three", "four + five", "four + five"]
    for at, label in enumerate(running.database.labels, 1):
        talk, answers, _ = await told(empty, serve, fault, at)
        assert answers == clean, f"{fault} at {at}: {label}"
        assert len(talk.effects) == 1


async def every_write(turn) -> str:
    await turn.freeze("moment", float, now)
    await turn.step("look", str, giving("seen"))
    await turn.step("act", str, giving("acted"), replay=Replay.UNSAFE, unknown="unknown")
    await turn.reply([Text("working on it", Origin.ASSISTANT)])
    await turn.step("look", str, giving("seen again"))
    return "done"


async def test_nobody_waits_much_longer_than_the_database_is_away(empty, serve) -> None:
    async with serve(await empty(), Script(every_write), fault="outage") as running:
        database = running.database
        assert await ask(running.engine, message("hello")) == "done"
        writes, database.calls = database.count, 20
        for write in range(2, writes + 1):
            database.at = database.count + write
            assert await ask(running.engine, message(f"go {write}")) == "done"
            assert database.count > database.at
        assert running.clock.longest <= 2


async def test_a_turn_that_cannot_be_written_ends_with_an_answer(empty, serve) -> None:
    async with serve(await empty(), Script(every_write), fault="refused") as running:
        database = running.database
        assert await ask(running.engine, message("hello")) == "done"
        before = database.count
        assert await ask(running.engine, message("hello again")) == "done"
        for write in range(2, database.count - before + 1):
            database.at = database.count + write
            running.sent.clear()
            answer = await ask(running.engine, message(f"go {write}"))
            assert answer.startswith("I could not finish this"), database.labels[database.at - 1]
            assert "The database cannot hold this." in answer
            assert [each.text for each in running.sent if each.id == each.turn_id] == [answer]
            assert await ask(running.engine, message(f"next {write}")) == "done"
            assert await running.open_turns() == []


async def test_a_turn_that_cannot_even_be_ended_keeps_its_place_and_says_so(empty, serve) -> None:
    door = Door()

    async def body(turn):
        await door()
        return turn.inbound.text

    async def fails(engine, turn_id):
        with pytest.raises(StoreError, match="damaged"):
            await soon(engine.answer(turn_id))

    async with serve(await empty(), Script(body)) as running:
        async with asyncio.TaskGroup() as group:
            for text in ("one", "two"):
                accepted = await running.engine.accept(message(text), session=SESSION)
                group.create_task(fails(running.engine, accepted.turn_id))
            await soon(door.reached.wait())
            running.database.broken = True
            door.open.set()
        running.database.broken = False
        answers = [await running.engine.answer(f"test::main:{text}") for text in ("one", "two")]
    assert answers[0].text.startswith("I could not finish this")
    assert answers[1].text == "two"


async def test_order_holds_though_nobody_knew_that_the_first_message_was_stored(
    empty, serve
) -> None:
    async with serve(await empty(), Script(), at=1, fault="outage") as running:
        with pytest.raises(NotReady, match="I cannot say whether your message was stored"):
            await running.engine.accept(message("one"), session=SESSION)
        running.database.away = 0
        two = await running.engine.accept(message("two"), session=SESSION)
        await soon(running.engine.answer(two.turn_id))
        again = await running.engine.accept(message("one"), session=SESSION)
        assert (await running.engine.answer(again.turn_id)).text == "one"
        assert [each.text for each in running.sent] == ["one", "two"]


async def test_a_message_that_is_stored_and_driven_by_nobody_is_driven_when_it_comes_again(
    empty, serve
) -> None:
    runner = Script()
    async with serve(await empty(), runner) as running:
        insert = journal.accept(message("one"), lane=SESSION, session=SESSION, now=1.0)
        await running.database.transaction([insert])
        again = await running.engine.accept(message("one"), session="test:main:2")
        assert again == Accepted("test::main:one", SESSION, duplicate=True)
        assert (await soon(running.engine.answer(again.turn_id))).text == "one"
    assert runner.ran == ["one"]


async def test_a_message_that_comes_again_from_another_conversation_waits_in_its_own_lane(
    empty, serve
) -> None:
    door = Door()

    async def body(turn):
        await door()
        return turn.inbound.text

    runner = Script(body)
    async with serve(await empty(), runner, while_busy="queue") as running:
        zero = await running.engine.accept(message("zero"), session=SESSION)
        await soon(door.reached.wait())
        insert = journal.accept(message("one"), lane=SESSION, session=SESSION, now=1.0)
        await running.database.transaction([insert])
        again = await running.engine.accept(message("one"), session="test:main:2")
        await until(lambda: running.engine._lanes.depth(SESSION) == 1)
        assert runner.ran == ["zero"]
        door.open.set()
        for turn in (zero, again):
            await soon(running.engine.answer(turn.turn_id))
    assert runner.ran == ["zero", "one"]


async def test_what_is_damaged_on_disk_holds_up_no_other_message_and_no_other_reply(
    empty, serve
) -> None:
    database = await empty()
    texts = ("one", "two", "three")
    lost = [
        journal.accept(message(text, chat=text), lane=text, session=text, now=1.0) for text in texts
    ]
    damage = "update turn set inbound = substr(inbound, 1, 20) where id = 'test::one:one'"
    await database.transaction([*lost, Statement(damage, {})])
    runner = Script()
    async with serve(database, runner) as running:
        for text in texts[1:]:
            assert (await soon(running.engine.answer(f"test::{text}:{text}"))).text == text
    await database.execute("update outbox set payload = '{' where id = 'test::two:two'")
    assert [each.id for each in await outbox.open_replies(database)] == ["test::three:three"]


async def test_an_open_turn_that_nobody_drives_is_found(empty, serve, monkeypatch) -> None:
    monkeypatch.setattr("famulus.engine.embedded._SWEEP_SECONDS", 0.01)
    door = Door()

    async def body(turn):
        await door()
        return turn.inbound.text

    runner = Script(body)
    async with serve(await empty(), runner, while_busy="queue") as running:
        running_now = await running.engine.accept(message("zero"), session=SESSION)
        await soon(door.reached.wait())
        lost = [
            journal.accept(message(text), lane=SESSION, session=SESSION, now=1.0)
            for text in ("one", "two")
        ]
        await running.database.transaction(lost)
        three = await running.engine.accept(message("three"), session=SESSION)
        await until(lambda: running.engine._lanes.depth(SESSION) == 3)
        door.open.set()
        for turn in (running_now, three):
            await soon(running.engine.answer(turn.turn_id))
    assert runner.ran == ["zero", "one", "two", "three"]


async def test_a_message_that_joined_is_not_lost_when_the_turn_is_stopped_on_a_full_disk(
    empty, serve
) -> None:
    door, written = Door(), Door()

    async def body(turn):
        await door()
        written.reached.set()
        await turn.steered()
        return "never"

    async with serve(await empty(), Script(body), while_busy="steer") as running:
        engine, database = running.engine, running.database
        one = await engine.accept(message("one"), session=SESSION)
        await soon(door.reached.wait())
        two = await engine.accept(message("two"), session=SESSION)
        database.full = True
        door.open.set()
        await soon(written.reached.wait())
        before = database.count
        await until(lambda: database.count >= before + 2)
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(engine.cancel(SESSION))
            again = database.count
            await until(lambda: database.count >= again + 2)
            database.full = False
        assert stopping.result().running == 1
        answers = [await soon(engine.answer(each.turn_id)) for each in (one, two)]
        assert [each.text for each in answers] == ["stopped", "stopped"]
        assert await running.open_turns() == []


async def test_a_turn_ends_though_its_runner_has_no_words_for_it(empty, serve) -> None:
    class Speechless(Script):
        def end(self, turn, ending, detail):
            raise ValueError("a bug")

    async def body(turn):
        raise ValueError("a bug")

    async with serve(await empty(), Speechless(body), max_attempts=2) as running:
        assert "an error of mine" in await ask(running.engine, message("go"))


@pytest.mark.parametrize("fault", ["lost", "away", "outage"])
async def test_a_timer_fires_once_though_the_database_fails_meanwhile(
    empty, serve, fault, monkeypatch
) -> None:
    monkeypatch.setattr("famulus.engine.timers._AGAIN_SECONDS", 0.01)
    runner = Script()
    # The first transaction sets the timer, the second one fires it.
    async with serve(await empty(), runner, at=2, fault=fault) as running:
        await running.engine.set_timer("a", datetime.now(UTC), message("tick"))
        await until(lambda: bool(running.sent))
        await running.engine.drain(5)
        assert await running.open_turns() == []
    assert runner.ran == ["tick"]


async def test_a_timer_that_cannot_be_fired_holds_up_no_other(empty, serve) -> None:
    runner = Script()
    async with serve(await empty(), runner) as running:
        running.database.poison = "test::main:first"
        for name in ("first", "second"):
            await running.engine.set_timer(name, datetime.now(UTC), message(name))
        await until(lambda: runner.ran == ["second"])


async def test_a_stop_reaches_a_turn_that_is_being_taken_up_again(empty, serve) -> None:
    failed = asyncio.Event()

    async def body(turn):
        if turn.attempt == 1:
            failed.set()
            raise ValueError("a bug")
        await asyncio.Event().wait()

    async with serve(await empty(), Script(body)) as running:
        one = await running.engine.accept(message("one"), session=SESSION)
        await soon(failed.wait())
        assert (await soon(running.engine.cancel(SESSION))).running == 1
        assert (await soon(running.engine.answer(one.turn_id))).text == "stopped"
