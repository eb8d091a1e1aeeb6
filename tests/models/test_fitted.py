"""An answer no longer than what the prompt leaves of the window."""

from typing import Any

import aiohttp
import pytest

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import Message, Origin, Text
from famulus.core.protocols import ModelCard, Request
from famulus.core.settings import Secret
from famulus.models.fitted import fitted
from famulus.models.wires import Later, Resolved
from famulus.testing.check_model import ask, read
from famulus.testing.fake_anthropic import FakeAnthropic
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_responses import FakeResponses
from famulus.testing.fake_vendor import FakeVendor

WIRES: list[tuple[str, type[FakeVendor], str]] = [
    ("anthropic", FakeAnthropic, "max_tokens"),
    ("openai", FakeOpenAI, "max_tokens"),
    ("openai_responses", FakeResponses, "max_output_tokens"),
    ("ollama", FakeOllama, "num_predict"),
]
CARD = ModelCard(name="m", id="llama3.2", provider="p", context_tokens=4096)


def said(text: str, **given: Any) -> Request:
    message = Message("user", (Text(text, Origin.OWNER),))
    return Request(system="", messages=(message,), **given)


async def sent(
    type_: str, fake: type[FakeVendor], session: aiohttp.ClientSession, entry: ModelEntry
) -> Any:
    async with fake() as vendor:
        provider = Provider(type=type_, base_url=vendor.url, api_key=Secret(vendor.key))
        await read(Later(Resolved(CARD, provider, entry), lambda: session), ask("Hello"))
        body = vendor.journal[0].body
        return body.get("options", {}) | body


@pytest.mark.anyio
@pytest.mark.parametrize(("type_", "fake", "name"), WIRES)
async def test_answer_is_bounded_by_what_the_prompt_leaves_of_the_window(
    type_: str, fake: type[FakeVendor], name: str, session: aiohttp.ClientSession
) -> None:
    body = await sent(type_, fake, session, ModelEntry(max_tokens=8192))
    assert 3500 < body[name] < 4096


@pytest.mark.anyio
@pytest.mark.parametrize(("type_", "fake", "name"), WIRES)
async def test_bound_that_fits_is_sent_as_it_is_written(
    type_: str, fake: type[FakeVendor], name: str, session: aiohttp.ClientSession
) -> None:
    body = await sent(type_, fake, session, ModelEntry(max_tokens=2000))
    assert body[name] == 2000


@pytest.mark.anyio
async def test_bound_under_the_vendors_own_name_is_fitted_too(
    session: aiohttp.ClientSession,
) -> None:
    entry = ModelEntry(parameters={"max_completion_tokens": 8192})
    body = await sent("openai", FakeOpenAI, session, entry)
    assert body["max_completion_tokens"] < 4096
    assert "max_tokens" not in body


def test_bound_shrinks_with_the_prompt_and_never_to_nothing() -> None:
    bounds = [fitted(said("x" * size), CARD, 4000).max_tokens for size in (3000, 6000, 60_000)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[1] > bounds[2] == 512


def test_lower_bound_of_the_request_stays() -> None:
    assert fitted(said("x" * 6000, max_tokens=100), CARD, 4000).max_tokens == 100


def test_bound_that_nobody_wrote_is_left_to_the_vendor() -> None:
    request = said("x" * 60_000)
    assert fitted(request, CARD, 0) is request
