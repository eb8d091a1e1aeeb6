"""The real program, which kills itself at a chosen write of its journal.

    driver.py TRACE MESSAGE NUMBER POINT serve --home …

Transactions are counted from the one that accepts MESSAGE, or from the start when that is empty,
and each leaves a line in the file TRACE. At transaction NUMBER the process sends itself SIGKILL:
`before` it does anything, `inside` when its statements are done but not committed, or `after` the
commit and before anyone is told of it. NUMBER 0 only counts.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from famulus.cli import conversation, main
from famulus.store import postgres, sqlite
from famulus.store.database import Statement
from famulus.store.postgres_wire import Connection


class Trap:
    """Counts transactions and kills the process where it was told to."""

    def __init__(self, trace: int, message: str, number: int, point: str) -> None:
        self._trace = trace
        self._message = message
        self.number = number
        self._point = point
        self.counted = 0

    def count(self, statements: Sequence[Statement]) -> int:
        """The number of a transaction that begins; 0 while nothing is counted."""
        if self.counted or not self._message or _names(statements, self._message):
            self.counted += 1
            os.write(self._trace, f"{_label(statements)}\n".encode())
        self.reach("before", self.counted)
        return self.counted

    def reach(self, point: str, number: int) -> None:
        if point == self._point and number == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def arm_sqlite(trap: Trap) -> None:
    # The writing thread's own two functions: no other place sees each transaction and its commit.
    attempt, commit = sqlite._Writer._attempt, sqlite._Writer.commit

    def attempting(writer: Any, statements: Sequence[Statement]) -> Any:
        number = trap.count(statements)
        done = attempt(writer, statements)
        trap.reach("inside", number)
        return done

    def committing(writer: Any, batch: Sequence[Any]) -> Any:
        earlier = trap.counted
        done = commit(writer, batch)
        if earlier < trap.number <= trap.counted:
            trap.reach("after", trap.number)
        return done

    sqlite._Writer._attempt, sqlite._Writer.commit = attempting, committing


def arm_postgres(trap: Trap) -> None:
    transact, execute = postgres._transact, Connection.execute
    # Transactions run side by side here, each in a task that is in one of them at a time.
    inside = ContextVar("inside", default=0)

    async def transacting(connection: Any, statements: Sequence[Statement]) -> Any:
        inside.set(trap.count(statements))
        return await transact(connection, statements)

    async def executing(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if query != "commit":
            return await execute(connection, query, *arguments, **options)
        trap.reach("inside", inside.get())
        done = await execute(connection, query, *arguments, **options)
        trap.reach("after", inside.get())
        return done

    postgres._transact, Connection.execute = transacting, executing


def _names(statements: Sequence[Statement], message: str) -> bool:
    values = [str(value) for each in statements for value in each.parameters.values()]
    return any(value.endswith(f":{message}") for value in values)


def _label(statements: Sequence[Statement]) -> str:
    """What a transaction does: `update turn running`, `insert step intent tool:shell`."""
    return " + ".join(
        " ".join(
            [
                *each.sql.replace(" into ", " ").split()[:2],
                str(each.parameters.get("status", "")),
                str(each.parameters.get("name", "")),
            ]
        ).strip()
        for each in statements
    )


if __name__ == "__main__":
    file, started_by, at, where, *arguments = sys.argv[1:]
    trap = Trap(
        os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), started_by, int(at), where
    )
    arm_sqlite(trap)
    arm_postgres(trap)
    # How long a second program waits before it is refused: in tests nobody gives way.
    conversation._FREE_SECONDS = 3.0
    sys.argv = ["famulus", *arguments]
    sys.exit(main())
