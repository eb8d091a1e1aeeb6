from collections.abc import AsyncIterator

import aiohttp
import pytest

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import (
    ContextOverflow,
    ModelError,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
    RateLimited,
)
from famulus.core.messages import Origin, Text, Usage
from famulus.core.protocols import Chunk, Done, ModelCard, Request, Restarted, TextDelta
from famulus.core.settings import Seconds, Secret
from famulus.models.fallback import Fallback
from famulus.models.openai_chat import OpenAIChat
from famulus.testing.check_model import CheckModel, ask, read
from famulus.testing.fake_openai import FakeOpenAI

pytestmark = pytest.mark.anyio


class TestFallbackKeepsTheContract(CheckModel):
    @pytest.fixture
    async def vendor(self) -> AsyncIterator[FakeOpenAI]:
        async with FakeOpenAI() as vendor:
            yield vendor

    @pytest.fixture
    async def model(self, vendor: FakeOpenAI) -> AsyncIterator[Fallback]:
        provider = Provider(api_key=Secret(vendor.key), base_url=vendor.url, timeout=Seconds(5))
        async with aiohttp.ClientSession() as session:
            yield Fallback(
                [OpenAIChat(card(name), provider, ModelEntry(), session) for name in "ab"]
            )


def card(name: str, context_tokens: int = 1000) -> ModelCard:
    return ModelCard(name=name, id=name, provider=name, context_tokens=context_tokens)


class Scripted:
    """Streams `texts`, then its answer or `error`."""

    def __init__(
        self, name: str, *texts: str, error: Exception | None = None, context_tokens: int = 1000
    ) -> None:
        self.card = card(name, context_tokens)
        self.asked = 0
        self._texts = texts
        self._error = error

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        self.asked += 1
        for text in self._texts:
            yield TextDelta(text)
        if self._error is not None:
            raise self._error
        yield Done(
            parts=(Text("".join(self._texts), Origin.ASSISTANT),),
            usage=Usage(),
            reason="stop",
            model=self.card.id,
        )


@pytest.mark.parametrize("kind", [ModelUnavailable, RateLimited, ModelUnauthorized, ModelRejected])
async def test_the_next_model_answers_when_one_fails(kind: type[ModelError]) -> None:
    model = Fallback([Scripted("a", error=kind("a is out.")), Scripted("b", "Yes.")])
    text, done = await read(model, ask("Hello"))
    assert (text, done.model) == (TextDelta("Yes."), "b")


async def test_the_first_model_that_answers_is_the_last_one_asked() -> None:
    spare = Scripted("b", "No.")
    await read(Fallback([Scripted("a", "Yes."), spare]), ask("Hello"))
    assert spare.asked == 0


async def test_what_was_shown_is_declared_void_before_the_next_model_answers() -> None:
    first = Scripted("a", "No", error=ModelUnavailable("a is out."))
    shown, restarted, again, _ = await read(Fallback([first, Scripted("b", "Yes.")]), ask("Hello"))
    assert (shown, again) == (TextDelta("No"), TextDelta("Yes."))
    assert restarted == Restarted("a failed, so b answers. a is out.")


async def test_what_is_too_long_goes_only_to_a_larger_window() -> None:
    small = Scripted("small", error=ContextOverflow("too long"))
    same = Scripted("same", "No.")
    large = Scripted("large", "Yes.", context_tokens=2000)
    *_, done = await read(Fallback([small, same, large]), ask("Hello"))
    assert (done.model, same.asked) == ("large", 0)


async def test_without_a_larger_window_the_overflow_is_raised_as_it_is() -> None:
    overflow = ContextOverflow("too long")
    with pytest.raises(ContextOverflow) as caught:
        await read(Fallback([Scripted("a", error=overflow), Scripted("b", "No.")]), ask("Hello"))
    assert caught.value is overflow


async def test_when_all_fail_the_error_is_of_the_first_kind_and_names_all() -> None:
    first = RateLimited("a is busy.", provider="a", retry_after_seconds=9)
    second = ModelUnauthorized("b wants a key.", provider="b", status=401)
    with pytest.raises(RateLimited) as caught:
        await read(
            Fallback([Scripted("a", error=first), Scripted("b", error=second)]), ask("Hello")
        )
    assert str(caught.value) == ("None of the models could answer. a: a is busy. b: b wants a key.")
    assert (caught.value.provider, caught.value.status) == ("a", 429)
    assert caught.value.retry_after_seconds == 9


async def test_a_bug_does_not_look_like_an_outage() -> None:
    spare = Scripted("b", "No.")
    with pytest.raises(ZeroDivisionError):
        await read(Fallback([Scripted("a", error=ZeroDivisionError()), spare]), ask("Hello"))
    assert spare.asked == 0


def test_the_card_is_that_of_the_first_model() -> None:
    first = Scripted("a")
    assert Fallback([first, Scripted("b")]).card is first.card
