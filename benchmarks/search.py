"""Search in many messages: made-up talk whose words are as usual and as rare as in real talk."""

import asyncio
import itertools
import random
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from famulus.core.messages import Message, Origin, Text
from famulus.state.messages import Messages
from famulus.store.sqlite import SQLite

_TEXT = """
    the of and to a in is it you that he was for on are with as I his they be at one have this
    from or had by hot but some what there we can out other were all your when up use word how
    said an each she which do their time if will way about many then them would write like so
    these her long make thing see him two has look more day could go come did my no most number
    who over know than call first people may down been now find"""
_USUAL = _TEXT.split()
_SYLLABLES = ("ka", "mo", "ri", "ten", "sal", "vo", "du", "pel", "na", "ist", "gor", "lue")
# By Zipf's law the word of rank r is used 1/r as often as the first; conversations know this many.
_WORDS = [*_USUAL, *map("".join, itertools.product(_SYLLABLES, repeat=4))]
_WEIGHTS = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(_WORDS))))

_QUERIES = 40
_BATCH = 1000


def measure(messages: int) -> tuple[float, float]:
    """The median milliseconds of a search by two usual words beside that of a plain scan."""
    return asyncio.run(_measure(messages))


async def _measure(count: int) -> tuple[float, float]:
    dice = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="famulus-bench-") as folder:
        path = Path(folder, "famulus.db")
        async with SQLite(path) as database:
            messages = Messages(database)
            for start in range(0, count, _BATCH):
                said = [_said(dice) for _ in range(_BATCH)]
                await database.transaction(
                    messages.added(
                        said, session="web:main:1", person="owner", turn=f"t{start}", at=start
                    )
                )
            queries = [_query(dice) for _ in range(_QUERIES)]
            ours = []
            for query in queries:
                started = time.perf_counter()
                found = await messages.search(query)
                ours.append((time.perf_counter() - started) * 1000)
                if not found:
                    raise RuntimeError(f"nothing was found for {query!r}")
        with closing(sqlite3.connect(path)) as connection:
            scans = [_scan(connection, query) for query in queries[:5]]
    return statistics.median(ours), statistics.median(scans)


def _said(dice: random.Random) -> Message:
    words = dice.choices(_WORDS, cum_weights=_WEIGHTS, k=dice.randint(4, 30))
    return Message("user", (Text(" ".join(words), Origin.OWNER),))


def _query(dice: random.Random) -> str:
    """A question of four words of which two carry the meaning."""
    return " ".join((*dice.sample(_USUAL, 2), *dice.sample(_WORDS[100:2000], 2)))


def _scan(connection: sqlite3.Connection, query: str) -> float:
    started = time.perf_counter()
    like = " or ".join("parts like ?" for _ in query.split())
    parts = [f"%{word}%" for word in query.split()]
    connection.execute(f"select id from message where {like}", parts).fetchall()
    return (time.perf_counter() - started) * 1000
