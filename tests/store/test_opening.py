import subprocess
import sys
from pathlib import Path

import pytest

from famulus.core.errors import ConfigError
from famulus.store.opening import open_database, sqlite_path
from famulus.store.postgres import Postgres
from famulus.store.sqlite import SQLite


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///famulus.db", "/home/of/famulus.db"),
        ("sqlite:////var/lib/famulus.db", "/var/lib/famulus.db"),
        ("postgresql://host/name", None),
    ],
)
def test_relative_file_is_in_the_home(url: str, path: str | None) -> None:
    assert sqlite_path(url, Path("/home/of")) == (Path(path) if path else None)


def test_url_chooses_the_driver(tmp_path: Path) -> None:
    assert isinstance(open_database("sqlite:///a.db", tmp_path), SQLite)
    assert isinstance(open_database("postgresql://u:p@host/name", tmp_path), Postgres)


@pytest.mark.parametrize(
    "url", ["", "famulus.db", "sqlite://a.db", "sqlite:///", "sqlite:///a\0b", "mysql://u:pw@h"]
)
def test_other_urls_are_refused_without_repeating_them(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"storage\.url must be") as caught:
        open_database(url, tmp_path)
    assert "pw" not in str(caught.value)


def test_missing_driver_names_the_extra_and_sqlite_needs_none() -> None:
    code = """
import sys
from pathlib import Path
sys.modules["psycopg"] = None
from famulus.core.errors import ConfigError
from famulus.store.opening import open_database
open_database("sqlite:///a.db", Path())
try:
    open_database("postgresql://host/name", Path())
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "pip install 'famulus[cluster]'" in done.stdout
