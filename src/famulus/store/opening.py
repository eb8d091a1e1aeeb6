"""The database that `storage.url` names."""

from pathlib import Path

from famulus.core.errors import ConfigError
from famulus.store.database import Database
from famulus.store.lock import Held
from famulus.store.sqlite import SQLite


def open_database(
    url: str,
    home: Path,
    *,
    timeout_seconds: float = 10.0,
    alone: bool = False,
    held: Held | None = None,
) -> Database:
    """`sqlite:///file` (relative to `home`, or absolute) or `postgresql://…`.

    `timeout_seconds` bounds each call to a server. `alone`: entering raises `Locked` while another
    process is alone with the database of a server (for a file see `hold`, which gives `held`).
    Nothing is touched before the database is entered. No error repeats the URL: it may hold a
    password. Raises `ConfigError`.
    """
    path = sqlite_path(url, home)
    if path is not None:
        return SQLite(path, held=held)
    try:
        # The driver of PostgreSQL is an extra.
        from famulus.store.postgres import Postgres  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "storage.url names PostgreSQL, but its driver is not installed."
            " Run: pip install 'famulus[cluster]'"
        ) from None
    return Postgres(url, timeout_seconds=timeout_seconds, alone=alone)


def sqlite_path(url: str, home: Path) -> Path | None:
    """The file of an SQLite URL; None for PostgreSQL. Raises `ConfigError`."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/" and "\0" not in rest:
        return home / Path(rest[1:]).expanduser()
    if scheme in ("postgresql", "postgres"):
        return None
    raise ConfigError(
        "storage.url must be sqlite:///famulus.db (in the home), sqlite:////full/path.db"
        " or postgresql://user:password@host/database."
    )
