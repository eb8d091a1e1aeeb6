"""Ends a command from outside: Ctrl-C, a polite kill, a terminal that was closed."""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

T = TypeVar("T")

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; a signal cancels it, and one more cancels what it does before it leaves.
    The command then ends without a word.
    """
    came: list[int] = []

    async def watched() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def end(number: int) -> None:
            came.append(number)
            if task:
                task.cancel()

        for number in wanted(*ENDING):
            loop.add_signal_handler(number, end, number)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        # The code that a shell expects of a program that a signal has ended.
        raise click.exceptions.Exit(128 + (came[0] if came else signal.SIGINT)) from None


def wanted(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those that may be listened to: not what whoever started us told us to ignore, as `nohup`
    does, and none outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
