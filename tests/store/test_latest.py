"""The newest messages of a conversation, on both databases."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from famulus.core.messages import Message, Origin, Text
from famulus.engine.asked import asked
from famulus.state.messages import Messages
from famulus.store.database import Database
from famulus.store.postgres import Postgres
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            made: Database = SQLite(tmp_path / "famulus.db")
        else:
            made = Postgres(request.getfixturevalue("postgres_url"))
        yield await stack.enter_async_context(made)


async def test_the_newest_are_told_until_their_characters_pass_a_number(database: Database) -> None:
    messages = Messages(database)
    for number in range(6):
        said = [Message("user", (Text(str(number) * 1000, Origin.OWNER),))]
        await database.transaction(
            messages.added(said, session="web:a:1", person="owner", turn=f"t{number}", at=0.0)
        )

    async def told(limit: int, most: int) -> str:
        found = await messages.latest("web:a:1", limit, most_characters=most)
        return "".join(each.message.text[0] for each in found)

    assert await told(10, 2**62) == "012345"
    assert await told(3, 2**62) == "345"
    assert await told(10, 2500) == "345"
    assert await told(10, 1) == "5", "one is told however long it is"
    assert await asked(database, "web:a:1", 10, most_characters=1) == []
