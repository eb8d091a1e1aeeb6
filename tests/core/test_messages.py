"""Names of turns and sessions: no two things share one."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.messages import Inbound, SessionKey

# Mostly the signs that part an id, and what looks as if they had been escaped.
NAME = st.text(st.sampled_from(":#%ab3A250") | st.characters(), max_size=8)
FULL = NAME.filter(bool)
PLAIN = st.text(st.characters(exclude_characters=":"), min_size=1, max_size=8)


@st.composite
def alike(draw: st.DrawFn) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Two messages whose names are the same words, with other colons between the names."""
    words = draw(st.lists(NAME, min_size=5, max_size=8))
    ways = []
    for _ in range(2):
        cuts = draw(st.sets(st.integers(1, len(words) - 1), min_size=3, max_size=3))
        bounds = [0, *sorted(cuts), len(words)]
        ways.append(tuple(":".join(words[a:b]) for a, b in pairwise(bounds)))
    return ways[0], ways[1]


def turn_id(names: tuple[str, ...]) -> str:
    channel, account, chat_id, message_id = names
    inbound = Inbound(
        channel=channel,
        account=account,
        chat_id=chat_id,
        message_id=message_id,
        sender_id="owner",
        parts=(),
        at=datetime.now(UTC),
    )
    return inbound.turn_id


@given(alike())
def test_two_messages_never_share_an_id(messages) -> None:
    one, other = messages
    assert (turn_id(one) == turn_id(other)) == (one == other)


@given(st.tuples(NAME, NAME, NAME, NAME), st.integers(0, 99))
def test_reply_in_the_middle_of_a_turn_shares_its_id_with_no_turn(names, n) -> None:
    assert turn_id((*names[:3], f"{names[3]}#{n}")) != f"{turn_id(names)}#{n}"


def test_id_without_special_signs_is_as_it_always_was() -> None:
    assert turn_id(("web", "", "main", "b7-1")) == "web::main:b7-1"
    assert turn_id(("web", "", "a", "b:c")) != turn_id(("web", "", "a:b", "c"))


@given(PLAIN, FULL, PLAIN)
def test_session_key_is_read_as_it_was_written(channel, chat_id, dialog_id) -> None:
    key = SessionKey(channel, chat_id, dialog_id)
    assert SessionKey.parse(str(key)) == SessionKey.find(str(key)) == key


@given(PLAIN, FULL)
def test_chat_is_found_whatever_its_id_holds(channel, chat_id) -> None:
    assert SessionKey.find(f"{channel}:{chat_id}:") == SessionKey(channel, chat_id, "")
    if ":" not in chat_id:
        assert SessionKey.find(f"{channel}:{chat_id}") == SessionKey(channel, chat_id, "")


@pytest.mark.parametrize("text", ["", ":", "web", "web:", ":main", "::", "web::1"])
def test_what_names_no_chat_is_refused(text) -> None:
    with pytest.raises(ValueError, match="is not <channel>"):
        SessionKey.find(text)


@pytest.mark.parametrize("text", ["web:main", "web:a:b:"])
def test_key_of_a_dialog_names_it(text) -> None:
    with pytest.raises(ValueError, match="is not <channel>"):
        SessionKey.parse(text)
