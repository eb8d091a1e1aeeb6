"""The contract of an `Engine` for what happens after a restart: the journal's part.

Subclass it like `EngineContract`, with the same `make`.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from famulus.core.messages import Origin, Text
from famulus.core.protocols import Replay
from famulus.engine.turns import Turn
from famulus.testing.runner import (
    Door,
    Make,
    Script,
    ask,
    echo,
    giving,
    message,
    noting,
    now,
    soon,
    until,
)

pytestmark = pytest.mark.anyio


class ResumeContract:
    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    async def test_a_steered_turn_sees_the_same_after_a_crash(self, make: Make) -> None:
        door = Door()
        seen: list[list[str]] = []

        async def body(turn: Turn) -> str:
            await turn.step("work", str, giving("done"))
            if turn.attempt == 1:
                await door()
            seen.append([each.text for each in await turn.steered()])
            if turn.attempt == 1:
                await asyncio.Event().wait()
            return await echo(turn)

        runner = Script(body)
        async with make(runner, while_busy="steer") as running:
            await running.engine.accept(message("one"), session="test:main:1")
            await soon(door.reached.wait())
            two = await running.engine.accept(message("two"), session="test:main:1")
            door.open.set()
            await until(lambda: len(seen) == 1)
        async with make(runner, while_busy="steer") as running:
            answer = await running.engine.answer(two.turn_id)
        assert seen == [["two"], ["two"]]
        assert answer.text == "one + two"

    async def test_a_finished_step_is_not_made_again(self, make: Make) -> None:
        made: list[str] = []

        async def body(turn: Turn) -> str:
            first = await turn.step("first", str, noting(made, "first"))
            moment = await turn.freeze("moment", float, now)
            second = await turn.step("second", float, noting(made, "second", moment))
            if turn.attempt == 1:
                await asyncio.Event().wait()
            assert second == moment
            return first

        runner = Script(body)
        async with make(runner) as running:
            accepted = await running.engine.accept(message("go"), session="test:main:1")
            await until(lambda: len(made) == 2)
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
            await until(lambda: len(keys) == 1)
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
                        turn.step(f"call {n}", str, noting(made, str(n)), number=n)
                    )
                    for n in reversed(numbers)
                }
            if turn.attempt == 1:
                await asyncio.Event().wait()
            return "".join(tasks[n].result() for n in numbers)

        runner = Script(body)
        async with make(runner) as running:
            accepted = await running.engine.accept(message("go"), session="test:main:1")
            await until(lambda: len(made) == 3)
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
                await turn.step(f"step {n}", str, noting(made, str(n)))
                if turn.attempt == n + 1:
                    await asyncio.Event().wait()
            return "done"

        runner = Script(body)
        for n in range(8):
            async with make(runner, max_attempts=2) as running:
                accepted = await running.engine.accept(message("go"), session="test:main:1")
                await until(lambda n=n: len(made) == n + 1)  # type: ignore[misc]
                await asyncio.sleep(0.05)
        async with make(runner, max_attempts=2) as running:
            answer = await running.engine.answer(accepted.turn_id)
        assert answer.text == "done"
        assert made == [str(n) for n in range(8)]

    async def test_a_timer_fires_once_and_survives_a_restart(self, make: Make) -> None:
        runner = Script()
        async with make(runner) as running:
            past = datetime.now(UTC) + timedelta(milliseconds=30)
            future = datetime.now(UTC) + timedelta(milliseconds=400)
            await running.engine.set_timer("a", past, message("tick"))
            await running.engine.set_timer("b", future, message("tock"))
            await running.engine.set_timer("c", future, message("never"))
            await running.engine.clear_timer("c")
            await until(lambda: runner.ran == ["tick"])
        async with make(runner) as running:
            await until(lambda: len(runner.ran) == 2)
            await asyncio.sleep(0.1)
        assert runner.ran == ["tick", "tock"]

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
