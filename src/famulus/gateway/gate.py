"""The one way in: from a channel's message to a turn on disk."""

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from famulus.core.config import Limits
from famulus.core.errors import ConfigError, Invalid, StoreError, TooLarge
from famulus.core.logs import correlation
from famulus.core.messages import File, Image, Inbound, Origin, Part, SessionKey, Text
from famulus.core.protocols import Accepted
from famulus.engine.turns import Engine
from famulus.state.people import OWNER, People
from famulus.state.sessions import Sessions

log = logging.getLogger(__name__)

# The channels that only the owner can use: they ask for the password or sit at the machine.
OWNED = frozenset({"web", "console"})

_COMMAND = re.compile(r"\s*/(\?|[^\W\d_][\w-]*)(@\w+)?(?=\s|$)")
_COMMAND_SECONDS = 10.0


class Gate:
    """A `Deliver`: checks the limits, finds the person and the session, and hands to the engine.

    A slash command goes into a lane of its own, so that it never waits behind a long turn, and is
    done before the next message of its chat is looked at.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        people: People,
        sessions: Sessions,
        limits: Limits,
        check_model: Callable[[str], object] = lambda name: None,
        kept: Callable[[Sequence[Part]], Awaitable[Sequence[Part] | None]] | None = None,
    ) -> None:
        """`check_model` raises ConfigError for a name that no model has. `kept` gives the
        parts of a message that a rule keeps on this machine as they are stored, or None for any
        other message; the mark is set here once and for all.
        """
        self._kept = kept
        self._check_model = check_model
        self._engine = engine
        self._people = people
        self._sessions = sessions
        self._limits = limits

    async def __call__(self, inbound: Inbound) -> Accepted:
        self._check(inbound)
        person, origin = OWNER, Origin.OWNER
        if inbound.channel not in OWNED:
            known = await self._people.of_account(
                inbound.channel, inbound.sender_id, inbound.sender_name
            )
            person = known.id
            origin = Origin.OWNER if known.role == OWNER else Origin.GUEST
        key = await self._session(inbound, person)
        kept = await self._kept(inbound.parts) if self._kept else None
        parts = inbound.parts if kept is None else kept
        inbound = msgspec.structs.replace(
            inbound,
            private=kept is not None,
            person=person,
            dialog_id=key.dialog_id,
            correlation_id=inbound.correlation_id or secrets.token_hex(6),
            parts=tuple(_said_by(origin, part) for part in parts),
        )
        correlation.set(inbound.correlation_id)
        command = is_command(inbound)
        lane = f"!{inbound.channel}:{inbound.chat_id}" if command else ""
        accepted = await self._engine.accept(inbound, session=str(key), lane=lane)
        log.info(
            "accepted turn=%s session=%s duplicate=%s",
            accepted.turn_id,
            accepted.session,
            accepted.duplicate,
        )
        if command:
            # Accepted it is, also when nobody knows how long it takes.
            with suppress(TimeoutError, StoreError):
                async with asyncio.timeout(_COMMAND_SECONDS):
                    await self._engine.answer(accepted.turn_id)
        return accepted

    async def _session(self, inbound: Inbound, person: str) -> SessionKey:
        if not inbound.dialog_id:
            return await self._sessions.current(inbound.channel, inbound.chat_id, person)
        key = SessionKey(inbound.channel, inbound.chat_id, inbound.dialog_id)
        await self._sessions.ensure(key, person)
        return key

    def _check(self, inbound: Inbound) -> None:
        files = sum(isinstance(part, Image | File) for part in inbound.parts)
        check_size(inbound.text, files, self._limits)
        for name in ("message_id", "chat_id", "sender_id"):
            check_id(name, getattr(inbound, name))
        if inbound.dialog_id:
            check_id("dialog_id", inbound.dialog_id)
        if inbound.model:
            try:
                self._check_model(inbound.model)
            except ConfigError as error:
                raise Invalid(str(error)) from None
        dialog = inbound.dialog_id
        if ":" in dialog or len(dialog) > 200 or not dialog.isprintable():
            raise Invalid("The dialog's id must be up to 200 printable characters but colons.")


def _said_by(origin: Origin, part: Part) -> Part:
    """What the sender said, typed or spoken, is the sender's."""
    if isinstance(part, Text):
        return Text(part.text, origin)
    if isinstance(part, File) and part.origin is not Origin.OUTSIDE:
        return msgspec.structs.replace(part, origin=origin)
    return part  # a picture or a file may come from anyone, whoever sends it


def check_id(name: str, value: str) -> None:
    """Raise `Invalid` for what names nothing: empty, endless, or with what no database keeps."""
    if not value or len(value) > 200 or not value.isprintable():
        raise Invalid(f"{name} must be 1 to 200 printable characters.")


def check_size(text: str, files: int, limits: Limits) -> None:
    """Raise `Invalid` for a message that says nothing, `TooLarge` for one that says too much."""
    size = len(text.encode("utf-8", "replace"))
    if size > limits.message:
        raise TooLarge(
            f"The message has {size:,} bytes; the most I take is {limits.message:,}. "
            "Please send it in parts or as a file."
        )
    if files > limits.attachments:
        raise TooLarge(f"{files} attachments came; the most I take is {limits.attachments}.")
    if not files and not text.strip():
        raise Invalid("The message is empty.")


def is_command(inbound: Inbound) -> bool:
    """`/stop` and `/?` are commands; a path such as `/etc/hosts` is not."""
    first = next((part.text for part in inbound.parts if isinstance(part, Text)), "")
    return bool(_COMMAND.match(first))
