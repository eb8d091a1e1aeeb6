"""What `ask` and `chat` talk through: the gateway that runs in this home, or all of it in here."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import Struct

from famulus.cli.options import Options
from famulus.core.errors import Locked
from famulus.core.events import Event
from famulus.core.logs import write_logs
from famulus.core.messages import Usage

GATEWAY_FILE = "gateway.json"
Show = Callable[[Event], None]

T = TypeVar("T")

# Another command answers, or a gateway is starting: both are over in a moment.
_FREE_SECONDS = 30.0
_POLL_SECONDS = 0.1


class Reply(Struct, frozen=True, kw_only=True):
    """The answer to a message, and to the others that were answered together with it. `failed`:
    it only says why what was asked for was not done.
    """

    turn_id: str
    session_id: str
    content: str
    message_ids: tuple[str, ...] = ()
    model: str = ""
    usage: Usage = Usage()
    failed: bool = False


class Gateway(Struct, frozen=True):
    """What a running gateway tells those who may read its home."""

    pid: int
    url: str
    token: str


class Conversation(Protocol):
    """`place` says who answers."""

    place: str

    async def ask(
        self, text: str, *, session: str = "", model: str = "", attach: Sequence[Path] = ()
    ) -> Reply:
        """Send a message and wait for its reply. Raises a `FamulusError` when it is refused.

        Cancelling it stops the answer, too: its model call is over when it returns.
        """

    async def stop(self) -> None:
        """Stop what is being answered; its `ask` gets a reply all the same."""


def running_gateway(home: Path) -> Gateway | None:
    """The gateway of this home, if it listens: a crash leaves its file, and its number may by now
    be another process's.
    """
    try:
        gateway = msgspec.json.decode((home / GATEWAY_FILE).read_bytes(), type=Gateway)
        os.kill(gateway.pid, 0)
        address = urlsplit(gateway.url)
        with socket.create_connection((address.hostname, address.port), timeout=1):
            return gateway
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


@asynccontextmanager
async def conversation(
    options: Options, *, show: Show | None = None
) -> AsyncIterator[Conversation]:
    """Open a conversation; `show` gets the events of the turns it starts."""
    async with AsyncExitStack() as stack:
        yield await when_free(lambda: _open(stack, options, show))


async def _open(stack: AsyncExitStack, options: Options, show: Show | None) -> Conversation:
    # Each way has imports of 200 ms that the other need not pay.
    if gateway := running_gateway(options.home):
        from famulus.cli.remote import Remote  # noqa: PLC0415

        write_logs(_level(options), "logfmt")
        return await stack.enter_async_context(Remote(gateway, show=show))
    from famulus.cli.local import local  # noqa: PLC0415

    loaded = options.load()
    write_logs(_level(options), loaded.config.logging.format)
    return await stack.enter_async_context(local(loaded, options.home, show=show))


def _level(options: Options) -> str:
    """The reply says what went wrong; where in the program is for those who ask for it."""
    return "error" if options.debug else "critical"


async def when_free(enter: Callable[[], Awaitable[T]]) -> T:
    """What `enter` gives; while another process is at work in the home, it is tried again."""
    deadline = time.monotonic() + _FREE_SECONDS
    told = not sys.stderr.isatty()
    while True:
        try:
            return await enter()
        except Locked as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                click.echo(f"Waiting for a while. {error}", err=True)
                told = True
        await asyncio.sleep(_POLL_SECONDS)
