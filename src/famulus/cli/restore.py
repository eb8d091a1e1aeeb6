"""`famulus restore FILE`: what a backup holds, in the place of what is there."""

import os
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path

import click
import msgspec

from famulus.cli import archive
from famulus.cli.archive import Checked, Measured
from famulus.cli.backup import bar
from famulus.cli.conversation import running_gateway
from famulus.cli.options import Options, as_json, common
from famulus.cli.replacing import REPLACED, Move, replace, staging, undoing, why
from famulus.core.errors import ConfigError, FamulusError
from famulus.core.loading import FILE_NAME, load
from famulus.store.lock import Held, hold
from famulus.store.migrations import NEWEST
from famulus.store.opening import sqlite_path
from famulus.store.sqlite_file import connect, version

# What a home consists of. The rest of it is only replaced where the backup has it too.
_HOME = (FILE_NAME, "workspace", "agents", "prompts")
_SECRETS = (".env", ".secret_key")
_CHUNK_BYTES = 1 << 20
_SQLITE = b"SQLite format 3\0"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@as_json
@common
def command(options: Options, *, file: Path, as_json: bool) -> None:
    """Bring back what `famulus backup` saved in FILE. What is there now is kept in a folder, and
    that folder as FILE brings it back again.
    """
    home = options.home
    if not (file.is_file() or file.is_dir()):
        raise FamulusError(f"{file} is neither a file nor a folder. Name a backup.")
    if gateway := running_gateway(home):
        raise FamulusError(
            f"The gateway runs (process {gateway.pid}). Stop it, then restore; nothing was changed."
        )
    aside = _new_folder(home)
    with _explained(home):
        if file.is_dir():
            kept = file.absolute()
            with staging(home), _nobody_else(options, []):
                replace(home, undoing(home, kept, aside), aside)
            files, made = 0, ""
        else:
            with bar("checking", file.stat().st_size, shown=not as_json) as progress:
                checked = archive.check(file, progress)
            _check_schema(file, checked)
            _restore(options, file, checked, aside, shown=not as_json)
            files, made = len(checked.files), checked.header.created
    if as_json:
        answer = {"restored": str(file), "files": files, "made": made, "replaced": str(aside)}
        click.echo(msgspec.json.encode(answer).decode())
        return
    when = f", made {made}" if made else ""
    click.echo(f"Restored: {file}{when}.")
    click.echo(f"What was here before is in {aside}")
    click.echo(f"To go back: famulus restore {aside}")


def _new_folder(home: Path) -> Path:
    stamp = f"{REPLACED}{datetime.now():%Y%m%d-%H%M%S}"  # noqa: DTZ005 - for people
    names = (stamp if not n else f"{stamp}-{n}" for n in range(1000))
    return next(home / name for name in names if not os.path.lexists(home / name))


def _check_schema(file: Path, checked: Checked) -> None:
    if checked.header.schema > NEWEST:
        raise FamulusError(
            f"{file} was made by a newer Famulus ({checked.header.version}, schema"
            f" {checked.header.schema}; this one knows {NEWEST}). Install that version. Nothing was"
            " changed."
        )


def _restore(options: Options, file: Path, checked: Checked, aside: Path, *, shown: bool) -> None:
    home = options.home
    with staging(home) as folder:
        new = folder / "home"
        new.mkdir(mode=0o700)
        with bar("copying", checked.size, shown=shown) as progress:
            for member, source in archive.members(file):
                if member.name.startswith(archive.HOME):
                    place = new / member.name.removeprefix(archive.HOME)
                elif member.name == archive.DATABASE:
                    place = folder / archive.DATABASE
                else:
                    continue
                if source is None:
                    place.mkdir(mode=0o700, parents=True, exist_ok=True)
                    place.chmod(member.mode & 0o777 | 0o700)
                    continue
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                measured = Measured(source, member.size, progress)
                with os.fdopen(os.open(place, flags, 0o600), "wb") as target:
                    while part := measured.read(_CHUNK_BYTES):
                        target.write(part)
                    said = checked.files[ascii(member.name)]
                    target.truncate(said.size)
                    os.fchmod(target.fileno(), member.mode & 0o777)
                os.utime(place, (member.mtime, member.mtime))
                if measured.sha256() != said.sha256:
                    raise archive.damaged(file, "it changed while it was read")
        database = _database(options, new)
        moves = [
            Move(str(new / name) if (new / name).exists() else "", str(home / name), "")
            for name in _names(new, secrets=checked.header.secrets)
        ]
        if checked.header.schema:
            if database is None:
                raise FamulusError(
                    f"{file} holds an SQLite database, but storage.url names PostgreSQL. Correct"
                    " FAMULUS_STORAGE__URL, or bring that one back with pg_restore. Nothing was"
                    " changed."
                )
            _check_database(file, folder / archive.DATABASE, checked.header.schema)
            moves += _database_moves(folder / archive.DATABASE, database)
        moves = [move._replace(aside=_aside(move.target, home, aside)) for move in moves]
        with _nobody_else(options, [database] if database else []) as held:
            replace(home, moves, aside)
            if checked.header.schema and database in held:
                held[database].unclean = False  # it is another file now, and whole


def _names(new: Path, *, secrets: bool) -> list[str]:
    names = {*_HOME, *(_SECRETS if secrets else ()), *(each.name for each in new.iterdir())}
    return sorted(names)


def _database(options: Options, new: Path) -> Path | None:
    """Where the database belongs by the configuration that is restored."""
    try:
        loaded = load(home=new, config=options.config, environment=os.environ)
        url = loaded.config.storage.url
    except ConfigError:
        # A variable of a secret that is not in the backup, perhaps; this one must be plain.
        try:
            tree = tomllib.loads((new / FILE_NAME).read_text("utf-8"))
            url = str(tree.get("storage", {}).get("url", "sqlite:///famulus.db"))
        except (OSError, ValueError, AttributeError) as error:
            raise FamulusError(f"The {FILE_NAME} of the backup cannot be read: {error}.") from None
    return sqlite_path(url, options.home)


def _check_database(file: Path, copy: Path, schema: int) -> None:
    try:
        with closing(connect(copy, read_only=True)) as connection:
            found = version(connection)
    except sqlite3.Error as error:
        raise archive.damaged(file, f"its database cannot be read: {error}") from None
    if found != schema:
        raise archive.damaged(file, f"its database has the schema {found}, not {schema}")


def _database_moves(copy: Path, database: Path) -> list[Move]:
    """The log goes with its database: beside another one it would spoil it."""
    if database.exists() and not database.with_name(f"{database.name}.lock").exists():
        # No Famulus ever opened it, so it may be anything that the backup's configuration names.
        with database.open("rb") as stream:
            beginning = stream.read(len(_SQLITE))
        if beginning not in (b"", _SQLITE):
            raise FamulusError(
                f"The storage.url of the backup names {database}, which is no database. Move it"
                " away, or set FAMULUS_STORAGE__URL. Nothing was changed."
            )
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if copy.stat().st_dev != database.parent.stat().st_dev:
        ready = database.with_name(f"{database.name}.restoring")
        _copy(copy, ready)
        copy = ready
    logs = [Move("", f"{database}{suffix}", "") for suffix in ("-wal", "-shm", "-journal")]
    return [*logs, Move(str(copy), str(database), "")]


def _copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with source.open("rb") as reading, os.fdopen(os.open(target, flags, 0o600), "wb") as writing:
        while part := reading.read(_CHUNK_BYTES):
            writing.write(part)


def _aside(target: str, home: Path, aside: Path) -> str:
    """In the folder, or beside it where that may be another disk."""
    path = Path(target)
    if path.parent == home:
        return str(aside / path.name)
    return str(path.with_name(f"{aside.name}-{path.name}"))


@contextmanager
def _nobody_else(options: Options, databases: list[Path]) -> Iterator[dict[Path, Held]]:
    """Hold what a running Famulus would hold, of the old configuration and the new one."""
    try:
        loaded = load(home=options.home, config=options.config, environment=os.environ)
        if old := sqlite_path(loaded.config.storage.url, options.home):
            databases = [*databases, old]
    except ConfigError:
        pass  # it is being replaced
    with ExitStack() as stack:
        there = sorted({each for each in databases if each.parent.is_dir()})
        yield {each: stack.enter_context(hold(each)) for each in there}


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FamulusError(
            f"Nothing was restored in {home}: {why(error)}. What was there is still there."
        ) from None
