"""What leaves the journal: the turns of a deleted conversation, and old ones.

A row of `turn` outlives what was said in it, as the id of its message: one that a platform delivers
again must not be answered again.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from famulus.core.clock import Clock
from famulus.core.config import Storage
from famulus.core.errors import StoreError
from famulus.core.workspace import remove_spilled, remove_uploaded
from famulus.store.database import Database, Row, Statement, Value, statement

log = logging.getLogger(__name__)

_FIRST_SECONDS = 60.0
_EVERY_SECONDS = 3600.0
_PAUSE_SECONDS = 0.05
_LOOKED_AT = 500
_AT_ONCE = 50

_OPEN = "status in ('waiting', 'running')"


async def turns_of(
    database: Database, session: str, *, commands: str, sparing: str
) -> Sequence[str]:
    """Some turns of a session and, as their words may be about it, ended ones of the lane
    `commands`; none when all are deleted.
    """
    rows = await database.fetch(
        f"select id from turn where (session = :session or lane = :commands and not {_OPEN})"
        " and id <> :sparing limit :n",
        session=session,
        commands=commands,
        sparing=sparing,
        n=_AT_ONCE,
    )
    return [row["id"] for row in rows]


def deleted(turns: Sequence[str], *, now: float) -> list[Statement]:
    """Leave nothing of `turns` but their ids. One that runs can write nothing any more."""
    these = _Named(turns)
    return [
        *_without_steps(these),
        Statement(
            "update turn set status = 'deleted', lane = '', session = '', person = '',"
            f" joined_to = '', inbound = '', answer = '', updated = :now where id in {these.sql}",
            {"now": now, **these.parameters},
        ),
    ]


def _slimmed(turns: Sequence[str]) -> list[Statement]:
    these = _Named(turns)
    return [
        *_without_steps(these),
        Statement(
            f"update turn set inbound = '', answer = '' where id in {these.sql}", these.parameters
        ),
    ]


async def spilled_by(database: Database, turns: Sequence[str]) -> list[str]:
    """The keys of the tool calls of `turns`, whose long outputs may lie in the workspace."""
    these = _Named(turns)
    rows = await database.fetch(
        f"select turn_id, n from step where turn_id in {these.sql} and name like 'tool:%'",
        **these.parameters,
    )
    return [f"{row['turn_id']}#{row['n']}" for row in rows]


class _Named:
    """Ids as parameters of a statement."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.parameters: dict[str, Value] = {f"id{n}": id_ for n, id_ in enumerate(ids)}
        self.sql = "(" + ", ".join(f":{name}" for name in self.parameters) + ")"


def _without_steps(these: _Named) -> list[Statement]:
    large = "substr(step.payload, 1, 1) = '@'"
    return [
        Statement(
            "delete from blob where hash in (select substr(payload, 2) from step"
            f" where turn_id in {these.sql} and {large})"
            " and not exists (select 1 from blob_use where blob_use.hash = blob.hash)"
            f" and not exists (select 1 from step where {large}"
            f" and step.payload = '@' || blob.hash and step.turn_id not in {these.sql})",
            these.parameters,
        ),
        Statement(f"delete from step where turn_id in {these.sql}", these.parameters),
        Statement(f"delete from outbox where turn_id in {these.sql}", these.parameters),
    ]


class Pruned(NamedTuple):
    """How many turns lost their steps, how many rows of them went, and how many files."""

    turns: int = 0
    ids: int = 0
    blobs: int = 0


class Retention:
    """Deletes what is old, a little at a time. Nothing goes that anything refers to: an open turn,
    a reply that waits, a message of a conversation.
    """

    def __init__(
        self, database: Database, settings: Storage, *, clock: Clock, workspace: Path
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._workspace = workspace
        self._wake = asyncio.Event()
        self._from = 0

    def sweep(self) -> None:
        """Overwrite soon what was deleted just now."""
        self._wake.set()

    async def run(self) -> None:
        wait = _FIRST_SECONDS
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                wait = _EVERY_SECONDS
            try:
                if self._wake.is_set():
                    self._wake.clear()
                else:
                    await self.prune()
                await self._database.sweep()
            except StoreError as error:
                wait = _FIRST_SECONDS
                log.warning("what is old or deleted is not overwritten yet error=%s", error)

    async def prune(self) -> Pruned:
        """Delete all that is old by now."""
        turns, ids = await self._prune_turns()
        pruned = Pruned(turns, ids, await self._prune_blobs())
        if any(pruned):
            log.info("deleted what was old turns=%d ids=%d blobs=%d", *pruned)
        return pruned

    async def _prune_turns(self) -> tuple[int, int]:
        now = self._clock.now().timestamp()
        keep, keep_ids = self._settings.keep_turns, self._settings.keep_ids
        slim_before = now - keep if keep else 0.0
        gone_before = slim_before - keep_ids if keep and keep_ids else 0.0
        slimmed = gone = 0
        last, young = self._from, False
        while not young and (rows := await self._page(last, now)):
            last = rows[-1]["seq"]
            ended = [row for row in rows if not row["open"]]
            slim = [row["id"] for row in ended if not row["slim"] and row["updated"] < slim_before]
            old = [row["id"] for row in ended if row["slim"] and row["updated"] < gone_before]
            for some in _parts(slim):
                await self._remove_spilled(some)
                await self._write(_slimmed(some))
            for some in _parts(old):
                these = _Named(some)
                delete = f"delete from turn where id in {these.sql}"
                await self._write([Statement(delete, these.parameters)])
            slimmed, gone = slimmed + len(slim), gone + len(old)
            young = all(row["updated"] >= slim_before for row in rows)
        return slimmed, gone

    async def _page(self, after: int, now: float) -> Sequence[Row]:
        return await self._database.fetch(
            f"select seq, id, updated, case when inbound = '' then 1 else 0 end as slim,"
            f" case when {_OPEN} or exists (select 1 from outbox where outbox.turn_id = turn.id"
            " and outbox.status in ('pending', 'sending') and outbox.expires > :now)"
            " then 1 else 0 end as open from turn where seq > :after order by seq limit :n",
            after=after,
            now=now,
            n=_LOOKED_AT,
        )

    async def _prune_blobs(self) -> int:
        keep = self._settings.keep_uploads
        unused = (
            "not exists (select 1 from blob_use where blob_use.hash = blob.hash)"
            " and not exists (select 1 from step where substr(step.payload, 1, 1) = '@'"
            " and step.payload = '@' || blob.hash)"
        )
        # The time stands behind the bytes in the row, so it is read of a few rows alone.
        rows = await self._database.fetch(f"select hash from blob where {unused}") if keep else ()
        before = self._clock.now().timestamp() - keep
        gone = 0
        for row in rows:
            delete = f"delete from blob where hash = :hash and created < :before and {unused}"
            touched = await self._write([statement(delete, hash=row["hash"], before=before)])
            if touched:
                gone += 1
                await asyncio.to_thread(remove_uploaded, self._workspace, [row["hash"]])
        return gone

    async def _remove_spilled(self, turns: Sequence[str]) -> None:
        keys = await spilled_by(self._database, turns)
        await asyncio.to_thread(remove_spilled, self._workspace, keys)

    async def _write(self, statements: Sequence[Statement]) -> int:
        results = await self._database.transaction(statements)
        # Whoever has something to say comes first.
        await self._clock.sleep(_PAUSE_SECONDS)
        return results[-1].touched


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[n : n + _AT_ONCE] for n in range(0, len(ids), _AT_ONCE)]
