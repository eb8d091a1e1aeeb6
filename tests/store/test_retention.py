"""What leaves the database by age and with its conversation, on both drivers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Storage
from famulus.core.errors import Conflict, StoreUnavailable
from famulus.core.messages import File, Inbound, Message, Origin, Outbound, SessionKey, Text
from famulus.core.workspace import spill
from famulus.engine import journal, outbox
from famulus.engine.retention import Retention
from famulus.engine.turns import Answer
from famulus.gateway.erasure import Erasure
from famulus.state.blobs import Blobs
from famulus.state.messages import Messages
from famulus.state.sessions import Sessions
from famulus.store.database import statement
from famulus.store.schema import STEPS
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio

CANARY = "kanarienvogel"
TABLES = ["turn", "step", "outbox", "blob", "blob_use", "message", "session", "chat", "spending"]


class Late(Clock):
    """A clock that can be put forward and never really sleeps."""

    def __init__(self):
        self.ahead = timedelta()

    def now(self):
        return datetime.now(UTC) + self.ahead

    async def sleep(self, seconds):
        return


class Kept:
    """A database with a workspace, and words to fill it with."""

    def __init__(self, database, workspace):
        self.database, self.workspace, self.clock = database, workspace, Late()
        self.sessions = Sessions(database, clock=self.clock)
        self.messages = Messages(database)
        self.blobs = Blobs(database, clock=self.clock)
        self.retention = self.keeping()
        self.erasure = Erasure(
            database,
            sessions=self.sessions,
            messages=self.messages,
            workspace=workspace,
            clock=self.clock,
        )

    def keeping(self, **settings):
        return Retention(
            self.database, Storage(**settings), clock=self.clock, workspace=self.workspace
        )

    async def turn(self, id_, *, text=CANARY, end="done", sent="sent", files=(), lane=""):
        """A turn with a step of each size, and as much of its end as `end` and `sent` say."""
        now = self.clock.now().timestamp()
        inbound = Inbound(
            channel="web",
            chat_id="main",
            dialog_id="1",
            sender_id="owner",
            person="owner",
            message_id=id_,
            parts=(Text(text, Origin.OWNER), *files),
            at=self.clock.now(),
        )
        turn, session = inbound.turn_id, "web:main:1"
        key = SessionKey.parse(session)
        await self.sessions.ensure(key, "owner", title=text[:60])
        await self.sessions.switch(key)
        lane = lane or session
        accept = journal.accept(inbound, lane=lane, session=session, now=now, started=True)
        large = journal.encode(f"{id_} {text} " * 9000)
        await self.database.transaction(
            [
                accept,
                *journal.uses(inbound, session=session),
                *journal.record(turn, 0, "tool:x", large, acted=False, attempt=1, now=now),
                journal.intend(turn, 1, "tool:y", attempt=1, now=now),
                *journal.record(
                    turn, 2, "model", journal.encode(text), acted=False, attempt=1, now=now
                ),
            ]
        )
        spill(self.workspace, f"{turn}#0", text, Origin.TOOL)
        if end != "running":
            parts = (Text(f"{text}!", Origin.ASSISTANT),)
            answer = journal.encode(Answer(parts=parts))
            outbound = Outbound(
                id=turn,
                channel="web",
                chat_id="main",
                session=session,
                turn_id=turn,
                parts=parts,
                expires_at=self.clock.now() + timedelta(days=60),
            )
            said = Message("user", inbound.parts), Message("assistant", parts)
            await self.database.transaction(
                [
                    journal.finish(turn, attempt=1, status=end, answer=answer, now=now),
                    outbox.send(outbound, now=now),
                    outbox.mark(turn, sent),
                    *self.messages.added(said, session=session, person="owner", turn=turn, at=now),
                ]
            )
        return turn

    async def count(self, table, where="1 = 1"):
        (row,) = await self.database.fetch(f"select count(*) as n from {table} where {where}")
        return row["n"]

    async def holding(self, word):
        """The tables and files that hold a word."""
        found = set()
        for table in TABLES:
            for row in await self.database.fetch(f"select * from {table}"):
                cells = [row[name] for name in row.keys()]  # noqa: SIM118 - a row is no dict
                texts = [bytes(cell) if isinstance(cell, memoryview) else cell for cell in cells]
                if word.encode() in b" ".join(
                    text if isinstance(text, bytes) else str(text).encode() for text in texts
                ):
                    found.add(table)
        for path in self.workspace.rglob("*"):
            if path.is_file() and word in path.read_text():
                found.add(path.parent.name)
        return found


@pytest.fixture(params=["sqlite", "postgres"])
async def kept(request, tmp_path):
    if request.param == "sqlite":
        database = SQLite(tmp_path / "famulus.db")
    else:
        from famulus.store.postgres import Postgres

        database = Postgres(request.getfixturevalue("postgres_url"))
    async with database:
        yield Kept(database, tmp_path / "workspace")


async def received(kept, text=CANARY):
    blob = await kept.blobs.add(text.encode(), media_type="text/plain", name=f"{text}.txt")
    return File(blob.hash, blob.media_type, Origin.OUTSIDE, blob.name, "uploads/x")


async def test_no_table_holds_a_word_of_a_deleted_conversation(kept):
    await kept.turn("a", files=[await received(kept)])
    await kept.turn("b", end="running")
    await kept.turn("c", sent="pending")
    await kept.turn("d", lane="!web:main")
    assert await kept.holding(CANARY) >= {"turn", "step", "outbox", "blob", "message", ".outputs"}
    await kept.erasure.delete(SessionKey("web", "main", "1"))
    await kept.database.sweep()
    assert await kept.holding(CANARY) == set()
    assert await kept.count("blob") == await kept.count("blob_use") == 0
    assert await kept.count("turn", "status = 'deleted'") == 4
    assert await kept.messages.search(CANARY) == []


async def test_what_runs_in_a_deleted_conversation_cannot_write_any_more(kept):
    turn = await kept.turn("a", end="running")
    await kept.erasure.delete(SessionKey("web", "main", "1"))
    now = kept.clock.now().timestamp()
    late = journal.record(turn, 3, "tool:z", b'"late"', acted=False, attempt=1, now=now)
    with pytest.raises(Conflict):
        await kept.database.transaction(late)
    assert await kept.count("step") == 0


async def test_what_is_old_goes_and_the_conversation_and_the_ids_stay(kept):
    old = await kept.turn("old", files=[await received(kept)])
    kept.clock.ahead = timedelta(days=31)
    young = await kept.turn("young", text="still here")
    pruned = await kept.retention.prune()
    assert pruned.turns == 1
    rows = await kept.database.fetch("select turn_id from step union select turn_id from outbox")
    assert [row["turn_id"] for row in rows] == [young]
    assert await kept.count("turn", f"id = '{old}' and inbound = '' and answer = ''") == 1
    assert await kept.holding(CANARY) == {"blob", "message", "session"}
    assert len(await kept.messages.latest("web:main:1", 10)) == 4
    assert await journal.forgotten(kept.database, old)
    assert not await journal.forgotten(kept.database, young)
    assert (await kept.retention.prune()).turns == 0
    kept.clock.ahead = timedelta(days=31 + 365 + 31)
    assert (await kept.keeping().prune()).ids == 1
    assert await journal.place(kept.database, old) is None
    await kept.erasure.delete(SessionKey("web", "main", "1"))
    assert await kept.holding(CANARY) == set()


@pytest.mark.parametrize("open_", [{"end": "running"}, {"sent": "pending"}])
async def test_nothing_goes_that_is_not_over(kept, open_):
    await kept.turn("a", **open_)
    kept.clock.ahead = timedelta(days=40)
    assert tuple(await kept.retention.prune()) == (0, 0, 0)
    assert await kept.holding(CANARY) >= {"turn", "step", "blob", ".outputs"}


async def test_a_file_that_no_message_refers_to_goes_after_a_day(kept):
    referred = await received(kept, "referred")
    await kept.turn("a", text="look", files=[referred])
    await received(kept, "never sent")
    assert (await kept.retention.prune()).blobs == 0
    kept.clock.ahead = timedelta(days=2)
    await received(kept, "sent now")
    assert (await kept.retention.prune()).blobs == 1
    assert await kept.holding("never sent") == set()
    assert await kept.blobs.find(referred.blob)


async def test_a_large_outcome_that_two_steps_share_goes_with_the_last_one(kept):
    payload = journal.encode("the same " * 9000)
    for id_ in ("a", "b"):
        turn = await kept.turn(id_, end="running")
        shared = journal.record(turn, 5, "x", payload, acted=False, attempt=1, now=0.0)
        await kept.database.transaction(
            [*shared, journal.finish(turn, attempt=1, status="done", answer=b"{}", now=0.0)]
        )
        kept.clock.ahead += timedelta(days=20)
    shared = "name = '' and size = (select max(size) from blob)"
    await kept.database.execute("update turn set updated = 0 where id = 'web::main:a'")
    await kept.database.execute("update turn set updated = 4e9 where id = 'web::main:b'")
    await kept.retention.prune()
    assert await kept.count("blob", shared) == 1
    assert len((await journal.steps(kept.database, "web::main:b"))[5].payload) == len(payload)
    await kept.database.execute("update turn set updated = 0 where id = 'web::main:b'")
    await kept.keeping().prune()
    assert await kept.count("blob") == 0


async def test_zero_keeps_everything(kept):
    await kept.turn("a")
    await received(kept, "never sent")
    kept.clock.ahead = timedelta(days=4000)
    assert tuple(await kept.keeping(keep_turns=0, keep_uploads=0).prune()) == (0, 0, 0)


async def test_clearing_keeps_a_conversation_and_a_title_that_was_given_to_it(kept):
    key = SessionKey("web", "main", "1")
    for title, left in (("", ""), ("Given", "Given")):
        await kept.turn(f"turn {title}")
        if title:
            await kept.sessions.rename(str(key), title)
        await kept.erasure.clear(key)
        assert (await kept.sessions.get(str(key))).title == left
        assert await kept.holding(CANARY) == set()


async def test_the_step_of_the_schema_finds_the_files_that_messages_refer_to(tmp_path):
    path = tmp_path / "famulus.db"
    number = next(step.number for step in STEPS if step.name == "uses")
    async with SQLite(path) as database:
        kept = Kept(database, tmp_path / "workspace")
        await kept.turn("a", files=[await received(kept, text) for text in ("one", "two")])
        before = {tuple(row) for row in await database.fetch("select * from blob_use")}
        assert len(before) == 2
    async with SQLite(path, schema=number - 1):
        pass
    async with SQLite(path) as database:
        assert {tuple(row) for row in await database.fetch("select * from blob_use")} == before
        await database.transaction([statement("delete from message")])
        await database.sweep()
        assert [row["n"] for row in await database.fetch("select n from sweep")] == [0]


async def test_what_cannot_be_overwritten_now_is_tried_again_soon(tmp_path, monkeypatch):
    class Read(SQLite):
        """Another program reads it the first three times."""

        times = 0

        async def sweep(self):
            self.times += 1
            if self.times <= 3:
                raise StoreUnavailable("Another program reads it.")
            done.set()

    monkeypatch.setattr("famulus.engine.retention._FIRST_SECONDS", 0.01)
    done = asyncio.Event()
    async with Read(tmp_path / "famulus.db") as database:
        old = Retention(database, Storage(), clock=Clock(), workspace=tmp_path)
        running = asyncio.create_task(old.run())
        async with asyncio.timeout(30):
            await done.wait()
        running.cancel()
