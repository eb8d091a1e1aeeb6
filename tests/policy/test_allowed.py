from datetime import UTC, datetime

import pytest

from famulus.core.errors import NotAllowed
from famulus.core.messages import Inbound, Origin, Text
from famulus.core.protocols import Accepted
from famulus.policy.allowed import Allowed

pytestmark = pytest.mark.anyio


def message(sender, name=""):
    return Inbound(
        channel="telegram",
        chat_id="1",
        sender_id=sender,
        sender_name=name,
        message_id="1",
        parts=(Text("hi", Origin.GUEST),),
        at=datetime.now(UTC),
    )


async def deliver(inbound):
    return Accepted("turn", "session")


async def test_an_empty_list_admits_nobody():
    with pytest.raises(NotAllowed):
        await Allowed(deliver, [])(message("12345"))


async def test_an_id_is_let_in_with_or_without_an_agent():
    for allow in (["12345"], ["12345:limited"]):
        assert await Allowed(deliver, allow)(message("12345")) == Accepted("turn", "session")


async def test_a_name_is_never_an_identity():
    with pytest.raises(NotAllowed):
        await Allowed(deliver, ["ann"])(message("666", name="ann"))


@pytest.mark.parametrize("entry", ["", ":", ":agent", "*"])
async def test_an_odd_entry_lets_nobody_in(entry):
    for sender in ("", "12345", "agent"):
        with pytest.raises(NotAllowed):
            await Allowed(deliver, [entry])(message(sender))


async def test_the_refusal_names_the_setting():
    with pytest.raises(NotAllowed, match=r"12345.*channels\.telegram\.allow"):
        await Allowed(deliver, ["1"])(message("12345"))
