"""What the folder of an SQLite file tells of it: emptied, moved away, cut off from its log."""

import logging
import time
from pathlib import Path

from famulus.core.errors import StoreError, StoreUnavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0

_Identity = tuple[int, int] | None


def log_of(path: Path) -> Path:
    """The file beside a database that holds its newest changes."""
    return path.with_name(f"{path.name}-wal")


def look_before(path: Path, *, unclean: bool) -> None:
    """Refuse a file that lost what was in it, before SQLite makes a new one of it and throws the
    log away. `unclean`: whoever used it last was killed, so that the log must be there.
    """
    size = path.stat().st_size if path.exists() else None
    newest = log_of(path)
    has_log = newest.exists() and newest.stat().st_size > 0
    snapshots = sorted(
        (each for each in path.parent.glob(f"{path.name}.before-*") if each.suffix != ".partial"),
        key=lambda each: each.stat().st_mtime_ns,
    )
    if not size and has_log:
        raise StoreError(
            f"The database {path} is {'missing' if size is None else 'empty'}, but the log of its"
            f" changes, {newest.name}, is there. Bring back a backup with famulus restore FILE, or"
            f" move {newest.name} away to begin anew."
        )
    if size == 0 and snapshots:
        raise StoreError(
            f"The database {path} is empty, though {snapshots[-1].name} beside it shows that it was"
            " not. Bring back a backup with famulus restore FILE, or copy that file over it; to"
            f" begin anew, delete {path.name}."
        )
    if size and unclean and not newest.exists():
        log.warning(
            "the last process was killed, and %s is missing: if somebody deleted it, the newest"
            " messages are lost; famulus restore FILE brings back a backup",
            newest,
        )


class Place:
    """Whether the database and its log are still the files that were opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = {each: _identity(each) for each in (path, log_of(path))}
        self._looked = 0.0

    def check(self, *, now: bool) -> None:
        """Raise `StoreUnavailable` while they are not; looks once a second, or `now`."""
        time_now = time.monotonic()
        if not now and time_now - self._looked < _LOOK_SECONDS:
            return
        for file, identity in self._files.items():
            if identity and _identity(file) != identity:
                raise StoreUnavailable(
                    f"{file} was moved, replaced or deleted while Famulus uses it, so nothing can"
                    " be kept. Put it back, or stop Famulus and start it again."
                )
        self._looked = time_now


def _identity(path: Path) -> _Identity:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
