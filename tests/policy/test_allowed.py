from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.errors import ConfigError, NotAllowed
from famulus.core.messages import Inbound, Origin, Text
from famulus.core.protocols import Accepted
from famulus.policy.allowed import Allowed, allowed_id, entry

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


@pytest.mark.parametrize(
    "entry", ["", " ", ":", ":agent", "12345:", "a:b:c", "@bob:example.org", "a:b c"]
)
async def test_an_entry_that_is_no_id_is_refused_and_says_how_to_write_one(entry):
    with pytest.raises(ConfigError, match=r'is no id.*"@bob::example\.org"'):
        Allowed(deliver, [entry])


async def test_nothing_stands_for_everyone():
    with pytest.raises(NotAllowed):
        await Allowed(deliver, ["*"])(message("12345"))
    assert await Allowed(deliver, ["*"])(message("*"))


async def test_a_matrix_id_is_written_with_its_colon_twice():
    for allow in ("@bob::example.org", "@bob::example.org:limited"):
        assert await Allowed(deliver, [allow])(message("@bob:example.org"))
        with pytest.raises(NotAllowed):
            await Allowed(deliver, [allow])(message("@bob"))


@given(st.text(min_size=1).filter(str.strip), st.from_regex(r"(:[\w-]+)?", fullmatch=True))
def test_any_id_can_be_written_with_or_without_an_agent(sender, agent):
    assert allowed_id(entry(sender) + agent) == sender


@given(st.text())
def test_an_entry_is_either_one_id_or_refused(text):
    try:
        sender = allowed_id(text)
    except ConfigError:
        return
    assert sender.strip()
    assert text.startswith(entry(sender))


async def test_the_refusal_names_the_setting():
    with pytest.raises(NotAllowed, match=r'"12345" to channels\.telegram\.allow'):
        await Allowed(deliver, ["1"])(message("12345"))
