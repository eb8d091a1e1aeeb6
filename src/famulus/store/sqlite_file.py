"""An SQLite file: opened with the right settings, migrated with a snapshot first, errors told."""

import errno
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from famulus.core.errors import StoreDamaged, StoreError, StoreFull, StoreUnavailable
from famulus.store.migrations import VERSION, VERSION_TABLE, Change, changes
from famulus.store.schema import STEPS, Step

_BUSY_SECONDS = 5.0
_SNAPSHOTS_KEPT = 3
_LOCK_ERRORS = (
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_UNLOCK,
    sqlite3.SQLITE_IOERR_RDLOCK,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMOPEN,
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    if not path.parent.is_dir():
        raise StoreError(
            f"The directory {path.parent} of the database does not exist."
            " Create it, or correct storage.url."
        )
    try:
        if not (read_only or path.exists()):
            # SQLite gives the mode of the file to its -wal and -shm as well. One that is there may
            # be in use by this process, which would lose its locks when any descriptor is closed.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        elif not os.access(path, os.R_OK) and path.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,  # we write our own begin and commit
            check_same_thread=False,
            cached_statements=256,
        )
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened: {error.strerror}. Check who owns it."
        ) from None
    except sqlite3.Error as error:
        raise told(error, path) from None
    connection.row_factory = sqlite3.Row
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Settings of a connection that writes."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait here when another process makes the same new file.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise told(error, path) from None
            time.sleep(0.01)
        except sqlite3.Error as error:
            raise told(error, path) from None
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma journal_size_limit = 67108864")
    # What is deleted is overwritten, not only marked as free.
    connection.execute("pragma secure_delete = on")


def empty_log(path: Path) -> None:
    """Put all changes into the file itself, so that the log beside it holds nothing old.

    Raises `StoreUnavailable` where somebody reads or writes for longer than it waits.
    """
    try:
        with closing(connect(path)) as connection:
            busy, *_ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    except sqlite3.Error as error:
        raise told(error, path) from None
    if busy:
        raise StoreUnavailable(
            f"Another program reads the database {path}, so what was deleted stands in its log"
            " still."
        )


def version(connection: sqlite3.Connection) -> int:
    """The number of the newest step that was applied; 0 in an empty file."""
    table = "select 1 from sqlite_master where name = 'schema_version'"
    if not connection.execute(table).fetchall():
        return 0
    return int(connection.execute(VERSION).fetchone()["number"])


def migrate(
    connection: sqlite3.Connection, path: Path, target: int, steps: Sequence[Step] = STEPS
) -> None:
    """Bring the schema up or down to `target`: wholly, or the file stays as it was."""
    current = version(connection)
    if not changes(current, target, "sqlite", 0.0, steps):
        return
    snapshot = None
    change = Change("0 start", [])
    connection.execute("begin immediate")
    try:
        current = version(connection)  # another process may have come first
        plan = changes(current, target, "sqlite", time.time(), steps)
        if current > 0 and plan:
            snapshot = _snapshot(path, target)
        connection.execute(VERSION_TABLE)
        for change in plan:
            for sql in change.statements:
                connection.execute(sql)
        connection.execute("commit")
    except sqlite3.Error as error:
        cause = told(error, path)
        if not isinstance(cause, StoreFull | StoreUnavailable):
            kept = f" A copy is at {snapshot}." if snapshot else ""
            cause = StoreError(
                f"Step {change.label} of the schema failed on {path}: {error}. Nothing was changed."
                f"{kept} Use the version of Famulus that worked, and report this."
            )
        raise cause from None
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _snapshot(path: Path, target: int) -> Path:
    """Copy what is committed. The caller holds the write lock on another connection."""
    snapshot = path.with_name(f"{path.name}.before-{target}")
    partial = snapshot.with_name(snapshot.name + ".partial")
    beside = [partial.with_name(partial.name + end) for end in ("", "-journal", "-wal", "-shm")]
    for leftover in beside:
        leftover.unlink(missing_ok=True)
    try:
        with closing(connect(path, read_only=True)) as source, closing(connect(partial)) as copy:
            source.backup(copy)
        partial.replace(snapshot)
    finally:
        for leftover in beside:
            leftover.unlink(missing_ok=True)
    snapshots = [p for p in path.parent.glob(f"{path.name}.before-*") if p.is_file()]
    snapshots.sort(key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for old in snapshots[_SNAPSHOTS_KEPT:]:
        old.unlink(missing_ok=True)
    return snapshot


def damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"The database {path} is damaged or not a database ({what}). Stop Famulus, keep a copy of"
        " the file, and bring back a backup: famulus restore FILE. Without one, try:"
        f" sqlite3 {path} .recover"
    )


def damage_in(connection: sqlite3.Connection) -> str:
    """The first damage that a quick look at every page finds; empty if there is none."""
    try:
        ((answer,),) = connection.execute("pragma quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if answer == "ok" else str(answer)


def told(error: Exception, path: Path) -> StoreError:
    """The error in words for the user: what, where and what to do next."""
    if isinstance(error, StoreError):
        return error
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    reads = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
    if code & 0xFF == sqlite3.SQLITE_PROTOCOL or code in _LOCK_ERRORS:
        return StoreError(
            f"The database {path} cannot be locked ({error}). Its file system has no locks that"
            " work, as some network disks have none. Keep it on a disk of this machine: set"
            " storage.url or FAMULUS_HOME."
        )
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"No space is left for the database {path}. Free some space.")
        case sqlite3.SQLITE_IOERR if code not in reads:
            return StoreFull(
                f"The database {path} cannot be written ({error})."
                " Check free space, the quota and the disk."
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(
                f"Another program keeps the database {path} locked. Close it and try again."
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_IOERR:
            return damaged(path, str(error))
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreError(
                f"The database {path} cannot be opened for this ({error})."
                " Check that it exists and who may read and write it and its directory."
            )
        case sqlite3.SQLITE_CONSTRAINT:
            return StoreError(f"The database {path} refused a row: {error}. Nothing was written.")
    return StoreError(f"The database {path} could not do this: {error}. Nothing was written.")
