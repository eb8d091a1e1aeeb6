"""`famulus chat`: a conversation line by line."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import click

from famulus.cli import signals
from famulus.cli.conversation import conversation, running_gateway
from famulus.cli.options import Options, common
from famulus.cli.screen import Screen
from famulus.core.errors import FamulusError


@click.command()
@click.option(
    "--plain",
    is_flag=True,
    expose_value=False,
    help="Read and write line by line; so it is without it, too.",
)
@click.option("--session", default="", metavar="KEY", help="Conversation to speak in.")
@common
def command(options: Options, *, session: str) -> None:
    """Talk in the terminal. Ctrl-C stops an answer, Ctrl-D ends."""
    if not signals.run(_chat(options, session)):
        click.get_current_context().exit(1)


class Lines:
    """What is typed. A thread of its own reads it, which ends with the process: waiting for a
    line cannot be cancelled.
    """

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        # A thread that waits in `sys.stdin` keeps its lock, and Python could not end.
        self._pipe = None if prompt else open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._wanted = threading.Semaphore(0)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self) -> str | None:
        """The next line, None at the end."""
        self._wanted.release()
        return await self._typed.get()

    def _read(self) -> None:
        while True:
            # Prompt only when the last answer is out.
            self._wanted.acquire()
            try:
                line = self._line()
            except (EOFError, ValueError):
                line = None
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._typed.put_nowait, line)
            if line is None:
                return

    def _line(self) -> str | None:
        if self._pipe is None:
            return input(self._prompt)
        line = self._pipe.readline().decode("utf-8", "replace")
        return line.rstrip("\r\n") if line else None


class Chat:
    """Sends each line through whoever answers at that moment: a gateway may come and go, and
    between two lines the home is free for others.
    """

    def __init__(self, options: Options, session: str, *, tty: bool) -> None:
        self.failed = False
        self._options = options
        self._session = session
        self._screen = Screen()
        self._tty = tty
        self._place = ""

    async def say(self, text: str) -> None:
        """Send one line and print what comes back. Ctrl-C stops the answer."""
        async with asyncio.TaskGroup() as group:
            try:
                async with conversation(
                    self._options, show=self._screen.show if self._tty else None
                ) as line:
                    self._say_who_answers(line.place)
                    _on_interrupt(lambda: group.create_task(line.stop()))
                    reply = await line.ask(text, session=self._session)
            except FamulusError as error:
                self._fail(str(error))
            else:
                if reply.failed and not self._tty:
                    self._fail(reply.content)
                else:
                    self._screen.finish(reply.content)
            finally:
                _on_interrupt(_current_task().cancel)

    def _fail(self, text: str) -> None:
        self.failed = True
        self._screen.end()
        click.echo(text, err=True)

    def _say_who_answers(self, place: str) -> None:
        if self._place not in {"", place}:
            click.echo(f"({self._place.capitalize()} is gone; {place} answers now.)", err=True)
        self._place = place


async def _chat(options: Options, session: str) -> bool:
    """Whether each line got an answer."""
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    _on_interrupt(_current_task().cancel)
    if not running_gateway(options.home):
        options.load()  # what is wrong with it is said before anything is typed
    if tty:
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - gives the prompt its history
        click.echo("Ctrl-D ends, Ctrl-C stops an answer, /help lists commands.")
    chat, lines = Chat(options, session, tty=tty), Lines("> " if tty else "")
    while (text := await lines.next()) is not None:
        if text.strip():
            await chat.say(text)
    return tty or not chat.failed


def _on_interrupt(act: Callable[[], object]) -> None:
    """What Ctrl-C does from now on. Python's own way would not wake the loop when the system
    gives the signal to the thread that reads lines.
    """
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, act)


def _current_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - both callers are coroutines
    return task
