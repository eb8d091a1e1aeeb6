"""The contract of an `Engine`, for any driver; `check_resume.py` has what a crash must not break.

    class TestEmbedded(EngineContract):
        @pytest.fixture
        def make(self, tmp_path): ...

`make(runner, **settings)` gives an async context manager: a running engine on the same database
each time, so that leaving it in the middle and making another is a restart.
"""

import asyncio
from collections.abc import Awaitable

import pytest

from famulus.core.errors import Busy
from famulus.core.protocols import Accepted
from famulus.engine.turns import Stopped, Turn
from famulus.testing.runner import Door, Make, Script, ask, echo, giving, message, soon

pytestmark = pytest.mark.anyio


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
            return await echo(turn)

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
            await turn.step("work", str, giving("done"))
            await door()
            seen.extend(each.text for each in await turn.steered())
            assert not await turn.steered()
            await turn.step("more", str, giving("done"))
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

    @pytest.mark.parametrize("while_busy", ["join", "steer"])
    async def test_only_words_of_the_same_person_for_the_same_model_share_a_turn(
        self, make: Make, while_busy: str
    ) -> None:
        door = Door()
        seen: list[str] = []

        async def body(turn: Turn) -> str:
            await turn.step("work", str, giving("done"))
            if turn.inbound.text == "one":
                await door()
                seen.extend(each.text for each in await turn.steered())
            return await echo(turn)

        others = [
            message("my own", person="owner"),
            message("a guest's", person="guest"),
            message("a guest's too", person="guest"),
            message("for another model", person="guest", model="other"),
            message("mine again", person="owner"),
        ]
        async with make(Script(body), while_busy=while_busy) as running:
            turns = [await running.engine.accept(message("one"), session="test:main:1")]
            await soon(door.reached.wait())
            turns += [await running.engine.accept(each, session="test:main:1") for each in others]
            door.open.set()
            answers = [(await running.engine.answer(turn.turn_id)).text for turn in turns]
        guests = "a guest's + a guest's too"
        first = ["one + my own"] * 2 if while_busy == "steer" else ["one", "my own"]
        assert answers == [*first, guests, guests, "for another model", "mine again"]
        assert seen == (["my own"] if while_busy == "steer" else [])

    async def test_whoever_waits_is_told_which_turn_answered(self, make: Make) -> None:
        door = Door()

        async def body(turn: Turn) -> str:
            await door()
            return await echo(turn)

        async with make(Script(body)) as running:
            turns = [await running.engine.accept(message("0"), session="test:main:1")]
            await soon(door.reached.wait())
            turns += [
                await running.engine.accept(message(text), session="test:main:1")
                for text in ("1", "2")
            ]
            door.open.set()
            ids = [each.turn_id for each in turns]
            answers = [await running.engine.answer(each) for each in ids]
            later = [await running.engine.answer(each) for each in ids]
        assert [each.turn_id for each in answers] == [ids[0], ids[1], ids[1]]
        assert later == answers

    async def test_the_same_message_many_times_at_once_is_one_turn_of_one_session(
        self, make: Make
    ) -> None:
        runner = Script()
        async with make(runner) as running, asyncio.TaskGroup() as group:
            accept = running.engine.accept
            await accept(message("first"), session="test:other:1")
            tasks = [
                group.create_task(accept(message("go"), session=f"test:main:{n}")) for n in range(5)
            ]
            accepted = [await task for task in tasks]
            answers = [await running.engine.answer(each.turn_id) for each in accepted]
        assert [each.duplicate for each in accepted] == [False, True, True, True, True]
        assert len({(each.turn_id, each.session) for each in accepted}) == 1
        assert {each.text for each in answers} == {"go"}
        assert runner.ran == ["first", "go"]

    async def test_messages_that_are_being_stored_fill_the_queue_too(self, make: Make) -> None:
        door = Door()

        async def body(turn: Turn) -> str:
            await door()
            return await echo(turn)

        async with make(Script(body), queue_per_session=3) as running:
            accept = running.engine.accept
            await accept(message("0"), session="test:main:1")
            await soon(door.reached.wait())
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_refused(accept(message(str(n)), session="test:main:1")))
                    for n in range(1, 11)
                ]
            door.open.set()
        assert [task.result() for task in tasks] == [False] * 3 + [True] * 7

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


async def _refused(accepting: Awaitable[Accepted]) -> bool:
    try:
        await accepting
    except Busy:
        return True
    return False
