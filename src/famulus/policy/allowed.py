"""Who may talk to the assistant. An empty allowlist admits nobody."""

import logging
from collections.abc import Sequence

from famulus.core.errors import NotAllowed
from famulus.core.messages import Inbound
from famulus.core.protocols import Accepted, Deliver

log = logging.getLogger(__name__)


class Allowed:
    """A `Deliver` that lets in only the sender ids of a channel's `allow` list.

    An entry is an id, or `id:agent`. Names are never looked at: anyone can take any name.
    """

    def __init__(self, deliver: Deliver, allow: Sequence[str]) -> None:
        self._deliver = deliver
        self._ids = frozenset(entry.partition(":")[0] for entry in allow) - {""}

    async def __call__(self, inbound: Inbound) -> Accepted:
        if inbound.sender_id not in self._ids:
            log.warning(
                "refused a stranger channel=%s sender=%s name=%s",
                inbound.channel,
                inbound.sender_id,
                inbound.sender_name,
            )
            raise NotAllowed(
                f"{inbound.sender_id} is not on the list. To let them in, add the id to "
                f"channels.{inbound.channel}.allow."
            )
        return await self._deliver(inbound)
