"""The one database protocol. Its SQL is portable, with `:name` parameters, on every driver.

A transaction is data, a list of statements, not a block of code: nothing awaits while a lock is
held, and the embedded driver can commit the transactions of many turns at once (group commit).
What a transaction depends on is written as an expectation (`expect=1` row), so a fence is one
`update … where attempt = :attempt`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

from famulus.core.errors import Conflict

Value = str | int | float | bytes | None


class Row(Protocol):
    """A row by column name."""

    def __getitem__(self, key: str, /) -> Any: ...

    def keys(self) -> Any: ...


class Statement(NamedTuple):
    """One SQL statement. `expect`: the number of rows it must touch, else nothing is written."""

    sql: str
    parameters: dict[str, Value]
    expect: int | None = None


class Result(NamedTuple):
    """`rows` of a `returning` clause; `touched` is the number of rows it changed."""

    rows: Sequence[Row]
    touched: int


class Hit(NamedTuple):
    """A found message; a higher `score` is better."""

    id: int
    score: float


def statement(sql: str, /, *, expect: int | None = None, **parameters: Value) -> Statement:
    return Statement(sql, parameters, expect)


def storable(parameters: dict[str, Value]) -> dict[str, Value]:
    """The same with U+FFFD for each NUL in a text, which PostgreSQL cannot hold."""
    for value in parameters.values():
        if type(value) is str and "\0" in value:
            return {name: _storable(each) for name, each in parameters.items()}
    return parameters


def _storable(value: Value) -> Value:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def conflict(sql: str, touched: int, expected: int) -> Conflict:
    return Conflict(
        f"Another writer came first ({touched} rows instead of {expected} in"
        f" {' '.join(sql.split())[:80]!r}). Nothing was written."
    )


class Database(Protocol):
    """Raises `StoreFull`, `StoreUnavailable` or `StoreError` with a text for the user. Values are
    taken as `storable` makes them.

    An async context manager: entering connects and migrates, leaving waits for what is queued.
    """

    async def fetch(self, sql: str, /, **parameters: Value) -> Sequence[Row]:
        """Read rows as of the last commit."""

    async def execute(self, sql: str, /, **parameters: Value) -> int:
        """A transaction of one statement; the number of rows touched."""

    async def transaction(
        self, statements: Sequence[Statement], *, durable: bool = False
    ) -> Sequence[Result]:
        """Do all or nothing, and return after the commit, one result a statement.

        Raises `Conflict` when an expectation does not hold. A caller that awaits each call has its
        order; on SQLite calls that overlap keep theirs as well. It is done, or not, also when the
        caller is cancelled. `durable`: on return the commit survives a power loss, not only the
        death of the process.
        """

    async def search(
        self, text: str, *, limit: int, session: str = "", person: str = ""
    ) -> Sequence[Hit]:
        """Messages with any of the words of `text`, best first, in one session or of one person."""

    @property
    def trouble(self) -> str:
        """What is wrong with the database for good, in words for the user; mostly empty."""

    async def check(self) -> None:
        """After a process was killed: look at the whole file, which may take a while. Sets
        `trouble` where it is damaged.
        """

    async def sweep(self) -> None:
        """Overwrite what was deleted where it still stands in files, as far as the driver can.
        Raises `StoreUnavailable` while somebody keeps it from that.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exception: object) -> None: ...
