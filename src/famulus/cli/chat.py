"""`famulus chat`: a conversation line by line."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import click

from famulus.cli.conversation import Conversation, conversation
from famulus.cli.options import Options, common
from famulus.core.errors import FamulusError
from famulus.core.events import Delta, Event, ToolStarted


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
    try:
        asyncio.run(_chat(options, session))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


class Screen:
    """Shows an answer while it comes, and the whole of it where nothing was shown."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, event: Event) -> None:
        match event:
            case Delta(content=content, restarted=restarted):
                if restarted and self._shown:
                    self._write("\n")
                    self._shown = ""
                self._write(content)
                self._shown += content
            case ToolStarted(name=name, arguments=arguments):
                if self._shown:
                    self._write("\n")
                    self._shown = ""
                self._write(click.style(f"· {name} {arguments[:100]}\n", dim=True))
            case _:
                pass

    def finish(self, text: str) -> None:
        """The final text is what counts; it is printed again only where it differs."""
        if self._shown.strip() == text.strip():
            self._write("\n")
        else:
            self._write(("\n" if self._shown else "") + text + "\n")
        self._shown = ""

    @staticmethod
    def _write(text: str) -> None:
        click.echo(text, nl=False)


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
        return self._pipe.readline().decode("utf-8", "replace") or None


async def _chat(options: Options, session: str) -> None:
    screen = Screen()
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    _on_interrupt(_current_task().cancel)
    if tty:
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - gives the prompt its history
    async with conversation(options, show=screen.show if tty else None) as line:
        if tty:
            click.echo("Ctrl-D ends, Ctrl-C stops an answer, /help lists commands.")
        lines = Lines("> " if tty else "")
        while (text := await lines.next()) is not None:
            if text.strip():
                await _one(line, screen, text, session)


async def _one(line: Conversation, screen: Screen, text: str, session: str) -> None:
    async with asyncio.TaskGroup() as group:
        _on_interrupt(lambda: group.create_task(line.stop()))
        try:
            reply = await line.ask(text, session=session)
        except FamulusError as error:
            click.echo(str(error), err=True)
        else:
            screen.finish(reply.content)
        finally:
            _on_interrupt(_current_task().cancel)


def _on_interrupt(act: Callable[[], object]) -> None:
    """What Ctrl-C does from now on. Python's own way would not wake the loop when the system
    gives the signal to the thread that reads lines.
    """
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, act)


def _current_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - both callers are coroutines
    return task
