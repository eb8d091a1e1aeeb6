"""Puts what was restored in the place of what was there, and keeps that.

Everything new lies ready on the same disk before anything is moved, and a plan of the moves is on
the disk before the first of them. Whoever dies before that has changed nothing; of whoever dies
later the next one makes the moves that are left. Where one of them fails, all are undone.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from famulus.core.errors import FamulusError

STAGING = ".restoring"
"""In the home while something is restored."""

REPLACED = "replaced-"
"""How a folder of the home begins that holds what a restore has replaced."""

PLAN = "plan.json"


class Move(NamedTuple):
    """`target` goes to `aside`, and `new`, unless it is empty, takes its place."""

    new: str
    target: str
    aside: str


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """An empty folder in the home, where one process at a time makes things ready."""
    finish(home)
    folder = home / STAGING
    folder.mkdir(mode=0o700, exist_ok=True)
    with _held(folder):
        try:
            yield folder
        finally:
            if not (folder / PLAN).exists():
                shutil.rmtree(folder, ignore_errors=True)


def replace(home: Path, moves: Sequence[Move], keep: Path) -> None:
    """Make the moves, all of them or none; `keep` is where the plan stays, so that they can be
    undone. Raises FamulusError where two of them have the same target.
    """
    _refuse_collisions(home, moves)
    plan = home / STAGING / PLAN
    draft = plan.with_suffix(".tmp")
    draft.write_text(json.dumps({"keep": str(keep), "moves": moves}), "utf-8")
    # One call for the hundred thousand files that may lie ready, the plan among them.
    os.sync()
    draft.replace(plan)
    sync_folder(plan.parent)
    finish(home, held=True)


def finish(home: Path, *, held: bool = False) -> bool:
    """Make the moves that a plan has left, or remove what has no plan; whether there was a plan.
    Raises FamulusError while another process is at it, and where a move cannot be made (or, while
    `held`, OSError): then those before it are undone.
    """
    plan = home / STAGING / PLAN
    if not held:
        try:
            with _held(home / STAGING):
                return finish(home, held=True)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise FamulusError(
                f"A restore that was cut off cannot be finished: {why(error)}. It was undone; what"
                " was there before is there."
            ) from None
    if not plan.exists():
        shutil.rmtree(home / STAGING)  # nothing was changed yet
        return False
    said = json.loads(plan.read_text("utf-8"))
    moves = [Move(*move) for move in said["moves"]]
    keep = Path(said["keep"])
    try:
        touched = _make(moves)
    except OSError:
        _unmake(moves)
        for folder in {keep, *(Path(move.aside).parent for move in moves)}:
            with suppress(OSError):
                folder.rmdir()
        plan.unlink()
        raise
    keep.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(plan, keep / PLAN)
    for folder in {*touched, keep, home}:
        if folder.is_dir():
            sync_folder(folder)
    shutil.rmtree(home / STAGING)
    return True


def _make(moves: Sequence[Move]) -> set[Path]:
    """Make the moves that are not made yet; the folders that were changed."""
    touched = set()
    for new, target, aside in moves:
        if new and not os.path.lexists(new):
            continue  # done before
        if os.path.lexists(target):
            Path(aside).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(target).rename(aside)
        if new:
            Path(new).rename(target)
        touched |= {Path(target).parent, Path(aside).parent}
    return touched


def _unmake(moves: Sequence[Move]) -> None:
    """Undo the moves that were made."""
    for new, target, aside in reversed(moves):
        if new and os.path.lexists(target) and not os.path.lexists(new):
            Path(target).rename(new)
        if os.path.lexists(aside) and not os.path.lexists(target):
            Path(aside).rename(target)


def _refuse_collisions(home: Path, moves: Sequence[Move]) -> None:
    targets = set()
    for move in moves:
        folder, name = os.path.split(move.target)
        target = Path(os.path.realpath(folder), name)
        if target in targets or target.is_relative_to((home / STAGING).resolve()):
            raise FamulusError(
                f"Both the database and something else would become {target}. Set storage.url, or"
                " FAMULUS_STORAGE__URL, to another file. Nothing was changed."
            )
        targets.add(target)


def undoing(home: Path, kept: Path, aside: Path) -> list[Move]:
    """The moves that bring back what a restore of `home` has put into the folder `kept`."""
    try:
        said = json.loads((kept / PLAN).read_text("utf-8"))
        moves, place = [Move(*move) for move in said["moves"]], Path(said["keep"])
    except (OSError, ValueError, KeyError, TypeError):
        raise FamulusError(
            f"{kept} is no folder that a restore has left. Name a backup, or such a folder."
        ) from None
    # The plan holds full paths: of a home that was moved they would lead into another one.
    if not (place.exists() and kept.samefile(place) and kept.parent.samefile(home)):
        raise FamulusError(
            f"{kept} was left by a restore in {place.parent}, and can only be brought back there."
            " Nothing was changed. Move what is in it by hand, or give the home its old name."
        )
    return [
        Move(old if os.path.lexists(old) else "", target, _again(old, place, aside))
        for _, target, old in moves
    ]


def _again(old: str, kept: Path, aside: Path) -> str:
    """Where that goes which is undone: as `old`, but beside it or in the folder `aside`."""
    path = Path(old)
    return str(aside / path.name if path.parent == kept else path.with_name(f"{path.name}.undone"))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise FamulusError(
            f"A backup is being restored in {folder.parent} at this moment. Wait for its end."
        ) from None
    finally:
        os.close(descriptor)


def why(error: OSError) -> str:
    """What went wrong with which file."""
    reason = (error.strerror or str(error)).rstrip(".")
    about = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.EBUSY:
        about += ", as a disk or a volume is mounted there. Unmount it, or name another home"
    return f"{reason}{about}"


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it survives a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
