"""The real program in a home of its own, with a model and clients that outlive its deaths."""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

import famulus
from famulus.testing.chat import Caller, Chat
from famulus.testing.own_postgres import OwnPostgres
from famulus.testing.postgres_proxy import PostgresProxy
from famulus.testing.thinker import MESSAGE, UNKNOWN, Thinker

WAIT_SECONDS = 30
DRIVER = Path(__file__).with_name("driver.py")


@dataclass
class House:
    """A home, the program that lives in it, and what can be read there after it died."""

    home: Path
    model: Thinker
    settings: dict[str, dict[str, Any]]
    kept: "Kept"
    kills: int = 0
    starts: int = 0
    caught: set[str] = field(default_factory=set)
    url: str = ""
    token: str = ""
    process: asyncio.subprocess.Process | None = None
    _steps: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    _serving: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def trace(self) -> Path:
        return self.home.with_name("trace")

    @property
    def log(self) -> Path:
        return self.home.with_name("log")

    def configure(self) -> None:
        self.home.mkdir(exist_ok=True)
        sections = {
            "server": {"port": 0, "password": "only the owner knows"},
            "providers.fake": {
                "type": "openai",
                "base_url": self.model.url,
                "api_key": self.model.key,
            },
            "agent": {"model": "fake/thinker", "history_tokens": 2000},
            "storage": {"url": self.kept.url},
        }
        for name, values in self.settings.items():
            sections.setdefault(name, {}).update(values)
        (self.home / "famulus.toml").write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
                for name, values in sections.items()
            )
        )

    async def spawn(self, *, message: str = "", number: int = 0, point: str = "") -> None:
        """Start the program; see `driver.py` for what the arguments mean."""
        self.starts += 1
        self.model.asked_in_this_life.clear()
        self.trace.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, DRIVER, self.trace, message, str(number), point),
                *("serve", "--home", self.home),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=self.home,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.home),
                    "TZ": "UTC",
                    # The program that these tests import.
                    "PYTHONPATH": str(Path(famulus.__file__).parents[1]),
                },
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until the program serves, and tell the clients."""
        assert self.process
        assert self.process.stdout
        async with asyncio.timeout(WAIT_SECONDS):
            while line := await self.process.stdout.readline():
                if found := re.search(rb"ready: (\S+)", line):
                    break
            else:
                raise AssertionError(f"the program did not start:\n{self.log.read_text()[-3000:]}")
        self.url = found[1].decode()
        self.token = json.loads((self.home / "gateway.json").read_text())["token"]
        async with self._changed:
            self._serving = self.starts
            self._changed.notify_all()

    async def start(self, **arguments: Any) -> None:
        await self.spawn(**arguments)
        await self.ready()

    async def end(self, number: signal.Signals | None = None) -> int:
        """Wait until the program is gone, after a signal or by itself; its exit code."""
        process = self.process
        assert process
        assert process.stdout
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        async with asyncio.timeout(WAIT_SECONDS):
            await process.stdout.read()
            code = await process.wait()
        self.kills += code == -signal.SIGKILL
        # In a thread, as its connections may go through this one.
        await asyncio.to_thread(self._look)
        return code

    async def kill(self) -> None:
        assert await self.end(signal.SIGKILL) == -signal.SIGKILL

    async def clean_up(self) -> None:
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    @asynccontextmanager
    async def clients(self, *chats: Chat) -> AsyncIterator[None]:
        """The chats connect to each program that serves, until the block ends."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._connect(chat)) for chat in chats]
            yield
            for task in tasks:
                task.cancel()

    @asynccontextmanager
    async def faithful(self, *chats: Chat) -> AsyncIterator[ClientSession]:
        """The chats connect to the one program that serves, again whenever they are cut off."""

        async def connect(chat: Chat) -> None:
            while True:
                await chat.talk(session)
                await asyncio.sleep(0.1)

        async with self.session() as session, asyncio.TaskGroup() as group:
            tasks = [group.create_task(connect(chat)) for chat in chats]
            yield session
            for task in tasks:
                task.cancel()

    async def _connect(self, chat: Chat) -> None:
        served = 0
        while True:
            served = await self._later(served)
            async with self.session() as session:
                await chat.talk(session)

    async def _later(self, served: int) -> int:
        """Wait for a program that started after the one numbered `served`; its number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._serving > served)
            return self._serving

    def session(self) -> ClientSession:
        """What a program on this machine uses to talk to the gateway."""
        return ClientSession(self.url, headers={"Authorization": f"Bearer {self.token}"})

    # ------------------------------------------------------------ what is on disk

    def rows(self, sql: str) -> list[Any]:
        return self.kept.rows(sql)

    def _look(self) -> None:
        """Note what the dead program had finished, so that doing it again is noticed."""
        assert self.model.complaints == []
        if not self.kept.made():
            return
        found = self.rows("select turn_id, n, name, status, payload from step order by turn_id, n")
        steps = {(turn, n): (name, status, payload) for turn, n, name, status, payload in found}
        for place, step in self._steps.items():
            if step[1] != "intent":
                assert steps.get(place) == step, f"a finished step changed: {place}"
        self._steps = steps
        rounds: Counter[str] = Counter()
        for (turn_id, _), (name, status, _) in steps.items():
            turn = turn_id.rpartition(":")[2]
            if name == "model":
                self.model.recorded.add((turn, rounds[turn]))
                rounds[turn] += 1
            elif status == "intent":
                self.caught.add(f"{turn}_{rounds[turn] - 1}")

    async def verify(self, *chats: Chat | Caller) -> None:
        """Nothing lost, nothing twice: the program is at rest and everything can be counted."""
        assert self.model.complaints == []
        for chat in chats:
            in_order = _answered(chat)
            assert sorted(in_order) == sorted(chat.sent), "lost or doubled"
            assert _accepted(chat, in_order) == _accepted(chat, chat.sent), "out of order"
            for frame in chat.frames.values():
                said = ", ".join(frame["message_ids"])
                assert frame["content"].startswith(f"Answer to {said}: "), frame
        self._verify_effects()
        turns = dict(self.rows("select status, count(*) from turn group by status"))
        assert turns.keys() <= {"done", "joined"}
        assert sum(turns.values()) == sum(len(chat.sent) for chat in chats)
        assert self.rows("select id, status from outbox where status <> 'sent'") == []
        self._verify_history(chats)
        assert "Traceback" not in self.log.read_text()

    def _verify_effects(self) -> None:
        made = Counter(
            {
                path.name: path.read_text().count("done\n")
                for path in (self.home / "workspace" / "effects").iterdir()
            }
        )
        for call in self.model.called:
            unknown = UNKNOWN in self.model.told[call]
            assert unknown == (call in self.caught), f"{call}: {self.model.told[call]}"
            assert made[call] in ({0, 1} if unknown else {1}), f"{call} was made {made[call]} times"
        assert made.keys() <= self.model.called

    def _verify_history(self, chats: Iterable[Chat | Caller]) -> None:
        """What is kept of each conversation is what was said, once and in order."""
        kept = defaultdict[str, list[str]](list)
        rows = self.rows("select session, role, parts from message order by id")
        for session, role, parts in rows:
            texts = [each["text"] for each in json.loads(parts) if each["type"] == "text"]
            if role == "user":
                kept[session] += [found for text in texts for found in MESSAGE.findall(text)]
        answers = Counter(
            "".join(each["text"] for each in json.loads(parts) if each["type"] == "text")
            for _, role, parts in rows
            if role == "assistant"
        )
        for chat in chats:
            assert kept[f"web:{chat.name}:1"] == _answered(chat)
            assert all(answers[frame["content"]] == 1 for frame in chat.frames.values())

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {len(self.model.told)} tool calls, {len(self.caught)} caught in "
            f"the middle, {self.model.requests} model calls, {self.model.repeats} of them answered "
            "before but not recorded"
        )


def _answered(chat: Chat | Caller) -> list[str]:
    return [each for frame in chat.frames.values() for each in frame["message_ids"]]


def _accepted(chat: Chat | Caller, messages: list[str]) -> list[str]:
    """Those that kept their place: one that was refused is sent again behind others."""
    return [each for each in messages if each not in chat.refused]


class Kept(Protocol):
    """What the program keeps, read without disturbing it."""

    url: str

    def rows(self, sql: str) -> list[Any]: ...

    def made(self) -> bool:
        """Whether the program came so far as to make its tables."""


class File:
    def __init__(self, home: Path) -> None:
        self.url = "sqlite:///famulus.db"
        self._home = home

    def rows(self, sql: str) -> list[Any]:
        """Read a copy: opening the file itself would do the recovery that the program must do."""
        copy = self._home.with_name("copy.db")
        for suffix in ("", "-wal"):
            source = self._home / f"famulus.db{suffix}"
            target = copy.with_name(copy.name + suffix)
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
        copy.with_name("copy.db-shm").unlink(missing_ok=True)
        with closing(sqlite3.connect(copy)) as connection:
            return connection.execute(sql).fetchall()

    def made(self) -> bool:
        return bool(self.rows("select 1 from sqlite_master where name = 'step'"))


class Base:
    """A database of a PostgreSQL server. The program may reach it by another way than we do."""

    def __init__(self, server: OwnPostgres) -> None:
        self.name = f"famulus_{uuid4().hex}"
        self.server = server
        self.url = f"postgresql://{server.user}@/{self.name}?host={server.folder}"
        self._address = make_conninfo(server.address, dbname=self.name)
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute(SQL("create database {}").format(Identifier(self.name)))

    def rows(self, sql: str) -> list[Any]:
        with psycopg.connect(self._address, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def made(self) -> bool:
        """Waits, too: what a program sent before it died is still done after its death."""
        sessions = (
            "select 1 from pg_stat_activity"
            " where datname = current_database() and application_name like 'famulus%'"
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while self.rows(sessions):
            assert time.monotonic() < deadline, "a session outlives the program"
            time.sleep(0.005)
        return bool(self.rows("select 1 from pg_tables where tablename = 'step'"))


@pytest.fixture
def kept(request: pytest.FixtureRequest, home: Path) -> Kept:
    """The database of a house: SQLite, unless a test names the fixture of a server."""
    server = getattr(request, "param", "sqlite")
    return File(home) if server == "sqlite" else Base(request.getfixturevalue(server))


@pytest.fixture
async def proxy(kept: Base) -> AsyncIterator[PostgresProxy]:
    """The network between the program and its server."""
    async with PostgresProxy(kept.server.socket) as proxy:
        kept.url = proxy.address(kept.server.user, kept.name)
        yield proxy


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that a failed test can be given again: CRASH_SEED=… pytest …"""
    seed = os.environ.get("CRASH_SEED") or str(random.randrange(10**6))
    print(f"CRASH_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def make_house(
    home: Path, kept: Kept, chance: random.Random
) -> AsyncIterator[Callable[..., House]]:
    async with Thinker(chance) as model:
        houses: list[House] = []

        def make(home: Path = home, **settings: dict[str, Any]) -> House:
            house = House(home, model, settings, kept)
            house.configure()
            houses.append(house)
            return house

        yield make
        for house in houses:
            await house.clean_up()
            print(f"{house}\n{house.log.read_text()[-5000:] if house.log.exists() else ''}")


@pytest.fixture
def make_chat() -> type[Chat]:
    return Chat
