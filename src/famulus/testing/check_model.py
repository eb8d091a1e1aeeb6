"""What every `Model` must keep. Subclass `CheckModel` and give it a `vendor` and a `model`:

class TestMyModel(CheckModel):
    @pytest.fixture
    async def vendor(self):
        async with MyFakeVendor() as vendor:
            yield vendor

    @pytest.fixture
    async def model(self, vendor):
        async with aiohttp.ClientSession() as session:
            yield MyModel(vendor.url, session)

A fake vendor is a `FakeVendor`, whose key the model must use.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from time import monotonic
from typing import cast

import pytest

from famulus.core.errors import ModelError
from famulus.core.messages import Message, Origin, Text, text_of
from famulus.core.protocols import (
    Chunk,
    Done,
    Model,
    ReasoningDelta,
    Request,
    Restarted,
    TextDelta,
)
from famulus.testing.fake_vendor import Answer, Call, FakeVendor, Fault

_CLOSES_SECONDS = 0.2
_PATIENCE_SECONDS = 60
_RETRIES = 4  # a model under test may try again by itself

FAULTS = {
    "unauthorized": Fault(status=401),
    "no credit": Fault(status=402),
    "not found": Fault(status=404),
    "too large": Fault(status=413),
    "rejected": Fault(status=400, param="temperature"),
    "a repeated key": Fault(status=400, message=f"No access with {FakeVendor.key} here."),
    "rate limited": Fault(status=429, headers={"retry-after": "7"}),
    "broken": Fault(status=500, body=b"<html>oops</html>", content_type="text/html"),
    "overloaded": Fault(status=529),
    "redirected": Fault(status=307, headers={"location": "http://127.0.0.1:9/elsewhere"}),
    "web page": Fault(status=200, body=b"<html>hello</html>", content_type="text/html"),
    "cut at once": Fault(cut=True),
    "cut in the middle": Fault(cut=True, after_events=3),
    "ended in the middle": Fault(ends=True, after_events=3),
    "ended at once": Fault(ends=True),
    "garbage": Fault(garbage=True, after_events=3),
    "error event": Fault(error="overloaded_error", after_events=3),
}


def ask(text: str) -> Request:
    """The simplest request."""
    return Request(system="Be brief.", messages=(Message("user", (Text(text, Origin.OWNER),)),))


async def read(model: Model, request: Request) -> list[Chunk]:
    """Everything that `model` answers."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return [chunk async for chunk in model.stream(request)]


def answer_of(chunks: list[Chunk]) -> Done:
    """The `Done` of an answer, after a look at what came before it."""
    *deltas, done = chunks
    assert isinstance(done, Done)
    assert all(isinstance(chunk, TextDelta | ReasoningDelta | Restarted) for chunk in deltas)
    return done


@pytest.mark.anyio
class CheckModel:
    """The contract suite."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_an_answer_ends_with_its_only_done(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        vendor.say(Answer(text=("Good ", "morning", ".")))
        assert answer_of(await read(model, ask("Hello"))).reason == "stop"

    async def test_the_parts_hold_the_text_that_was_streamed(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        vendor.say(Answer(text=("Grüße, ", "世界 ", "\U0001f98a"), reasoning=("Let me ", "see.")))
        chunks = await read(model, ask("Hello"))
        streamed = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))
        assert text_of(answer_of(chunks).parts) == streamed == "Grüße, 世界 \U0001f98a"

    async def test_parallel_calls_come_whole_and_in_order(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        calls = (Call("read_file", '{"path": "a"}', "call_a"), Call("time", "{}", "call_b"))
        vendor.say(Answer(text=("Let me look.",), calls=calls))
        done = answer_of(await read(model, ask("Hello")))
        given = [
            Call(call.name, call.arguments, call.id)
            for call in Message("assistant", done.parts).calls
        ]
        assert (done.reason, given) == ("tool_calls", list(calls))

    async def test_usage_is_reported(self, model: Model, vendor: FakeVendor) -> None:
        vendor.say(Answer(text=("Hi",), input_tokens=100, output_tokens=5, cached_tokens=60))
        usage = answer_of(await read(model, ask("Hello"))).usage
        assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (100, 5, 60)

    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
    async def test_a_failure_is_a_model_error_that_tells_no_secret(
        self, model: Model, vendor: FakeVendor, fault: Fault
    ) -> None:
        vendor.fail(*[fault] * _RETRIES)
        vendor.say(*[Answer(text=("one ", "two ", "three ", "four"))] * _RETRIES)
        with pytest.raises(ModelError) as caught:
            await read(model, ask("Hello"))
        assert str(caught.value).strip()
        assert vendor.key not in str(caught.value)

    async def test_cancelling_the_task_closes_the_connection(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        async def cancelled() -> None:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(read(model, ask("Hello")))
                await vendor.arrived()
                await _shown(vendor)
                task.cancel()

        await _closes_in_time(vendor, cancelled)

    async def test_closing_the_iterator_closes_the_connection(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        async def closed() -> None:
            stream = cast("AsyncGenerator[Chunk]", model.stream(ask("Hello")))
            async with aclosing(stream) as chunks:
                assert isinstance(await anext(chunks), TextDelta)

        await _closes_in_time(vendor, closed)

    async def test_the_same_request_is_sent_with_the_same_bytes(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        for _ in range(2):
            await read(model, ask("Hello"))
        first, second = vendor.journal
        assert first.raw == second.raw

    async def test_answers_at_the_same_time_do_not_mix(
        self, model: Model, vendor: FakeVendor
    ) -> None:
        texts = [f"answer {number}" for number in range(8)]
        vendor.say(*[Answer(text=tuple(text)) for text in texts])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read(model, ask("Hello"))) for _ in texts]
        answers = [text_of(answer_of(task.result()).parts) for task in tasks]
        assert sorted(answers) == texts

    async def test_a_failure_leaves_nothing_behind(self, model: Model, vendor: FakeVendor) -> None:
        vendor.fail(*[Fault(cut=True, after_events=3)] * _RETRIES)
        vendor.say(*[Answer(text=("void", "void", "void"))] * _RETRIES)
        with pytest.raises(ModelError):
            await read(model, ask("Hello"))
        vendor.forget()
        vendor.say(Answer(text=("fresh",)))
        assert text_of(answer_of(await read(model, ask("Hello"))).parts) == "fresh"


async def _shown(vendor: FakeVendor) -> None:
    """Wait until the hanging answer hangs."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await vendor.journal[-1].hanging.wait()


async def _closes_in_time(vendor: FakeVendor, leave: Callable[[], Awaitable[None]]) -> None:
    """The best of three counts, for the machine may be busy with other things."""
    took = []
    for _ in range(3):
        vendor.forget()
        # OpenAI's newest format has four events before the first piece of text.
        vendor.fail(Fault(hang=True, after_events=6))
        vendor.say(Answer(text=("one", "two", "three", "four", "five", "six", "seven")))
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await leave()
            started = monotonic()
            await vendor.journal[-1].closed_early.wait()
        took.append(monotonic() - started)
    assert min(took) < _CLOSES_SECONDS
