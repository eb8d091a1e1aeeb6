import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from famulus.core.clock import Clock
from famulus.core.errors import FamulusError
from famulus.core.settings import Secret
from famulus.state.logins import Logins, Tokens
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio


class HeldClock(Clock):
    def __init__(self):
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self):
        return self.at


@pytest.fixture
async def database(tmp_path):
    async with SQLite(tmp_path / "famulus.db") as database:
        yield database


@pytest.fixture
def clock():
    return HeldClock()


def make(database, clock, password="secret"):
    return Logins(database, clock=clock, password=Secret(password))


async def test_a_login_is_valid_until_it_expires(database, clock):
    logins = make(database, clock)
    digest = logins.digest(await logins.create(60))
    assert await logins.valid(digest)
    clock.at += timedelta(seconds=60)
    assert not await logins.valid(digest)
    assert not await make(database, clock).valid(digest)


async def test_a_login_is_known_after_a_restart_and_gone_with_the_password(database, clock):
    token = await make(database, clock).create(60)
    same, other = make(database, clock), make(database, clock, "another")
    assert await same.valid(same.digest(token))
    assert not await other.valid(other.digest(token))


class Late(SQLite):
    """Reads at once and tells when it is let."""

    def __init__(self, path):
        super().__init__(path)
        self.read = asyncio.Event()
        self.tell = asyncio.Event()

    async def fetch(self, sql, **values):
        rows = await super().fetch(sql, **values)
        self.read.set()
        await self.tell.wait()
        return rows


async def test_a_check_that_read_the_login_before_it_went_does_not_keep_it(tmp_path, clock):
    async with Late(tmp_path / "famulus.db") as database, asyncio.timeout(10):
        logins = make(database, clock)
        digest = logins.digest(await logins.create(60))
        checking = asyncio.ensure_future(logins.valid(digest))
        await database.read.wait()
        await logins.remove(digest)
        database.tell.set()
        await checking
        assert not await logins.valid(digest)


async def test_a_removed_login_stays_gone_however_the_check_races(database, clock):
    logins = make(database, clock)
    digest = logins.digest(await logins.create(60))
    await asyncio.gather(logins.valid(digest), logins.remove(digest), logins.valid(digest))
    assert not await logins.valid(digest)


async def test_expired_logins_are_swept(database, clock):
    logins = make(database, clock)
    await logins.create(10)
    clock.at += timedelta(seconds=11)
    await logins.create(10)
    assert len(await database.fetch("select hash from login")) == 1


async def test_no_table_holds_a_proof(database, clock):
    cookie = await make(database, clock).create(60)
    token = await Tokens(database, clock=clock).create("script")
    rows = [
        tuple(row)
        for table in ("login", "token")
        for row in await database.fetch(f"select * from {table}")
    ]
    assert cookie not in str(rows)
    assert token not in str(rows)


async def test_a_token_is_known_by_its_name_and_shows_its_last_use(database, clock):
    tokens = Tokens(database, clock=clock)
    token = await tokens.create("script")
    assert (await tokens.all())[0].used == 0
    assert await tokens.has(await tokens.proven(token))
    assert await tokens.proven(token + "x") == ""
    assert (await tokens.all())[0].used == clock.at.timestamp()


async def test_names_of_tokens_are_unique_and_removing_is_at_once(database, clock):
    tokens = Tokens(database, clock=clock)
    token = await tokens.create("script")
    with pytest.raises(FamulusError, match="already"):
        await tokens.create("script")
    digest = await tokens.proven(token)
    await tokens.remove("script")
    assert await tokens.proven(token) == ""
    with pytest.raises(FamulusError, match="no token named"):
        await tokens.remove("script")
    await tokens.create("script")
    assert not await tokens.has(digest)


@pytest.mark.parametrize("name", ["", " ", "a ", "a\nb", "a\0", "x" * 101])
async def test_a_name_that_tells_nothing_is_refused(database, clock, name):
    with pytest.raises(FamulusError, match="1 to 100 printable characters"):
        await Tokens(database, clock=clock).create(name)


async def test_a_name_may_be_a_sentence(database, clock):
    assert await Tokens(database, clock=clock).create("x" * 100)
    assert await Tokens(database, clock=clock).create("my script on the büro-pc")
