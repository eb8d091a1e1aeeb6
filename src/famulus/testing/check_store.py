"""What every `Database` must keep. Subclass `CheckStore` and give it the fixture `open_store`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from famulus.core.errors import Conflict, StoreError
from famulus.store.database import Database, Statement, Value, statement
from famulus.store.migrations import NEWEST
from famulus.store.terms import terms

OpenStore = Callable[..., Database]
"""Makes a `Database`, not yet entered, on the storage of this test; takes `schema=`."""

_INSERT = "insert into timer (id, due, inbound) values (:id, :due, :inbound)"


def timer(key: str, due: float = 0.0, inbound: str = "{}") -> Statement:
    """A row to write, in the smallest of our tables."""
    return statement(_INSERT, id=key, due=due, inbound=inbound)


async def timers(store: Database) -> list[str]:
    return [row["id"] for row in await store.fetch("select id from timer order by id")]


def _said(n: int, text: str, session: str, person: str) -> Statement:
    return statement(
        "insert into message (session, person, turn_id, n, role, parts, terms, created)"
        " values (:session, :person, 't', :n, 'user', '[]', :terms, 0)",
        session=session,
        person=person,
        n=n,
        terms=terms(text),
    )


@pytest.mark.anyio
class CheckStore:
    @pytest.fixture
    def open_store(self) -> OpenStore:
        raise NotImplementedError

    @pytest.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[Database]:
        async with open_store() as database:
            yield database

    # Transactions

    async def test_transaction_that_fails_in_the_middle_writes_nothing(
        self, store: Database
    ) -> None:
        await store.transaction([timer("old")])
        with pytest.raises(StoreError, match="Nothing was written"):
            await store.transaction([timer("new"), timer("old")])
        assert await timers(store) == ["old"]

    async def test_unmet_expectation_writes_nothing(self, store: Database) -> None:
        fenced = statement("update timer set due = 1 where id = :id", expect=1, id="nobody")
        with pytest.raises(Conflict, match="0 rows instead of 1"):
            await store.transaction([timer("new"), fenced, timer("other")])
        assert await timers(store) == []

    async def test_met_expectations_write_everything(self, store: Database) -> None:
        await store.transaction([timer("a"), timer("b")])
        results = await store.transaction(
            [
                statement("update timer set due = 5", expect=2),
                statement("delete from timer where id = 'c'", expect=0),
                timer("c"),
            ]
        )
        assert [result.touched for result in results] == [2, 0, 1]
        assert await timers(store) == ["a", "b", "c"]

    async def test_failing_neighbours_harm_nobody(self, store: Database) -> None:
        unmet = statement("update timer set due = 1 where id = 'nobody'", expect=1)

        async def attempt(n: int) -> None:
            row = timer(f"{n:03}")
            if n % 3 == 1:
                with pytest.raises(Conflict):
                    await store.transaction([row, unmet], durable=n % 2 == 0)
            elif n % 3 == 2:
                with pytest.raises(StoreError):
                    await store.transaction([row, row], durable=n % 2 == 0)
            else:
                await store.transaction([row], durable=n % 2 == 0)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for n in range(200):
                group.create_task(attempt(n))
        assert await timers(store) == [f"{n:03}" for n in range(0, 200, 3)]

    async def test_concurrent_increments_are_all_counted(self, store: Database) -> None:
        await store.transaction([timer("counter")])
        add = "update timer set due = due + 1 where id = 'counter'"
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(store.execute(add))
        (row,) = await store.fetch("select due from timer")
        assert row["due"] == 200

    async def test_only_one_of_many_claims_succeeds(self, store: Database) -> None:
        await store.transaction([timer("claim")])
        claim = statement("update timer set due = 1 where id = 'claim' and due = 0", expect=1)
        outcomes = await asyncio.wait_for(
            asyncio.gather(
                *(store.transaction([claim]) for _ in range(20)), return_exceptions=True
            ),
            30,
        )
        assert sum(isinstance(one, Conflict) for one in outcomes) == 19

    async def test_rows_locked_in_opposite_order_still_get_written(self, store: Database) -> None:
        await store.transaction([timer("a"), timer("b")])
        add = "update timer set due = due + 1 where id = :id"
        there = [statement(add, id="a"), statement(add, id="b")]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for n in range(10):
                group.create_task(store.transaction(there if n % 2 else there[::-1]))
        rows = await store.fetch("select due from timer")
        assert [row["due"] for row in rows] == [10, 10]

    async def test_awaited_calls_keep_their_order(self, store: Database) -> None:
        for n in range(50):
            await store.transaction([_said(n, "word", "s", "p")], durable=n % 7 == 0)
        rows = await store.fetch("select n from message order by id")
        assert [row["n"] for row in rows] == list(range(50))

    async def test_read_sees_every_commit_that_returned(self, store: Database) -> None:
        async def write_then_read(n: int) -> None:
            await store.transaction([timer(str(n))])
            assert await store.fetch("select 1 from timer where id = :id", id=str(n))

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for n in range(100):
                group.create_task(write_then_read(n))

    async def test_cancelled_caller_leaves_all_or_nothing(self, store: Database) -> None:
        async def write(n: int) -> None:
            await store.transaction([timer(f"a{n}"), timer(f"b{n}")], durable=True)

        for n in range(20):
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                writing = group.create_task(write(n))
                for _ in range(n % 5):
                    await asyncio.sleep(0)
                writing.cancel()
        await store.transaction([timer("last")])
        found = await timers(store)
        assert [key[1:] for key in found if key[0] == "a"] == [
            key[1:] for key in found if key[0] == "b"
        ]
        assert "last" in found

    # Statements and values

    async def test_returning_gives_rows_by_name(self, store: Database) -> None:
        (added, changed, ignored) = await store.transaction(
            [
                statement(f"{_INSERT} returning id, due", id="a", due=1.5, inbound="{}"),
                statement("update timer set due = 2 where id = 'a' returning due as moved"),
                statement(
                    f"{_INSERT} on conflict (id) do nothing returning id",
                    id="a",
                    due=0,
                    inbound="",
                ),
            ]
        )
        (row,) = added.rows
        assert {key: row[key] for key in row.keys()} == {"id": "a", "due": 1.5}  # noqa: SIM118
        assert (changed.rows[0]["moved"], changed.touched) == (2, 1)
        assert (list(ignored.rows), ignored.touched) == ([], 0)

    async def test_identities_grow_and_are_never_given_twice(self, store: Database) -> None:
        add = [_said(1, "a", "s", "p"), _said(2, "b", "s", "p")]
        await store.transaction(add)
        last = (await store.fetch("select max(id) as id from message"))[0]["id"]
        await store.execute("delete from message")
        await store.transaction(add)
        first = (await store.fetch("select min(id) as id from message"))[0]["id"]
        assert first > last

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "汉字 かな 한국어",
            "👩‍👩‍👧 e\u0301",
            '{"nul": "\\u0000"}',
            "100% :name %s ' \"",
            "\r\n\t",
        ],
    )
    async def test_text_comes_back_as_it_was(self, store: Database, text: str) -> None:
        await store.transaction([timer("t", inbound=text)])
        (row,) = await store.fetch("select inbound from timer where inbound = :text", text=text)
        assert row["inbound"] == text

    async def test_nul_in_a_text_becomes_the_replacement_sign(self, store: Database) -> None:
        await store.transaction([timer("a\0b", inbound="\0")])
        assert await timers(store) == ["a\ufffdb"]
        (row,) = await store.fetch("select inbound from timer where id = :id", id="a\0b")
        assert row["inbound"] == "\ufffd"

    async def test_bytes_come_back_as_they_were(self, store: Database) -> None:
        data = bytes(range(256)) * 300
        await store.execute(
            "insert into blob (hash, media_type, name, size, data, created)"
            " values ('h', 'm', 'n', :size, :data, 0)",
            size=len(data),
            data=data,
        )
        (row,) = await store.fetch("select data, size from blob")
        assert (bytes(row["data"]), row["size"]) == (data, len(data))

    @pytest.mark.parametrize("value", [0, -1, 2**40, 1.5, 1e300, None, True])
    async def test_numbers_and_null_come_back_as_they_were(
        self, store: Database, value: Value
    ) -> None:
        (row,) = await store.fetch(
            "select coalesce(max(due), :value) as value from timer where id = :id",
            value=value,
            id="x",
        )
        assert row["value"] == value

    async def test_sum_of_integers_is_an_integer(self, store: Database) -> None:
        await store.transaction([_said(n, "a", "s", "p") for n in (1, 2)])
        (row,) = await store.fetch("select sum(n) as n, sum(id) as ids from message")
        assert [type(row["n"]), type(row["ids"]), row["n"]] == [int, int, 3]

    async def test_colons_and_percent_in_literals_are_no_parameters(self, store: Database) -> None:
        (row,) = await store.fetch(
            "select 'a :b %s 100%' as \":x\", 7 % 4 as rest, :b as b -- :c %\n", b="it"
        )
        assert [row[":x"], row["rest"], row["b"]] == ["a :b %s 100%", 3, "it"]

    @pytest.mark.parametrize(
        "statements",
        [
            [statement("insert into nowhere values (1)")],
            [statement("this is no sql")],
            [statement(_INSERT, id="a")],
            [statement(_INSERT, id="a", due=0, inbound=None)],
            [statement("update timer set due = :n where id = :n", n=2**70)],
            [timer("surrogate", inbound="\ud800")],
        ],
    )
    async def test_what_cannot_be_done_is_a_store_error_and_the_store_goes_on(
        self, store: Database, statements: Sequence[Statement]
    ) -> None:
        with pytest.raises(StoreError):
            await store.transaction(statements)
        with pytest.raises(StoreError):
            await store.fetch("select nothing from nowhere")
        assert await store.execute(_INSERT, id="b", due=0, inbound="") == 1
        assert await timers(store) == ["b"]

    # Life

    async def test_committed_rows_are_there_after_reopening(self, open_store: OpenStore) -> None:
        async with open_store() as first:
            await first.transaction([timer("kept")])
        async with open_store() as second:
            assert await timers(second) == ["kept"]

    async def test_leaving_waits_for_what_was_asked_before(self, open_store: OpenStore) -> None:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group, open_store() as store:
            for n in range(20):
                group.create_task(store.transaction([timer(f"{n:02}")]))
            await asyncio.sleep(0)  # each task makes its call
        async with open_store() as again:
            assert await timers(again) == [f"{n:02}" for n in range(20)]

    async def test_closed_store_says_so(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            pass
        with pytest.raises(StoreError, match="closed"):
            await store.fetch("select 1")
        with pytest.raises(StoreError, match="closed"):
            await store.execute("delete from timer")

    # Search

    async def test_search_finds_any_of_the_words_best_first(self, store: Database) -> None:
        await store.transaction(
            [
                _said(1, "The cat sat on the mat", "s", "p"),
                _said(2, "Ünïcödé CAFÉ in Zürich, e-mail: cat@example.org", "s", "p"),
                _said(3, "cat, cats and a dog: the dog's cat", "s", "p"),
                _said(4, "nothing of interest", "s", "p"),
            ]
        )
        assert (await self.found(store, "dog CAT"))[0] == 3
        assert set(await self.found(store, "dog CAT")) == {1, 2, 3}
        assert await self.found(store, "cafe zurich") == [2]
        assert await self.found(store, "example.org") == [2]
        assert await self.found(store, "absent") == []
        scores = [hit.score for hit in await store.search("dog cat", limit=9)]
        assert scores == sorted(scores, reverse=True)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("会议", {1}),
            ("明天的会议在几点", {1}),
            ("猫", {2}),
            ("会", {1, 3}),
            ("東京", {4}),
            ("カメラ", {4}),
            ("회의", {5}),
        ],
    )
    async def test_search_needs_no_spaces_between_words(
        self, store: Database, query: str, expected: set[int]
    ) -> None:
        await store.transaction(
            [
                _said(1, "明天下午三点开会议。", "s", "p"),
                _said(2, "我家有一只黑猫", "s", "p"),
                _said(3, "他会游泳", "s", "p"),
                _said(4, "東京でカメラを買う", "s", "p"),
                _said(5, "내일회의가있습니다", "s", "p"),
            ]
        )
        assert set(await self.found(store, query)) >= expected
        assert (await self.found(store, query))[0] in expected

    async def test_search_stays_in_the_session_or_with_the_person(self, store: Database) -> None:
        await store.transaction(
            [
                _said(1, "secret plan", "one", "ann"),
                _said(2, "secret plan", "two", "ann"),
                _said(3, "secret plan", "two", "bob"),
            ]
        )
        assert set(await self.found(store, "plan", person="ann")) == {1, 2}
        assert set(await self.found(store, "plan", session="two")) == {2, 3}
        assert await self.found(store, "plan", session="two", person="bob") == [3]
        assert len(await store.search("plan", limit=2)) == 2

    @pytest.mark.parametrize("query", ["", '" OR *', "' | !", "a:b AND NOT (", "\x00", "x" * 99999])
    async def test_search_takes_any_text(self, store: Database, query: str) -> None:
        await store.transaction([_said(1, "words", "s", "p")])
        assert await self.found(store, query) == []

    async def test_deleted_messages_are_not_found(self, store: Database) -> None:
        await store.transaction([_said(1, "gone", "s", "p"), _said(2, "gone", "t", "p")])
        await store.execute("delete from message where session = 's'")
        assert await self.found(store, "gone") == [2]

    async def found(self, store: Database, text: str, **where: Any) -> list[int]:
        """The `n` of each message found, best first."""
        hits = await store.search(text, limit=10, **where)
        rows = await store.fetch("select id, n from message")
        numbers = {row["id"]: row["n"] for row in rows}
        return [numbers[hit.id] for hit in hits]

    # The schema

    async def schema(self, store: Database) -> object:
        """All but the table of versions, described so that equal schemas are equal."""
        raise NotImplementedError

    async def test_each_step_can_be_undone_and_done_again(self, open_store: OpenStore) -> None:
        seen = []
        for number in range(NEWEST + 1):
            async with open_store(schema=number) as store:
                seen.append(await self.schema(store))
        for number in reversed(range(NEWEST)):
            async with open_store(schema=number) as store:
                assert await self.schema(store) == seen[number]
        async with open_store() as store:
            assert await self.schema(store) == seen[NEWEST]

    async def test_newer_database_is_refused(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await store.execute("insert into schema_version values (99, 'future', 0)")
        with pytest.raises(StoreError, match="newer Famulus"):
            await open_store().__aenter__()

    async def test_starting_at_the_same_moment_migrates_once(self, open_store: OpenStore) -> None:
        async def start() -> None:
            async with open_store():
                pass

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(start())
        async with open_store() as store:
            rows = await store.fetch("select number from schema_version order by number")
        assert [row["number"] for row in rows] == list(range(1, NEWEST + 1))
