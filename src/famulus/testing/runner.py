"""What the contracts of an engine are written with: a scripted runner and a few words."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

from famulus.core.messages import Inbound, Origin, Outbound, Text
from famulus.engine.turns import Answer, Closing, Ending, Engine, Turn


class Running(Protocol):
    """A running engine and the replies it has put on disk so far."""

    engine: Engine
    sent: list[Outbound]


Make = Callable[..., AbstractAsyncContextManager[Running]]
Body = Callable[[Turn], Awaitable[str]]


class Script:
    """A `Runner` that answers with what `body` returns and keeps the texts it was given."""

    def __init__(self, body: Body | None = None) -> None:
        self._body = body or echo
        self.ran: list[str] = []

    async def run(self, turn: Turn) -> None:
        self.ran.append(" + ".join(each.text for each in turn.inbounds))
        text = await self._body(turn)
        await turn.finish(Closing(answer=answered(text)))

    def end(self, turn: Turn, ending: Ending, detail: str) -> Closing:
        return Closing(answer=answered(f"{ending} {detail}".strip(), quiet=ending == "stopped"))


class Door:
    """Lets a test see that a turn has got somewhere, and hold it there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.open.wait()


async def echo(turn: Turn) -> str:
    return " + ".join(each.text for each in turn.inbounds)


def answered(text: str, *, quiet: bool = False) -> Answer:
    return Answer(parts=(Text(text, Origin.ASSISTANT),), quiet=quiet)


def message(
    text: str,
    *,
    id: str = "",  # noqa: A002
    chat: str = "main",
    person: str = "owner",
    model: str = "",
) -> Inbound:
    return Inbound(
        channel="test",
        chat_id=chat,
        sender_id=person,
        person=person,
        message_id=id or text,
        parts=(Text(text, Origin.OWNER),),
        at=datetime.now(UTC),
        dialog_id="1",
        model=model,
    )


async def soon(awaitable: Awaitable[object], seconds: float = 10) -> object:
    async with asyncio.timeout(seconds):
        return await awaitable


async def ask(engine: Engine, inbound: Inbound) -> str:
    accepted = await engine.accept(inbound, session=f"test:{inbound.chat_id}:1")
    async with asyncio.timeout(10):
        return (await engine.answer(accepted.turn_id)).text


def giving(value: str) -> Callable[[str], Awaitable[str]]:
    async def give(_: str) -> str:
        return value

    return give


def noting(made: list[str], name: str, value: Any = None) -> Callable[[str], Awaitable[Any]]:
    async def note(_: str) -> Any:
        made.append(name)
        return name if value is None else value

    return note


async def now() -> float:
    return datetime.now(UTC).timestamp()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)
