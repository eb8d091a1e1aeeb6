"""Who may talk to the assistant. An empty allowlist admits nobody."""

import logging
import re
from collections.abc import Sequence

from famulus.core.errors import ConfigError, NotAllowed
from famulus.core.messages import Inbound
from famulus.core.protocols import Accepted, Deliver

log = logging.getLogger(__name__)

_ENTRY = re.compile(r"((?:[^:]|::)+)(?::([\w-]+))?", re.DOTALL)


class Allowed:
    """A `Deliver` that lets in only the sender ids of a channel's `allow` list.

    Names are never looked at: anyone can take any name.
    """

    def __init__(self, deliver: Deliver, allow: Sequence[str]) -> None:
        """Raises `ConfigError` for an entry that is none."""
        self._deliver = deliver
        self._ids = frozenset(map(allowed_id, allow))

    async def __call__(self, inbound: Inbound) -> Accepted:
        if inbound.sender_id not in self._ids:
            log.warning(
                "refused a stranger channel=%s sender=%s name=%s",
                inbound.channel,
                inbound.sender_id,
                inbound.sender_name,
            )
            raise NotAllowed(
                f"{inbound.sender_id} is not on the list. To let them in, add"
                f' "{entry(inbound.sender_id)}" to channels.{inbound.channel}.allow.'
            )
        return await self._deliver(inbound)


def allowed_id(entry: str) -> str:
    """The sender id of an entry of an `allow` list: `id`, or `id:agent`.

    A colon of the id itself is written twice, so that any id can be written:
    `@bob::example.org` is Matrix' `@bob:example.org`. Nothing stands for everyone.
    """
    match = _ENTRY.fullmatch(entry)
    if not match or not match[1].strip():
        raise ConfigError(
            f"{entry!r} is no id. Write an id, or id:agent; a colon of the id itself is written"
            ' twice, such as "@bob::example.org".'
        )
    return match[1].replace("::", ":")


def entry(sender_id: str) -> str:
    """How an id is written in an `allow` list."""
    return sender_id.replace(":", "::")
