"""An agent on a real engine and a real database, with a scripted model."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

import pytest

from famulus.agent.dispatch import Dispatch
from famulus.agent.history import History
from famulus.agent.media import Media
from famulus.agent.prompt import Prompt
from famulus.agent.turn import Agent
from famulus.core.clock import Clock
from famulus.core.config import Engine as EngineSettings
from famulus.core.main_agent import Agent as Settings
from famulus.core.messages import Inbound, Origin, SessionKey, Text
from famulus.engine.embedded import Embedded
from famulus.state.blobs import Blobs
from famulus.state.messages import Messages
from famulus.state.sessions import Sessions
from famulus.store.sqlite import SQLite

KEY = SessionKey("test", "main", "1")
AT = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


@dataclass
class Talk:
    """A conversation with an agent; `events` are those of all its turns."""

    engine: Embedded
    agent: Agent
    database: SQLite
    sessions: Sessions
    messages: Messages
    blobs: Blobs
    events: list
    numbers: count

    async def say(self, text, *, parts=(), chat=KEY.chat_id, at=AT, **fields):
        inbound = Inbound(
            channel=KEY.channel,
            chat_id=chat,
            dialog_id=KEY.dialog_id,
            sender_id="owner",
            person="owner",
            message_id=f"{datetime.now(UTC).timestamp()}-{next(self.numbers)}",
            parts=(Text(text, Origin.OWNER), *parts),
            at=at,
            **fields,
        )
        accepted = await self.engine.accept(
            inbound, session=f"{KEY.channel}:{chat}:{KEY.dialog_id}"
        )
        async with asyncio.timeout(10):
            return await self.engine.answer(accepted.turn_id)

    async def said(self):
        return [each.message for each in await self.messages.window(str(KEY), 0)]


@pytest.fixture
def talk(tmp_path):
    @asynccontextmanager
    async def talking(
        model, *, tools=(), output=4000, commands=8, transcriber=None, tool_clock=None, **settings
    ):
        clock, events = Clock(), []
        workspace = tmp_path / "workspace"
        workspace.mkdir(exist_ok=True)
        settings = Settings(**settings)
        async with SQLite(tmp_path / "famulus.db") as database:
            sessions, blobs = Sessions(database, clock=clock), Blobs(database, clock=clock)
            messages = Messages(database)
            await sessions.ensure(KEY, "owner")
            agent = Agent(
                settings,
                prompt=Prompt(name="famulus", workspace=workspace, folder=None),
                history=History(
                    sessions=sessions,
                    messages=messages,
                    blobs=blobs,
                    most_messages=settings.history_messages,
                ),
                dispatch=Dispatch(
                    tools,
                    settings,
                    workspace=workspace,
                    clock=tool_clock or clock,
                    commands=asyncio.Semaphore(commands),
                    output_characters=output,
                ),
                media=Media(blobs, transcriber),
                model=lambda name: model,
                kept=lambda name: model,
            )
            engine = Embedded(
                database,
                agent,
                EngineSettings(),
                clock=clock,
                emit=events.append,
                send=lambda outbound: None,
                while_busy=settings.while_busy,
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(engine.run())
                try:
                    yield Talk(engine, agent, database, sessions, messages, blobs, events, count())
                finally:
                    running.cancel()

    return talking
