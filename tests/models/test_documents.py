"""How each wire shows a PDF to a model that takes one."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import File, Message, Origin, Text
from famulus.core.protocols import ModelCard, Request
from famulus.models.anthropic import Anthropic
from famulus.models.openai_chat import OpenAIChat
from famulus.models.openai_responses import OpenAIResponses
from famulus.testing.conversations import conversations
from famulus.testing.fake_anthropic import FakeAnthropic
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_responses import FakeResponses

BILL = File("b" * 64, "application/pdf", Origin.OUTSIDE, "bill.pdf", "uploads/bill.pdf")
ASKED = Request(
    system="",
    messages=(Message("user", (Text("What do I owe?", Origin.OWNER), BILL)),),
    media={BILL.blob: b"%PDF-1.7"},
)
DATA = "JVBERi0xLjc="
URL = f"data:application/pdf;base64,{DATA}"
CARD = ModelCard(name="m", id="m-1", provider="x", inputs=("text", "image", "pdf"))

WIRES = [
    (
        Anthropic,
        FakeAnthropic,
        {"anthropic-version": "2023-06-01"},
        lambda body: body["messages"][0]["content"][1],
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": DATA},
            "title": "bill.pdf",
            "cache_control": {"type": "ephemeral"},
        },
    ),
    (
        OpenAIChat,
        FakeOpenAI,
        {},
        lambda body: body["messages"][0]["content"][1],
        {"type": "file", "file": {"filename": "bill.pdf", "file_data": URL}},
    ),
    (
        OpenAIResponses,
        FakeResponses,
        {},
        lambda body: body["input"][0]["content"][1],
        {"type": "input_file", "filename": "bill.pdf", "file_data": URL},
    ),
]
wires = pytest.mark.parametrize(
    ("wire", "vendor", "headers", "find", "expected"), WIRES, ids=lambda each: None
)


def body_of(wire: Any, request: Request, card: ModelCard = CARD) -> Any:
    return json.loads(wire(card, Provider(), ModelEntry(), None).body(request))


@wires
def test_document_is_shown_as_the_vendor_wants_it(
    wire: Any, vendor: Any, headers: Any, find: Callable[[Any], Any], expected: Any
) -> None:
    body = body_of(wire, ASKED)
    assert find(body) == expected
    fake = vendor()
    fake.check({"x-api-key": fake.key, "authorization": f"Bearer {fake.key}", **headers}, body)


@wires
@pytest.mark.parametrize(
    ("card", "media"),
    [
        (msgspec.structs.replace(CARD, inputs=("text", "image")), ASKED.media),
        (CARD, {}),
    ],
    ids=["model takes none", "too large or gone"],
)
def test_document_that_is_not_shown_is_named_with_its_place(  # noqa: PLR0917 - a row of the table
    wire: Any, vendor: Any, headers: Any, find: Any, expected: Any, card: ModelCard, media: Any
) -> None:
    body = body_of(wire, msgspec.structs.replace(ASKED, media=media), card)
    assert DATA not in json.dumps(body)
    assert "uploads/bill.pdf" in json.dumps(body)


@wires
def test_every_conversation_with_documents_is_accepted(
    wire: Any, vendor: Any, headers: Any, find: Any, expected: Any
) -> None:
    fake = vendor()
    sent = {"x-api-key": fake.key, "authorization": f"Bearer {fake.key}", **headers}

    @given(conversations())
    def accepted(request: Request) -> None:
        fake.check(sent, body_of(wire, request))

    accepted()
