from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.errors import ContextOverflow, ModelRejected
from famulus.core.messages import Image, Message, Origin, Part, Text, ToolCall, ToolResult
from famulus.core.protocols import Caller, Done, ModelCard, Request
from famulus.models.withheld import Withheld, without_private
from famulus.testing.scripted import Scripted

NEAR = ModelCard(name="near", id="n", provider="here", local=True)
FAR = ModelCard(name="far", id="f", provider="elsewhere")


def said(role: str, *parts: Part | str, private: bool = False) -> Message:
    whole = [Text(part, Origin.OWNER) if isinstance(part, str) else part for part in parts]
    return Message(role, tuple(whole), private)  # type: ignore[arg-type]


def call(number: str = "1") -> ToolCall:
    return ToolCall(number, "calculator", '{"expression": "SECRET"}')


def result(text: str, number: str = "1") -> ToolResult:
    return ToolResult(number, "calculator", (Text(text, Origin.TOOL),))


async def asked(
    model: Scripted, *messages: Message, media: dict[str, bytes] | None = None, kind: str = "chat"
) -> Done:
    request = Request(system="", messages=messages, media=media or {}, caller=Caller(kind=kind))
    chunks = [chunk async for chunk in Withheld(model).stream(request)]
    assert isinstance(chunks[-1], Done)
    return chunks[-1]


PRIVATE_TURN = (
    said("user", "my SECRET", private=True),
    said("assistant", call(), private=True),
    said("tool", result("SECRET"), private=True),
    said("assistant", "SECRET it is", private=True),
)


@pytest.mark.anyio
async def test_a_model_elsewhere_sees_placeholders_for_a_private_turn() -> None:
    far = Scripted(["because"], card=FAR)
    morning = (said("user", "good morning"), said("assistant", "Morning!"))
    done = await asked(far, *morning, *PRIVATE_TURN, said("user", "explain TCP"))
    seen = far.requests[0].messages
    assert "SECRET" not in repr(seen)
    assert [message.role for message in seen] == ["user", "assistant"] * 2 + ["user"]
    assert (seen[1].text, seen[-1].text) == ("Morning!", "explain TCP")
    assert (done.card, done.private) == ("far", False)


@pytest.mark.anyio
async def test_a_local_model_sees_it_and_its_answer_is_private() -> None:
    near = Scripted(["Hi", "Hi"], card=NEAR)
    assert (await asked(near, *PRIVATE_TURN, said("user", "hello"))).private
    assert near.requests[0].messages[: len(PRIVATE_TURN)] == PRIVATE_TURN
    assert not (await asked(near, said("user", "hello"))).private


@pytest.mark.anyio
async def test_a_model_elsewhere_is_not_asked_something_private() -> None:
    far = Scripted([], card=FAR)
    with pytest.raises(ModelRejected, match=r"far is not local\. Set router\.simple"):
        await asked(far, said("user", "my SECRET", private=True))
    with pytest.raises(ModelRejected, match=r"Set transcription\.model"):
        await asked(far, said("user", "my SECRET", private=True), kind="transcription")
    steered = (said("user", "go"), said("assistant", call()), said("tool", result("4")))
    with pytest.raises(ModelRejected) as refused:
        await asked(far, *steered, said("user", "my SECRET", private=True))
    assert not refused.value.sent, "nobody is charged for it"
    assert far.requests == []


@pytest.mark.anyio
async def test_pictures_of_a_private_message_do_not_go_with_another_request() -> None:
    far = Scripted(["a cat"], card=FAR)
    kept, shown = (Image(blob, "image/png", Origin.OWNER) for blob in ("k", "s"))
    await asked(
        far,
        said("user", kept, private=True),
        said("assistant", "a face", private=True),
        said("user", shown),
        media={"k": b"SECRET", "s": b"cat"},
    )
    assert far.requests[0].media == {"s": b"cat"}


@pytest.mark.anyio
async def test_what_a_turn_derived_is_left_out_so_that_another_model_begins_it_again() -> None:
    far = Scripted(["because"], card=FAR)
    derived = (
        said("assistant", call(), private=True),
        said("tool", result("SECRET"), private=True),
    )
    await asked(far, *PRIVATE_TURN, said("user", "hello"), *derived)
    assert far.requests[0].messages[-1].text == "hello"


@pytest.mark.anyio
async def test_an_error_says_which_model_it_was() -> None:
    near = Scripted([ContextOverflow("too long")], card=NEAR)
    with pytest.raises(ContextOverflow) as failed:
        await asked(near, said("user", "hello"))
    assert failed.value.model == "near"


def test_a_private_result_of_a_plain_call_is_still_answered() -> None:
    seen = without_private(
        [
            said("user", "go"),
            said("assistant", call()),
            said("tool", result("SECRET"), private=True),
        ]
    )
    (answer,) = seen[-1].parts
    assert isinstance(answer, ToolResult)
    assert answer.call_id == "1"
    assert "SECRET" not in repr(seen[-1])


turns = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8)


def conversation(turns: Sequence[tuple[bool, bool, bool]]) -> list[Message]:
    """Of each turn: was it private, was its answer made from something private, had it a tool."""
    messages: list[Message] = []
    for n, (private, derived, tool) in enumerate(turns):
        hidden = private or derived
        word = "SECRET" if hidden else "plain"
        messages.append(said("user", "SECRET" if private else f"ask {n}", private=private))
        if tool:
            messages.append(said("assistant", ToolCall(f"c{n}", "t", word), private=hidden))
            messages.append(said("tool", result(word, f"c{n}"), private=hidden))
        messages.append(said("assistant", f"{word} {n}", private=hidden))
    return messages


@given(turns)
def test_placeholders_keep_the_order_of_roles_and_the_bytes_of_the_beginning(
    turns: list[tuple[bool, bool, bool]],
) -> None:
    whole = conversation(turns)
    before: list[Message] = []
    for end in range(1, len(whole) + 1):
        if whole[end - 1].role == "assistant":
            continue
        seen = without_private(whole[:end])
        assert "SECRET" not in repr(seen)
        assert seen[: len(before)] == before, "a request goes on where the last one ended"
        roles = [message.role for message in seen]
        assert all(one != other for one, other in pairwise(roles))
        open_calls = [call.id for message in seen for call in message.calls]
        answered = [part.call_id for m in seen for part in m.parts if isinstance(part, ToolResult)]
        assert open_calls == answered
        before = seen
