"""Files that lost what was in them, and files that go away while they are used."""

import logging
import shutil
import sqlite3
from pathlib import Path

import pytest

from famulus.core.errors import StoreError, StoreUnavailable
from famulus.store.lock import Held
from famulus.store.sqlite import SQLite
from famulus.store.sqlite_file import told
from famulus.testing.check_store import timer, timers

pytestmark = pytest.mark.anyio


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    async with SQLite(tmp_path / "famulus.db") as store:
        await store.transaction([timer("kept")])
    return tmp_path / "famulus.db"


async def test_an_empty_file_beside_a_snapshot_is_refused(path: Path) -> None:
    async with SQLite(path, schema=1):
        pass
    path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"is empty, though famulus.db.before-1 beside it"):
        await SQLite(path).__aenter__()
    assert path.read_bytes() == b""
    path.unlink()
    async with SQLite(path) as store:
        assert await timers(store) == []


@pytest.mark.parametrize("left", [b"", None])
async def test_a_log_without_its_database_is_refused_and_not_thrown_away(
    path: Path, left: bytes | None
) -> None:
    log = path.with_name("famulus.db-wal")
    log.write_bytes(b"changes")
    path.unlink() if left is None else path.write_bytes(left)
    with pytest.raises(StoreError, match="log of its changes"):
        await SQLite(path).__aenter__()
    assert log.read_bytes() == b"changes"


async def test_a_log_that_is_missing_after_a_kill_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with SQLite(path):
            pass
        assert not caplog.messages
        async with SQLite(path, held=Held(unclean=True)):
            pass
    assert "famulus.db-wal is missing" in caplog.messages[0]


@pytest.mark.parametrize("name", ["famulus.db", "famulus.db-wal"])
async def test_a_file_that_was_moved_takes_nothing_until_it_is_back(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("famulus.store.sqlite_place._LOOK_SECONDS", 0.0)
    moved = path.with_name(name)
    async with SQLite(path) as store:
        await store.transaction([timer("before")])
        shutil.move(moved, path.with_name("elsewhere"))
        with pytest.raises(StoreUnavailable, match=f"{name} was moved"):
            await store.transaction([timer("lost")])
        path.with_name("elsewhere").rename(moved)
        await store.transaction([timer("after")])
        assert await timers(store) == ["after", "before", "kept"]


async def test_a_damaged_page_is_found_after_a_kill_alone(path: Path) -> None:
    async with SQLite(path) as store:
        await store.transaction([timer(str(n), inbound="x" * 3000) for n in range(50)])
    data = bytearray(path.read_bytes())
    page = data.index(b"x" * 2000) // 4096 * 4096
    data[page : page + 100] = bytes(range(100, 200))
    path.write_bytes(data)
    for unclean in (False, True):
        held = Held(unclean=unclean)
        async with SQLite(path, held=held) as store:
            await store.check()
            assert bool(store.trouble) == held.unclean == unclean
            if unclean:
                assert "famulus restore FILE" in store.trouble


async def test_a_whole_file_is_looked_at_once_after_a_kill(path: Path) -> None:
    held = Held(unclean=True)
    async with SQLite(path, held=held) as store:
        await store.check()
        assert (store.trouble, held.unclean) == ("", False)


async def test_damage_that_a_query_meets_is_known_from_then_on(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    path.write_bytes(data)
    store = SQLite(path)
    with pytest.raises(StoreError, match="damaged"):
        async with store:
            await timers(store)


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_SHMMAP]
)
async def test_a_lock_that_sqlite_cannot_take_is_no_full_disk(tmp_path: Path, code: int) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = code
    assert "no locks that work" in str(told(error, tmp_path / "famulus.db"))
