"""What `ask` and `chat` talk through: the gateway that runs in this home, or all of it in here."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from famulus.cli.options import Options
from famulus.core.events import Event
from famulus.core.logs import write_logs
from famulus.core.messages import Usage

GATEWAY_FILE = "gateway.json"
Show = Callable[[Event], None]


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
    async def ask(
        self, text: str, *, session: str = "", model: str = "", attach: Sequence[Path] = ()
    ) -> Reply:
        """Send a message and wait for its reply. Raises a `FamulusError` when it is refused."""

    async def stop(self) -> None:
        """Stop what is running in the terminal's chat."""


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
    loaded = options.load()
    write_logs("error", loaded.config.logging.format)
    # Each way has imports of 200 ms that the other need not pay.
    if gateway := running_gateway(options.home):
        from famulus.cli.remote import Remote  # noqa: PLC0415

        async with Remote(gateway, show=show) as remote:
            yield remote
    else:
        from famulus.cli.local import local  # noqa: PLC0415

        async with local(loaded, options.home, show=show) as here:
            yield here
