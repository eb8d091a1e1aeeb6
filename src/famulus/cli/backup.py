"""`famulus backup FILE`: everything in one file, also while the gateway runs."""

import fcntl
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import click
import msgspec

from famulus import __version__
from famulus.cli import archive
from famulus.cli.archive import Header, Progress, Writer
from famulus.cli.options import Options, as_json, common
from famulus.cli.replacing import sync_folder
from famulus.core.errors import FamulusError, StoreError
from famulus.store.opening import sqlite_path
from famulus.store.sqlite_file import connect, told, version

SECRETS = (".env", ".secret_key")
# How SQLite and Famulus call what lies beside a database.
_BESIDE = ("", "-wal", "-shm", "-journal", ".lock", ".restoring")


class Entry(NamedTuple):
    """A file or folder on its way into the archive."""

    name: str
    path: Path
    status: os.stat_result


class Note(NamedTuple):
    """Something that is not in the backup, or not for certain as it was."""

    name: str
    reason: str


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-secrets", is_flag=True, help="Leave .env and .secret_key out.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@as_json
@common
def command(
    options: Options, *, file: Path, without_secrets: bool, force: bool, as_json: bool
) -> None:
    """Save the database, the workspace and the configuration in FILE, also while Famulus runs."""
    if file.exists() and not file.is_file():
        raise FamulusError(f"{file} is a folder or a device. Name a file.")
    if file.exists() and not force:
        raise FamulusError(f"{file} is there already. Name another file, or add --force.")
    database = sqlite_path(options.load().config.storage.url, options.home)
    if database is None:
        raise FamulusError(
            "storage.url names PostgreSQL, which has its own way: save the database with pg_dump"
            " --format=custom, and the folder"
            f" {options.home} with tar, in this order. See docs/backup.md."
        )
    with _explained(file), _draft(file) as (stream, draft):
        notes, size = _write(options, file, stream, database, secrets=not without_secrets)
        with bar("checking", size, shown=not as_json) as progress:
            checked = archive.check(draft, progress)
        os.fsync(stream.fileno())
        draft.replace(file)
        sync_folder(file.absolute().parent)
    notes += _elsewhere(options)
    for each in notes:
        click.echo(f"{ascii(each.name)[1:-1]}: {each.reason}", err=True)
    if as_json:
        answer = {
            "file": str(file),
            "bytes": file.stat().st_size,
            "files": len(checked.files),
            "schema": checked.header.schema,
            "secrets": checked.header.secrets,
            "notes": [{"name": ascii(name)[1:-1], "reason": why} for name, why in notes],
        }
        click.echo(msgspec.json.encode(answer).decode())
        return
    click.echo(f"{file}: {len(checked.files):,} files, {file.stat().st_size:,} bytes, checked.")
    if checked.header.secrets:
        click.echo("It holds your keys; only you may read it. Keep it so.")


def _elsewhere(options: Options) -> list[Note]:
    """What belongs to Famulus and lies outside of the home, where a backup does not reach."""
    loaded, home = options.load(), options.home.resolve()
    agent = loaded.config.agent
    parts = [Path(agent.workspace), Path(agent.prompts), loaded.path or Path()]
    places = [(home / part.expanduser()).absolute() for part in parts if part != Path()]
    return [
        Note(str(each), "left out, it lies outside of the home: save it yourself")
        for each in places
        if not each.resolve().is_relative_to(home) and not each.is_relative_to(options.home)
    ]


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).rstrip(".")
        about = f" ({error.filename})" if error.filename else ""
        raise FamulusError(
            f"The backup {file} was not written: {reason}{about}. Nothing of it is left."
        ) from None


@contextmanager
def _draft(file: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside the one that it will be, which is only then given that name."""
    draft = file.with_name(f".{file.name}.partial")
    # What a killed one left is written over; two at the same time would spoil each other's.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o600), "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FamulusError(f"Another backup is being written to {file}.") from None
        try:
            os.fchmod(stream.fileno(), 0o600)
            stream.truncate(0)
            yield stream, draft
        finally:
            draft.unlink(missing_ok=True)


def _write(
    options: Options, file: Path, stream: BinaryIO, database: Path, *, secrets: bool
) -> tuple[list[Note], int]:
    """Fill the archive. The database comes first: what it says was done is in the files then."""
    notes: list[Note] = []
    copy = file.with_name(f".{file.name}.database")
    try:
        schema = _copy_database(database, copy)
        header = Header(
            format=archive.FORMAT,
            version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            schema=schema,
            secrets=secrets,
        )
        writer = Writer(stream, header)
        size = copy.stat().st_size if schema else 0
        ours = {_identity(os.fstat(stream.fileno())), _identity(copy.stat()) if schema else (0, 0)}
        entries = [
            entry
            for entry in _entries(options.home, database, notes, secrets=secrets)
            if _identity(entry.status) not in ours
        ]
        size += sum(each.status.st_size for each in entries if stat.S_ISREG(each.status.st_mode))
        with bar("copying", size, shown=True) as progress:
            if schema:
                with copy.open("rb") as source:
                    writer.file(
                        archive.DATABASE,
                        source,
                        size=copy.stat().st_size,
                        mode=0o600,
                        mtime=copy.stat().st_mtime,
                        progress=progress,
                    )
            for entry in entries:
                _add(writer, entry, notes, progress)
        writer.end()
        stream.flush()
        os.fsync(stream.fileno())
    finally:
        copy.unlink(missing_ok=True)
        copy.with_name(copy.name + "-journal").unlink(missing_ok=True)
    return notes, size


def _copy_database(database: Path, copy: Path) -> int:
    """A checked copy of what is committed; its schema, or 0 where there is no database yet.

    Writers go on meanwhile. The copy holds no unused pages, and so nothing that was deleted.
    """
    copy.unlink(missing_ok=True)
    if not database.exists() or not database.stat().st_size:
        return 0
    try:
        with closing(connect(database)) as source:
            # Made first, as SQLite would make it readable for all.
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            source.execute("vacuum into ?", [os.fspath(copy)])
        with closing(connect(copy, read_only=True)) as made:
            ((answer,),) = made.execute("pragma integrity_check(1)").fetchall()
            if answer != "ok":
                raise StoreError(f"The database {database} is damaged: {answer}.")
            return version(made)
    except sqlite3.Error as error:
        raise told(error, database) from None


def _entries(home: Path, database: Path, notes: list[Note], *, secrets: bool) -> Iterator[Entry]:
    """What is in the home, each folder before what is in it."""
    folders = [home]
    while folders:
        folder = folders.pop()
        try:
            found = sorted(os.scandir(folder), key=lambda each: each.name, reverse=True)
        except OSError as error:
            notes.append(Note(str(folder.relative_to(home)), _why(error)))
            continue
        top = folder == home
        # Its path may lead through a link, or through `..`.
        beside = database.parent.is_dir() and folder.samefile(database.parent)
        for entry in found:
            path = Path(entry.path)
            name = path.relative_to(home).as_posix()
            if top and (archive.is_passing(entry.name) or (entry.name in SECRETS and not secrets)):
                continue
            if beside and _is_database(entry.name, database.name):
                continue
            try:
                # In the home itself a link is the owner's way to keep a part of it elsewhere.
                status = path.stat(follow_symlinks=top)
            except OSError as error:
                notes.append(Note(name, _why(error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
            if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
                yield Entry(name, path, status)
            else:
                kind = "left out, a link" if stat.S_ISLNK(status.st_mode) else "left out, no file"
                notes.append(Note(name, kind))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_database(name: str, database: str) -> bool:
    """The database itself is copied another way, and its lock and snapshots are not for others."""
    return name in {database + end for end in _BESIDE} or name.startswith(f"{database}.before-")


def _add(writer: Writer, entry: Entry, notes: list[Note], progress: Progress) -> None:
    name, mode = archive.HOME + entry.name, stat.S_IMODE(entry.status.st_mode) & 0o777
    if stat.S_ISDIR(entry.status.st_mode):
        writer.folder(name, mode=mode, mtime=entry.status.st_mtime)
        return
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    if "/" in entry.name:
        flags |= os.O_NOFOLLOW  # a command may be putting a link there at this moment
    try:
        descriptor = os.open(entry.path, flags)
    except OSError as error:
        notes.append(Note(entry.name, _why(error)))
        return
    with os.fdopen(descriptor, "rb") as source:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            notes.append(Note(entry.name, "left out, no file"))
            return
        beginning = source.read(len(archive.HEADER))
        source.seek(0)
        if beginning == archive.HEADER.encode():
            notes.append(Note(entry.name, "left out, a backup itself"))
            return
        whole = writer.file(
            name, source, size=status.st_size, mode=mode, mtime=status.st_mtime, progress=progress
        )
        now = os.fstat(descriptor)
    if not whole or (now.st_mtime_ns, now.st_size) != (status.st_mtime_ns, status.st_size):
        notes.append(Note(entry.name, "changed while it was copied, so it may be half old"))


@contextmanager
def bar(label: str, size: int, *, shown: bool) -> Iterator[Progress]:
    """A progress bar on a terminal; nothing where a program reads."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
        yield bar.update


def _why(error: OSError) -> str:
    return f"left out, {error.strerror or error}"
