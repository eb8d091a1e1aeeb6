import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from famulus.core.errors import StoreError, StoreFull, StoreUnavailable
from famulus.store.database import Database, statement
from famulus.store.sqlite import SQLite
from famulus.testing.check_store import CheckStore, OpenStore, timer, timers


class TestSQLite(CheckStore):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return partial(SQLite, tmp_path / "famulus.db")

    async def schema(self, store: Database) -> object:
        rows = await store.fetch(
            "select type, name, sql from sqlite_master"
            " where tbl_name not in ('schema_version', 'sqlite_sequence') order by name"
        )
        return [tuple(row) for row in rows]


@pytest.mark.anyio
async def test_overlapping_calls_are_done_in_their_order(tmp_path: Path) -> None:
    async with SQLite(tmp_path / "famulus.db") as store:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for n in range(500):
                group.create_task(
                    store.transaction(
                        [statement("insert into timer values (:id, :n, '')", id=str(n), n=n)],
                        durable=n % 50 == 0,
                    )
                )
        rows = await store.fetch("select due from timer order by rowid")
    assert [row["due"] for row in rows] == list(range(500))


@pytest.mark.anyio
async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    async with SQLite(tmp_path / "famulus.db") as store:
        await store.transaction([timer("a")])
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"famulus.db": 0o600, "famulus.db-wal": 0o600, "famulus.db-shm": 0o600}


@pytest.mark.anyio
async def test_only_durable_transactions_wait_for_the_disk(tmp_path: Path) -> None:
    shown = statement("pragma synchronous")
    async with SQLite(tmp_path / "famulus.db") as store:
        modes = [
            (await store.transaction([shown], durable=durable))[0].rows[0]["synchronous"]
            for durable in (False, True, False)
        ]
    normal, full = 1, 2
    assert modes == [normal, full, normal]


_WRITER = """
import asyncio, sys
from pathlib import Path
from famulus.store.sqlite import SQLite
from famulus.testing.check_store import timer

async def write(store, lane):
    for n in range(100_000):
        await store.transaction([timer(f"{lane}-{n}"), timer(f"{lane}-{n}-twin")], durable=lane % 2)
        print(f"{lane}-{n}", flush=True)

async def main():
    async with SQLite(Path(sys.argv[1])) as store, asyncio.TaskGroup() as group:
        for lane in range(8):
            group.create_task(write(store, lane))

asyncio.run(main())
"""


@pytest.mark.anyio
async def test_kill_loses_no_acknowledged_commit_and_halves_none(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        acknowledged = [writer.stdout.readline() for _ in range(300)]
        writer.kill()
        acknowledged += writer.stdout.readlines()
    # The last line may have been cut by the kill.
    kept = {line.strip() for line in acknowledged if line.endswith("\n")}
    async with SQLite(path) as store:
        found = set(await timers(store))
    assert len(kept) >= 300
    assert kept <= found
    assert {key for key in found if not key.endswith("-twin")} == {
        key.removesuffix("-twin") for key in found if key.endswith("-twin")
    }


@pytest.mark.anyio
async def test_another_process_reads_while_we_write(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    async with SQLite(path) as ours, SQLite(path, read_only=True) as theirs:
        for n in range(20):
            await ours.transaction([timer(f"{n:02}")])
            assert len(await timers(theirs)) == n + 1
        with pytest.raises(StoreError, match="reading only"):
            await theirs.execute("delete from timer")


@pytest.mark.anyio
async def test_sweep_leaves_no_other_program_alone_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    # The last one that closes a database removes its log.
    look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select 1 from timer')"
    async with SQLite(path) as database:
        await database.sweep()
        await database.transaction([timer("before")], durable=True)
        command = [sys.executable, "-c", f"{look}; c.close()", str(path)]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=60)
        await database.transaction([timer("after")], durable=True)
    async with SQLite(path) as database:
        assert await timers(database) == ["after", "before"]


@pytest.mark.anyio
async def test_sweep_says_that_a_reader_keeps_it_from_emptying_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("famulus.store.sqlite_file._BUSY_SECONDS", 0.1)
    path = tmp_path / "famulus.db"
    async with SQLite(path) as database:
        await database.transaction([timer("kanarienvogel")])
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("begin")
            reader.execute("select * from timer").fetchall()
            await database.execute("delete from timer")
            with pytest.raises(StoreUnavailable, match="stands in its log still"):
                await database.sweep()
        await database.sweep()
        assert not any(b"kanarienvogel" in each.read_bytes() for each in tmp_path.iterdir())


@pytest.mark.anyio
async def test_two_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    async with SQLite(path) as one, SQLite(path) as other:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for n in range(50):
                group.create_task(one.transaction([timer(f"one-{n}")]))
                group.create_task(other.transaction([timer(f"other-{n}")]))
        assert len(await timers(one)) == 100


@pytest.mark.anyio
async def test_full_disk_refuses_and_works_again_when_there_is_space(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("3m")
    ballast = disk / "ballast"
    async with SQLite(disk / "famulus.db") as store:
        await store.transaction([timer("before")])
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        many = [timer(str(n), inbound="x" * 20_000) for n in range(300)]
        for durable in (False, True):
            with pytest.raises(StoreFull, match="space"):
                await store.transaction(many, durable=durable)
        assert await timers(store) == ["before"]
        ballast.unlink()
        await store.transaction([timer("after")], durable=True)
        assert await timers(store) == ["after", "before"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"this is a letter, not a database. " * 100, "not a database"), (None, "does not exist")],
)
async def test_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "there" / "famulus.db"
    if content:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises(StoreError, match=complaint) as caught:
        await SQLite(path).__aenter__()
    assert str(path.parent) in str(caught.value)
    assert content is None or path.read_bytes() == content


@pytest.mark.anyio
async def test_lock_of_another_program_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("famulus.store.sqlite_file._BUSY_SECONDS", 0.05)
    path = tmp_path / "famulus.db"
    async with SQLite(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.transaction([timer("a")])
            other.execute("rollback")
        await store.transaction([timer("a")])
