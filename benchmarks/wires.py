"""What a wire costs: requests to the model server in the vendor's format against plain POSTs."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import Message, Origin, Text
from famulus.core.protocols import Done, Model, ModelCard, Request
from famulus.core.settings import Secret
from famulus.models.wires import wire
from process import bodies

ADDRESSES = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "openai_responses": "/v1/responses",
    "ollama": "/api/chat",
}
_ROUNDS = 10


def measure(name: str, url: str, count: int) -> tuple[float, float]:
    """CPU milliseconds of a request with the wire `name`, and of a POST of the same bytes whose
    answer is read to its end. `url` is a model server's.
    """
    return asyncio.run(_measure(name, url, count))


async def _measure(name: str, url: str, count: int) -> tuple[float, float]:
    provider = Provider(type=name, base_url=url, api_key=Secret("none"))
    card = ModelCard(name="mock", id="mock", provider="mock")
    async with aiohttp.ClientSession() as session:
        model = wire(name)(card, provider, ModelEntry(), session)
        await _ask(model)
        body = (await asyncio.to_thread(bodies, url))[0]
        address = url.removesuffix("/v1") + ADDRESSES[name]

        async def plain() -> None:
            headers = {"Content-Type": "application/json"}
            async with session.post(address, data=body, headers=headers) as response:
                if b"a short answer" not in await response.read():
                    raise RuntimeError(f"{address} gave another answer")

        rounds = [
            (await _cpu_ms(lambda: _ask(model), each), await _cpu_ms(plain, each))
            for each in [max(count // _ROUNDS, 1)] * _ROUNDS
        ]
    ours, least = zip(*rounds, strict=True)
    return statistics.median(ours), statistics.median(least)


async def _cpu_ms(once: Callable[[], Awaitable[None]], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        await once()
    return (time.process_time() - started) * 1000 / count


async def _ask(model: Model) -> None:
    chunks: AsyncIterator[object] = model.stream(_REQUEST)
    last = [chunk async for chunk in chunks][-1]
    if not isinstance(last, Done) or "a short answer" not in str(last.parts):
        raise RuntimeError(f"{model.card.provider} gave another answer: {last}")


def _said(number: int) -> Message:
    if number % 2:
        return Message("assistant", (Text("An answer of a few words. " * 8, Origin.ASSISTANT),))
    return Message("user", (Text("A question of a few words? " * 4, Origin.OWNER),))


_REQUEST = Request(
    system="You are a personal assistant. " * 60, messages=tuple(map(_said, range(21)))
)
"""The eleventh turn of a conversation."""
