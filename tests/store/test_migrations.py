import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from famulus.core.errors import StoreError, StoreFull
from famulus.store.schema import STEPS, Step
from famulus.store.sqlite import SQLite
from famulus.store.sqlite_file import connect, migrate, prepare
from famulus.testing.check_store import timer, timers

_LAST = STEPS[-1].number
_GOOD = Step(_LAST + 1, "good", up=("create table good (id text)",), down=("drop table good",))
_BAD = Step(_LAST + 2, "bad", up=("create table bad (id text)", "alter table no add x"), down=())


def _content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.anyio
async def test_failed_step_leaves_the_file_as_it_was_and_names_the_snapshot(
    tmp_path: Path,
) -> None:
    path = tmp_path / "famulus.db"
    async with SQLite(path) as store:
        await store.transaction([timer("kept")])
    before = _content(path)
    with closing(connect(path)) as connection:
        prepare(connection, path)
        with pytest.raises(StoreError, match=f"{_BAD.number} bad .* Nothing was changed") as caught:
            migrate(connection, path, _BAD.number, (*STEPS, _GOOD, _BAD))
    assert _content(path) == before
    snapshot = tmp_path / f"famulus.db.before-{_BAD.number}"
    assert str(snapshot) in str(caught.value)
    async with SQLite(path) as store:
        assert await timers(store) == ["kept"]


@pytest.mark.anyio
async def test_snapshot_is_the_private_copy_of_what_was(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    async with SQLite(path) as store:
        await store.transaction([timer("kept")])
    assert [file.name for file in tmp_path.iterdir()] == ["famulus.db"]
    before = _content(path)
    async with SQLite(path, schema=1):
        pass
    snapshot = tmp_path / "famulus.db.before-1"
    assert _content(snapshot) == before
    assert snapshot.stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_the_last_three_snapshots_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    for schema in (3, 2, 1, 2, 3, 0):
        async with SQLite(path, schema=schema):
            pass
    kept = {file.name for file in tmp_path.iterdir()}
    assert kept == {"famulus.db", *(f"famulus.db.before-{n}" for n in (0, 2, 3))}


@pytest.mark.anyio
async def test_reading_an_older_schema_is_refused_without_touching_it(tmp_path: Path) -> None:
    path = tmp_path / "famulus.db"
    async with SQLite(path, schema=1):
        pass
    before = _content(path)
    with pytest.raises(StoreError, match="has schema 1"):
        await SQLite(path, read_only=True).__aenter__()
    assert _content(path) == before


def test_numbers_of_the_steps_have_no_gap() -> None:
    assert [step.number for step in STEPS] == list(range(1, len(STEPS) + 1))


@pytest.mark.anyio
async def test_a_snapshot_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted")
    try:
        path = place / "famulus.db"
        async with SQLite(path) as store:
            await store.transaction([timer(str(n), inbound="x" * 5000) for n in range(150)])
        for end in ("", "-journal", "-wal", "-shm"):
            (place / f"famulus.db.before-1.partial{end}").write_bytes(b"left by a kill")
        (place / "ballast").write_bytes(bytes(shutil.disk_usage(place).free - 300_000))
        with pytest.raises(StoreFull):
            async with SQLite(path, schema=1):
                pass
        assert [each.name for each in place.iterdir() if "before" in each.name] == []
    finally:
        subprocess.run(["umount", place], check=True)
