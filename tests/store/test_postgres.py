from functools import partial

import pytest

from famulus.store.database import Database
from famulus.store.postgres import Postgres
from famulus.testing.check_store import CheckStore, OpenStore


class TestPostgres(CheckStore):
    @pytest.fixture
    def open_store(self, postgres_url: str) -> OpenStore:
        return partial(Postgres, postgres_url)

    async def schema(self, store: Database) -> object:
        columns = await store.fetch(
            "select table_name, column_name, data_type, column_default, is_nullable,"
            " generation_expression from information_schema.columns"
            " where table_schema = 'public' and table_name <> 'schema_version'"
            " order by table_name, column_name"
        )
        indexes = await store.fetch(
            "select indexdef from pg_indexes"
            " where schemaname = 'public' and tablename <> 'schema_version'"
        )
        return [tuple(row.values()) for row in columns], sorted(row["indexdef"] for row in indexes)
