"""Usual words are left out of a search where they would only make it slow."""

from pathlib import Path

import pytest

from famulus.store.database import Database, statement
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio

MANY = 6000


@pytest.fixture
async def database(tmp_path: Path):
    async with SQLite(tmp_path / "famulus.db") as database:
        await _add(database, ["the weather is usual"] * MANY + ["the walrus sleeps"] * 3)
        yield database


async def _add(database: Database, texts: list[str]) -> None:
    await database.transaction(
        [
            statement(
                "insert into message (session, person, turn_id, n, role, parts, terms, created)"
                " values (:session, 'owner', 't', :n, 'user', '[]', :terms, 0)",
                session="web:main:1" if n % 2 else "web:main:2",
                n=n,
                terms=text,
            )
            for n, text in enumerate(texts)
        ]
    )


async def test_a_rare_word_is_found_among_many_messages_with_the_usual_one(database):
    hits = await database.search("the walrus", limit=3)
    assert {hit.id for hit in hits} == {MANY + 1, MANY + 2, MANY + 3}


async def test_usual_words_fill_up_what_rare_ones_leave_empty(database):
    hits = await database.search("the walrus", limit=10, session="web:main:1")
    assert len(hits) == 10
    assert hits[0].id == MANY + 2


async def test_a_question_of_usual_words_alone_is_answered(database):
    assert len(await database.search("the weather", limit=10)) == 10
