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
from typing import Any

from famulus.cli import main
from famulus.store import sqlite
from famulus.store.database import Statement


def arm(trace: int, message: str, number: int, point: str) -> None:
    # The writing thread's own two functions: no other place sees each transaction and its commit.
    attempt, commit = sqlite._Writer._attempt, sqlite._Writer.commit
    counted = 0

    def attempting(writer: Any, statements: Sequence[Statement]) -> Any:
        nonlocal counted
        if counted or not message or _names(statements, message):
            counted += 1
            os.write(trace, f"{_label(statements)}\n".encode())
            reach("before", counted == number)
        done = attempt(writer, statements)
        reach("inside", counted == number)
        return done

    def committing(writer: Any, batch: Sequence[Any]) -> Any:
        earlier = counted
        done = commit(writer, batch)
        reach("after", earlier < number <= counted)
        return done

    def reach(here: str, now: bool) -> None:
        if now and here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlite._Writer._attempt, sqlite._Writer.commit = attempting, committing


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
    arm(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), started_by, int(at), where)
    sys.argv = ["famulus", *arguments]
    sys.exit(main())
