"""Deleting a conversation with all that is kept of it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from famulus.core.clock import Clock
from famulus.core.messages import SessionKey
from famulus.core.workspace import remove_spilled, remove_uploaded
from famulus.engine import retention
from famulus.state import blobs
from famulus.state.messages import Messages
from famulus.state.sessions import Sessions
from famulus.store.database import Database


async def _nothing_runs(session: str) -> object:
    return None


class Erasure:
    """Deletes what was said in a conversation, wherever it is kept: messages and summaries, turns
    with their steps and replies, files that came with it, long outputs of tools.

    What stays: the ids of its messages, so that none is answered again; what it cost; files that a
    tool was told to write. It may be cut off at any moment and done again.

    `cancel` stops a session's turns, `forget` is told which turns are deleted, and `sweep` that
    the place where they stood is to be overwritten.
    """

    def __init__(
        self,
        database: Database,
        *,
        sessions: Sessions,
        messages: Messages,
        workspace: Path,
        clock: Clock,
        cancel: Callable[[str], Awaitable[object]] = _nothing_runs,
        forget: Callable[[Collection[str]], None] = lambda turns: None,
        sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._messages = messages
        self._workspace = workspace
        self._clock = clock
        self._cancel = cancel
        self._forget = forget
        self._sweep = sweep

    async def delete(self, key: SessionKey, *, sparing: str = "") -> None:
        """Delete a conversation. `sparing` is the turn that asks for it."""
        await self._delete_turns(key, sparing)
        await self._sessions.delete(key)
        self._messages.forget(str(key))
        self._sweep()

    async def clear(self, key: SessionKey) -> None:
        """Delete what was said in a conversation, and keep the conversation."""
        await self._delete_turns(key, "")
        await self._sessions.clear(str(key))
        self._messages.forget(str(key))
        self._sweep()

    async def _delete_turns(self, key: SessionKey, sparing: str) -> None:
        session, commands = str(key), f"!{key.channel}:{key.chat_id}"
        await self._cancel(session)
        while turns := await retention.turns_of(
            self._database, session, commands=commands, sparing=sparing
        ):
            # Files first: only the rows know which ones they are.
            keys = await retention.spilled_by(self._database, turns)
            await asyncio.to_thread(remove_spilled, self._workspace, keys)
            now = self._clock.now().timestamp()
            await self._database.transaction(retention.deleted(turns, now=now), durable=True)
            self._forget(turns)
        hashes = await blobs.only_of(self._database, session)
        await asyncio.to_thread(remove_uploaded, self._workspace, hashes)
