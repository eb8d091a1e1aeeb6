"""One gateway per SQLite file: an advisory lock on a file beside it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from famulus.core.errors import Locked, StoreError

_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Held:
    """`unclean`: a holder was killed, and nobody has looked since whether all is well."""

    unclean: bool


@contextmanager
def hold(database: Path, *, wait_seconds: float = 0.0) -> "Iterator[Held]":
    """Hold `<database>.lock`, which names our process. The kernel frees it however we end.
    The file says afterwards, too, what `Held` says.

    Blocks up to `wait_seconds`, then raises `Locked`.
    """
    path = database.with_name(database.name + ".lock")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"The lock {path} cannot be opened: {error.strerror}. Check who owns its directory."
        ) from None
    try:
        _lock(descriptor, database, time.monotonic() + wait_seconds)
        held = Held(unclean=os.fstat(descriptor).st_size > 0)
        os.ftruncate(descriptor, 0)
        try:
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        try:
            yield held
        finally:
            # The file stays: removing it would let two others hold two files of the same name.
            os.ftruncate(descriptor, 0)
            if held.unclean:
                os.pwrite(descriptor, b"unclean", 0)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, database: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            raise Locked(
                f"Another Famulus (process {owner}) already uses {database}."
                " Stop it, or give this one a home of its own with FAMULUS_HOME."
            ) from None
        except OSError as error:
            raise StoreError(
                f"The file system of {database} has no locks that work ({error.strerror}), as some"
                " network disks have none, so that two processes could spoil the database. Keep it"
                " on a disk of this machine: set storage.url or FAMULUS_HOME."
            ) from None
        else:
            return
