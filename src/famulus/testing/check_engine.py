"""The contract of an `Engine`, for any driver.

    class TestEmbedded(EngineContract):
        @pytest.fixture
        def make(self, tmp_path): ...

`make(runner, **settings)` gives an async context manager: a running engine on the same database
each time, so that leaving it in the middle and making another is a restart.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from famulus.core.errors import Busy
from famulus.core.messages import Inbound, Origin, Outbound, Text
from famulus.core.protocols import Replay
from famulus.engine.turns import Answer, Closing, Ending, Engine, Stopped, Turn

pytestmark = pytest.mark.anyio


class Running(Protocol):
    """A running engine and the replies it has put on disk so far."""

    engine: Engine
    sent: list[Outbound]


Make = Callable[..., AbstractAsyncContextManager[Running]]
Body = Callable[[Turn], Awaitable[str]]


class Script:
    """A `Runner` that answers with what `body` returns and keeps the texts it was given."""

    def __init__(self, body: Body | None = None) -> None:
        self._body = body or _echo
        self.ran: list[str] = []

    async def run(self, turn: Turn) -> None:
        self.ran.append(" + ".join(each.text for each in turn.inbounds))
        text = await self._body(turn)
        await turn.finish(Closing(answer=_answer(text)))

    def end(self, turn: Turn, ending: Ending, detail: str) -> Closing:
        return Closing(answer=_answer(f"{ending} {detail}".strip(), quiet=ending == "stopped"))


class Door:
    """Lets a test see that a turn has got somewhere, and hold it there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.open.wait()


async def _echo(turn: Turn) -> str:
    return " + ".join(each.text for each in turn.inbounds)


def _answer(text: str, *, quiet: bool = False) -> Answer:
    return Answer(parts=(Text(text, Origin.ASSISTANT),), quiet=quiet)


def message(text: str, *, id: str = "", chat: str = "main", person: str = "owner") -> Inbound:  # noqa: A002
    return Inbound(
        channel="test",
        chat_id=chat,
        sender_id=person,
        person=person,
        message_id=id or text,
        parts=(Text(text, Origin.OWNER),),
        at=datetime.now(UTC),
        dialog_id="1",
    )


async def soon(awaitable: Awaitable[object], seconds: float = 10) -> object:
    async with asyncio.timeout(seconds):
        return await awaitable


async def ask(engine: Engine, inbound: Inbound) -> str:
    accepted = await engine.accept(inbound, session=f"test:{inbound.chat_id}:1")
    async with asyncio.timeout(10):
        return (await engine.answer(accepted.turn_id)).text


class EngineContract:
    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    async def test_a_message_is_answered(self, make: Make) -> None:
        async with make(Script()) as running:
            assert await ask(running.engine, message("hello")) == "hello"
            assert [each.text for each in running.sent] == ["hello"]
            assert running.sent[0].answers == ("hello",)

    async def test_the_same_message_again_is_answered_once(self, make: Make) -> None:
        runner = Script()
        async with make(runner) as running:
            await ask(running.engine, message("hello"))
            again = await running.engine.accept(message("hello"), session="test:main:1")
            assert again.duplicate
            answer = await running.engine.answer(again.turn_id)
        async with make(runner) as running:
            later = await running.engine.accept(message("hello"), session="test:main:1")
            assert later.duplicate
        assert answer.text == "hello"
        assert runner.ran == ["hello"]

    async def test_an_unknown_turn_is_a_key_error(self, make: Make) -> None:
        async with make(Script()) as running:
            with pytest.raises(KeyError):
                await running.engine.answer("test::main:never")

    async def test_messages_of_a_lane_keep_their_order(self, make: Make) -> None:
        runner = Script()
        async with make(runner, while_busy="queue") as running:
            turns = [
                await running.engine.accept(message(str(n)), session="test:main:1")
                for n in range(20)
            ]
            for turn in turns:
                await soon(running.engine.answer(turn.turn_id))
        assert runner.ran == [str(n) for n in range(20)]

    async def test_lanes_run_side_by_side(self, make: Make) -> None:
        first, second = Door(), Door()

        async def body(turn: Turn) -> str:
            await (first if turn.inbound.chat_id == "a" else second)()
            return "done"

        async with make(Script(body)) as running:
            turns = [
                await running.engine.accept(message(chat, chat=chat), session=f"test:{chat}:1")
                for chat in "ab"
            ]
            await soon(first.reached.wait())
            await soon(second.reached.wait())
            first.open.set()
            second.open.set()
            for turn in turns:
                await soon(running.engine.answer(turn.turn_id))

    async def test_messages_during_a_turn_are_joined_into_the_next(self, make: Make) -> None:
        door = Door()

        async def body(turn: Turn) -> str:
            if turn.inbound.text == "one":
                await door()
            return await _echo(turn)

        runner = Script(body)
        async with make(runner, while_busy="join") as running:
            turns = [await running.engine.accept(message("one"), session="test:main:1")]
            await soon(door.reached.wait())
            turns += [
                await running.engine.accept(message(text), session="test:main:1")
                for text in ("two", "three")
            ]
            door.open.set()
            answers = [await running.engine.answer(turn.turn_id) for turn in turns]
            assert running.sent[-1].answers == ("two", "three")
        assert [answer.text for answer in answers] == ["one", "two + three", "two + three"]
        assert len(running.sent) == 2

    async def test_messages_during_a_turn_can_steer_it(self, make: Make) -> None:
        door = Door()
        seen: list[str] = []

        async def body(turn: Turn) -> str:
            await turn.step("work", str, _value("done"))
            await door()
            seen.extend(each.text for each in await turn.steered())
            assert not await turn.steered()
            await turn.step("more", str, _value("done"))
            return "both"

        async with make(Script(body), while_busy="steer") as running:
            one = await running.engine.accept(message("one"), session="test:main:1")
            await soon(door.reached.wait())
            two = await running.engine.accept(message("two"), session="test:main:1")
            door.open.set()
            for turn in (one, two):
                answer = await running.engine.answer(turn.turn_id)
                assert answer.text == "both"
            assert running.sent[-1].answers == ("one", "two")
        assert seen == ["two"]
        assert len(running.sent) == 1

    async def test_a_steered_turn_sees_the_same_after_a_crash(self, make: Make) -> None:
        door = Door()
        seen: list[list[str]] = []

        async def body(turn: Turn) -> str:
            await turn.step("work", str, _value("done"))
            if turn.attempt == 1:
                await door()
            seen.append([each.text for each in await turn.steered()])
            if turn.attempt == 1:
                await asyncio.Event().wait()
            return await _echo(turn)

        runner = Script(body)
        async with make(runner, while_busy="steer") as running:
            await running.engine.accept(message("one"), session="test:main:1")
            await soon(door.reached.wait())
            two = await running.engine.accept(message("two"), session="test:main:1")
            door.open.set()
            await _until(lambda: len(seen) == 1)
        async with make(runner, while_busy="steer") as running:
            answer = await running.engine.answer(two.turn_id)
        assert seen == [["two"], ["two"]]
        assert answer.text == "one + two"

    async def test_a_full_queue_says_so_and_knows_what_it_has(self, make: Make) -> None:
        door = Door()

        async def body(turn: Turn) -> str:
            await door()
            return "done"

        async with make(Script(body), queue_per_session=2, while_busy="queue") as running:
            await running.engine.accept(message("0"), session="test:main:1")
            await soon(door.reached.wait())
            for text in ("1", "2"):
                await running.engine.accept(message(text), session="test:main:1")
            with pytest.raises(Busy, match="2 messages are waiting"):
                await running.engine.accept(message("3"), session="test:main:1")
            again = await running.engine.accept(message("2"), session="test:main:1")
            assert again.duplicate
            await running.engine.accept(message("0", chat="other"), session="test:other:1")
            door.open.set()

    async def test_a_finished_step_is_not_made_again(self, make: Make) -> None:
        made: list[str] = []

        async def body(turn: Turn) -> str:
            first = await turn.step("first", str, _noting(made, "first"))
            moment = await turn.freeze("moment", float, _now)
            second = await turn.step("second", float, _noting(made, "second", moment))
            if turn.attempt == 1:
                await asyncio.Event().wait()
            assert second == moment
            return first

        runner = Script(body)
        async with make(runner) as running:
            accepted = await running.engine.accept(message("go"), session="test:main:1")
            await _until(lambda: len(made) == 2)
            await asyncio.sleep(0.05)
        async with make(runner) as running:
            answer = await running.engine.answer(accepted.turn_id)
        assert answer.text == "first"
        assert made == ["first", "second"]
        assert len(running.sent) == 1

    @pytest.mark.parametrize(
        ("replay", "made", "outcome"),
        [
            (Replay.SAFE, 2, "made"),
            (Replay.IDEMPOTENT, 2, "made"),
            (Replay.UNSAFE, 1, "unknown"),
        ],
    )
    async def test_a_call_caught_in_the_middle(
        self, make: Make, replay: Replay, made: int, outcome: str
    ) -> None:
        keys: list[str] = []

        async def act(key: str) -> str:
            keys.append(key)
            if len(keys) == 1:
                await asyncio.Event().wait()
            return "made"

        async def body(turn: Turn) -> str:
            return await turn.step("act", str, act, replay=replay, unknown="unknown")

        runner = Script(body)
        async with make(runner) as running:
            accepted = await running.engine.accept(message("go"), session="test:main:1")
            await _until(lambda: len(keys) == 1)
        async with make(runner) as running:
            answer = await running.engine.answer(accepted.turn_id)
        assert answer.text == outcome
        assert len(keys) == made
        assert len(set(keys)) == 1

    async def test_parallel_steps_keep_their_numbers(self, make: Make) -> None:
        made: list[str] = []

        async def body(turn: Turn) -> str:
            numbers = turn.reserve(3)
            async with asyncio.TaskGroup() as group:
                # Started backwards on purpose.
                tasks = {
                    n: group.create_task(
                        turn.step(f"call {n}", str, _noting(made, str(n)), number=n)
                    )
                    for n in reversed(numbers)
                }
            if turn.attempt == 1:
                await asyncio.Event().wait()
            return "".join(tasks[n].result() for n in numbers)

        runner = Script(body)
        async with make(runner) as running:
            accepted = await running.engine.accept(message("go"), session="test:main:1")
            await _until(lambda: len(made) == 3)
            await asyncio.sleep(0.05)
        async with make(runner) as running:
            answer = await running.engine.answer(accepted.turn_id)
        assert answer.text == "012"
        assert len(made) == 3

    async def test_a_turn_that_always_fails_ends_with_an_honest_answer(self, make: Make) -> None:
        async def body(turn: Turn) -> str:
            raise ValueError("a bug")

        runner = Script(body)
        async with make(runner, max_attempts=2) as running:
            assert await ask(running.engine, message("go")) == "given_up 2 attempts"
            assert await ask(running.engine, message("next", chat="b")) == "given_up 2 attempts"
        assert len(running.sent) == 2

    async def test_many_restarts_do_not_give_up_a_turn_that_gets_on(self, make: Make) -> None:
        made: list[str] = []

        async def body(turn: Turn) -> str:
            for n in range(8):
                await turn.step(f"step {n}", str, _noting(made, str(n)))
                if turn.attempt == n + 1:
                    await asyncio.Event().wait()
            return "done"

        runner = Script(body)
        for n in range(8):
            async with make(runner, max_attempts=2) as running:
                accepted = await running.engine.accept(message("go"), session="test:main:1")
                await _until(lambda n=n: len(made) == n + 1)  # type: ignore[misc]
                await asyncio.sleep(0.05)
        async with make(runner, max_attempts=2) as running:
            answer = await running.engine.answer(accepted.turn_id)
        assert answer.text == "done"
        assert made == [str(n) for n in range(8)]

    async def test_stop_ends_the_turn_and_clears_the_queue(self, make: Make) -> None:
        door = Door()
        undone: list[bool] = []

        async def body(turn: Turn) -> str:
            try:
                await door()
            finally:
                undone.append(True)
            return "never"

        async with make(Script(body)) as running:
            one = await running.engine.accept(message("one"), session="test:main:1")
            await soon(door.reached.wait())
            two = await running.engine.accept(message("two"), session="test:main:1")
            stopped = await soon(running.engine.cancel("test:main:1"), 1)
            assert stopped == Stopped(running=1, waiting=1)
            for turn in (one, two):
                assert (await running.engine.answer(turn.turn_id)).text == "stopped"
            assert undone == [True]
            assert running.sent[0].quiet
            assert running.sent[0].answers == ("one", "two")
            nothing = await running.engine.cancel("test:main:1")
            assert nothing == Stopped(0, 0)
        async with make(Script(body)) as running:
            assert (await running.engine.answer(one.turn_id)).text == "stopped"

    async def test_a_lane_is_free_again_after_a_stop(self, make: Make) -> None:
        door = Door()

        async def body(turn: Turn) -> str:
            if turn.inbound.text == "one":
                await door()
            return "done"

        async with make(Script(body)) as running:
            await running.engine.accept(message("one"), session="test:main:1")
            await soon(door.reached.wait())
            await running.engine.cancel("test:main:1")
            assert await ask(running.engine, message("two")) == "done"

    async def test_a_person_with_many_chats_does_not_hold_up_another(self, make: Make) -> None:
        order: list[str] = []
        door = Door()

        async def body(turn: Turn) -> str:
            if turn.inbound.text == "first":
                await door()
            else:
                order.append(turn.person)
            return "done"

        async with make(Script(body), max_turns=1) as running:
            accept = running.engine.accept
            await accept(message("first", chat="0"), session="test:0:1")
            await soon(door.reached.wait())
            turns = [
                await accept(message(str(n), chat=str(n), person="ann"), session=f"test:{n}:1")
                for n in range(1, 6)
            ]
            turns.append(await accept(message("b", chat="b", person="bob"), session="test:b:1"))
            door.open.set()
            for turn in turns:
                await soon(running.engine.answer(turn.turn_id))
        assert order.index("bob") <= 1

    async def test_slots_bound_what_runs_at_once_but_not_commands(self, make: Make) -> None:
        door, running_now, most = Door(), 0, 0

        async def body(turn: Turn) -> str:
            nonlocal running_now, most
            if turn.lane.startswith("!"):
                return "command"
            running_now += 1
            most = max(most, running_now)
            await door()
            running_now -= 1
            return "done"

        async with make(Script(body), max_turns=5, max_turns_per_person=3) as running:
            accept = running.engine.accept
            turns = [
                await accept(
                    message(f"{who}{n}", chat=f"{who}{n}", person=who), session=f"s:{who}{n}:1"
                )
                for who in ("ann", "bob")
                for n in range(4)
            ]
            await soon(door.reached.wait())
            command = await accept(message("/stop"), session="test:ann0:1", lane="!test:ann0")
            answer = await running.engine.answer(command.turn_id)
            assert answer.text == "command"
            door.open.set()
            for turn in turns:
                await soon(running.engine.answer(turn.turn_id))
        assert most == 5

    async def test_a_timer_fires_once_and_survives_a_restart(self, make: Make) -> None:
        runner = Script()
        async with make(runner) as running:
            past = datetime.now(UTC) + timedelta(milliseconds=30)
            future = datetime.now(UTC) + timedelta(milliseconds=400)
            await running.engine.set_timer("a", past, message("tick"))
            await running.engine.set_timer("b", future, message("tock"))
            await running.engine.set_timer("c", future, message("never"))
            await running.engine.clear_timer("c")
            await _until(lambda: runner.ran == ["tick"])
        async with make(runner) as running:
            await _until(lambda: len(runner.ran) == 2)
            await asyncio.sleep(0.1)
        assert runner.ran == ["tick", "tock"]

    async def test_draining_takes_nothing_and_lets_turns_end(self, make: Make) -> None:
        door = Door()

        async def body(turn: Turn) -> str:
            await door()
            return "done"

        async with make(Script(body)) as running, asyncio.TaskGroup() as group:
            accepted = await running.engine.accept(message("one"), session="test:main:1")
            await soon(door.reached.wait())
            draining = group.create_task(running.engine.drain(5))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await running.engine.accept(message("two"), session="test:main:1")
            assert not draining.done()
            door.open.set()
            await soon(draining)
            assert (await running.engine.answer(accepted.turn_id)).text == "done"

    async def test_a_reply_before_the_end_is_sent_once(self, make: Make) -> None:
        replied = asyncio.Event()

        async def body(turn: Turn) -> str:
            await turn.reply([Text("working on it", Origin.ASSISTANT)])
            replied.set()
            if turn.attempt == 1:
                await asyncio.Event().wait()
            return "done"

        runner = Script(body)
        async with make(runner) as running:
            accepted = await running.engine.accept(message("go"), session="test:main:1")
            await soon(replied.wait())
            assert [each.text for each in running.sent] == ["working on it"]
        async with make(runner) as running:
            await running.engine.answer(accepted.turn_id)
            assert [each.text for each in running.sent] == ["done"]


def _value(value: str) -> Callable[[str], Awaitable[str]]:
    async def give(_: str) -> str:
        return value

    return give


def _noting(made: list[str], name: str, value: Any = None) -> Callable[[str], Awaitable[Any]]:
    async def note(_: str) -> Any:
        made.append(name)
        return name if value is None else value

    return note


async def _now() -> float:
    return datetime.now(UTC).timestamp()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


__all__ = ["AsyncIterator", "EngineContract", "Running", "Script", "ask", "message"]
