from functools import partial
from pathlib import Path

import pytest

from famulus.store.database import Database
from famulus.store.sqlite import SQLite
from famulus.testing.check_store import CheckStore, OpenStore


class TestSQLite(CheckStore):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return partial(SQLite, tmp_path / "famulus.db")

    async def schema(self, store: Database) -> object:
        rows = await store.fetch(
            "select type, name, sql from sqlite_master"
            " where tbl_name not in ('schema_version', 'sqlite_sequence') order by name"
        )
        return [tuple(row) for row in rows]
