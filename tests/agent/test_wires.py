"""What a model sees of its own calls, in each vendor's format."""

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from famulus.core.config import ModelEntry, Provider
from famulus.core.protocols import ModelCard
from famulus.core.settings import Secret
from famulus.core.workspace import FileSettings
from famulus.models.wires import wire
from famulus.testing.check_tool import services
from famulus.testing.fake_anthropic import FakeAnthropic
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_responses import FakeResponses
from famulus.testing.fake_vendor import Answer, Call
from famulus.tools import write_file

pytestmark = pytest.mark.anyio

VENDORS = {
    "anthropic": FakeAnthropic,
    "openai": FakeOpenAI,
    "openai_responses": FakeResponses,
    "ollama": FakeOllama,
}
NEARLY = "{'path': 'a.txt', 'content': 'hello',}"
BROKEN = '{"path": "a.txt", "content": "hel'
TOOLS = [write_file.build(FileSettings(), services())]


@pytest.fixture(params=VENDORS)
async def vendor(request):
    async with VENDORS[request.param]() as vendor:
        vendor.type = request.param
        yield vendor


@asynccontextmanager
async def speaking(vendor):
    card = ModelCard(name="m", id="m", provider=vendor.type, context_tokens=32_000)
    provider = Provider(type=vendor.type, api_key=Secret(vendor.key), base_url=vendor.url)
    async with aiohttp.ClientSession() as session:
        yield wire(vendor.type)(card, provider, ModelEntry(), session)


def called(vendor, arguments):
    """An answer with a call. Ollama's own format has no broken JSON, but a text instead of it."""
    arguments = json.dumps(arguments) if vendor.type == "ollama" else arguments
    return Answer(calls=(Call("write_file", arguments),))


def chats(vendor):
    return [each.body for each in vendor.journal if "messages" in each.body or "input" in each.body]


def calls_in(body):
    """The arguments of all calls of a request, whatever its format, as objects."""
    found = []
    for item in body.get("messages", body.get("input", [])):
        if item.get("type") == "function_call":
            found.append(json.loads(item["arguments"]))
        for call in item.get("tool_calls", []):
            given = call["function"]["arguments"]
            found.append(json.loads(given) if isinstance(given, str) else given)
        if isinstance(item.get("content"), list):
            found += [b["input"] for b in item["content"] if b.get("type") == "tool_use"]
    return found


async def test_a_model_sees_the_arguments_that_its_call_was_run_with(talk, vendor, tmp_path):
    vendor.say(called(vendor, NEARLY), Answer(text=("Done.",)), Answer(text=("Yes.",)))
    async with speaking(vendor) as model, talk(model, tools=TOOLS) as talking:
        await talking.say("write it")
        await talking.say("did you?")
    assert (tmp_path / "workspace/a.txt").read_text() == "hello"
    meant = {"path": "a.txt", "content": "hello"}
    assert [calls_in(body) for body in chats(vendor)] == [[], [meant], [meant]]


async def test_a_model_sees_the_arguments_that_nobody_could_read(talk, vendor, tmp_path):
    vendor.say(
        called(vendor, BROKEN),
        Answer(text=("Sorry.",)),
        Answer(text=("Yes.",)),
    )
    async with speaking(vendor) as model, talk(model, tools=TOOLS) as talking:
        await talking.say("write it")
        await talking.say("did you?")
    assert not (tmp_path / "workspace/a.txt").exists()
    shown = {"not_valid_json": json.dumps(BROKEN) if vendor.type == "ollama" else BROKEN}
    assert [calls_in(body) for body in chats(vendor)] == [[], [shown], [shown]]
    told = "Wrong arguments" if vendor.type == "ollama" else "not valid JSON"
    assert told in vendor.journal[-1].raw.decode()


async def test_the_last_call_of_a_turn_cannot_call_a_tool(talk, vendor):
    vendor.say(
        called(vendor, NEARLY),
        called(vendor, NEARLY),
        Answer(text=("As far as I got.",)),
    )
    async with speaking(vendor) as model, talk(model, tools=TOOLS, max_tool_rounds=2) as talking:
        answer = await talking.say("write it")
    *earlier, last = chats(vendor)
    assert answer.text.startswith("As far as I got.")
    assert not any("tool_choice" in body for body in earlier)
    if vendor.type == "ollama":
        assert "tools" not in last
    else:
        assert last["tools"] == earlier[0]["tools"]
        assert last["tool_choice"] in ("none", {"type": "none"})
