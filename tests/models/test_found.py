import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from famulus.cli.local import local
from famulus.core.config import Config
from famulus.core.loading import Loaded
from famulus.models.found import find_model
from famulus.models.vendors import VENDORS, provider_from
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Fault

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def ollama(answer: bytes) -> AsyncIterator[tuple[dict[str, str], list[bytes]]]:
    """A server that answers with these bytes, the environment that leads to it, its requests."""
    requests: list[bytes] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            requests.append(await stream.receive())
            if answer:
                await stream.send(answer)
            else:
                await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield {"OLLAMA_HOST": f"127.0.0.1:{port}"}, requests
        tasks.cancel_scope.cancel()


def ok(body: str) -> bytes:
    return f"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}".encode()


@pytest.fixture
def nobody() -> dict[str, str]:
    """An environment whose Ollama does not run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"OLLAMA_HOST": f"127.0.0.1:{free.getsockname()[1]}"}


@pytest.mark.parametrize(
    ("environment", "model", "url"),
    [
        ({"OPENAI_API_KEY": "b", "ANTHROPIC_API_KEY": "a"}, "anthropic/claude-sonnet-5-5", ""),
        ({"OPENAI_API_KEY": "b", "OPENROUTER_API_KEY": "c"}, "openai/gpt-5.5", ""),
        ({"OPENROUTER_API_KEY": "c", "GEMINI_API_KEY": "a"}, "openrouter/openrouter/auto", ""),
        ({"ANTHROPIC_API_KEY": "a", "ANTHROPIC_MODEL": "claude-x"}, "anthropic/claude-x", ""),
        (
            {"OPENAI_API_KEY": "b", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
            "openai/gpt-5.5",
            "http://127.0.0.1:1/v1",
        ),
    ],
)
async def test_key_in_the_environment_decides(
    environment: dict[str, str], model: str, url: str, nobody: dict[str, str]
) -> None:
    found = await find_model(nobody | environment)
    assert (found.model, found.provider.base_url) == (model, url)
    assert found.provider.api_key.reveal() in ("a", "b", "c")


TAGS = ok('{"models": [{"name": "llama3.2"}]}')


async def test_a_key_and_an_ollama_are_paired() -> None:
    async with ollama(TAGS) as (environment, requests):
        found = await find_model(environment | {"OPENAI_API_KEY": "b"})
    assert (found.model, found.simple) == ("openai/gpt-5.5", "ollama/llama3.2")
    assert found.fallbacks == ("ollama/llama3.2",)
    assert len(requests) == 1


async def test_nothing_is_probed_beside_a_key_where_they_shall_not_be_paired() -> None:
    async with ollama(TAGS) as (environment, requests):
        found = await find_model(environment | {"OPENAI_API_KEY": "b"}, pair=False)
    assert (found.simple, found.fallbacks, requests) == ("", (), [])


@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "nomic-embed-text"])
async def test_only_a_local_model_that_talks_is_paired(model: str) -> None:
    async with ollama(TAGS) as (environment, _):
        wanted = {"OPENAI_API_KEY": "b", "OLLAMA_MODEL": model}
        found = await find_model(environment | wanted)
    assert (found.simple, found.fallbacks) == ("", ())


async def test_every_key_makes_a_fallback(nobody: dict[str, str]) -> None:
    keys = {"OPENROUTER_API_KEY": "c", "ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b"}
    found = await find_model(nobody | keys)
    assert found.model == "anthropic/claude-sonnet-5-5"
    assert found.fallbacks == ("openai/gpt-5.5", "openrouter/openrouter/auto")
    assert (await find_model(nobody | {"OPENAI_API_KEY": "b"})).fallbacks == ()


@pytest.mark.parametrize("name", [name for name, each in VENDORS.items() if each.needs_key])
async def test_key_of_any_known_vendor_is_enough(name: str, nobody: dict[str, str]) -> None:
    found = await find_model(nobody | {VENDORS[name].key_variable: "k"})
    section, _, id_ = found.model.partition("/")
    assert (VENDORS[section].key_variable, id_) == (VENDORS[name].key_variable, VENDORS[name].model)
    assert found.provider.api_key.reveal() == "k"
    assert found.reason == f"{VENDORS[name].key_variable} is set"


async def test_address_and_model_of_a_server_at_home_are_enough(nobody: dict[str, str]) -> None:
    url = "http://127.0.0.1:1/v1"
    found = await find_model(nobody | {"VLLM_BASE_URL": url, "VLLM_MODEL": "qwen"})
    assert (found.model, found.provider.base_url) == ("vllm/qwen", url)
    assert (await find_model(nobody | {"VLLM_MODEL": "qwen"})).model == "offline/offline"


async def test_ollama_comes_before_a_key_that_many_have_for_voice_alone() -> None:
    async with ollama(ok('{"models": [{"name": "llama3.2"}]}')) as (environment, _):
        found = await find_model(environment | {"GROQ_API_KEY": "k"})
    assert found.model == "ollama/llama3.2"


async def test_ollama_is_used_without_a_key() -> None:
    body = (
        '{"models": [{"name": "nomic-embed-text:latest"}, {"name": "big:120b-cloud"},'
        ' {"name": "odd", "details": {"family": "bert"}}, {"name": "llama3.2:3b", "size": 1}]}'
    )
    async with ollama(ok(body)) as (environment, requests):
        found = await find_model(environment)
        named = await find_model(environment | {"OLLAMA_MODEL": "mine"})
    assert found.model == "ollama/llama3.2:3b"
    assert found.provider.base_url == f"http://{environment['OLLAMA_HOST']}"
    assert named.model == "ollama/mine"
    assert requests[0].startswith(b"GET /api/tags HTTP/1.0\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        ok("<html>"),
        ok('{"models": []}'),
        ok('{"models": [{"name": "bge-m3"}]}'),
        ok('{"models": 7}'),
    ],
)
async def test_whatever_is_no_ollama_with_a_chat_model_means_offline(answer: bytes) -> None:
    async with ollama(answer) as (environment, _):
        with anyio.fail_after(5):
            found = await find_model(environment)
    assert found.model == "offline/offline"


async def test_offline_when_nobody_listens(nobody: dict[str, str]) -> None:
    found = await find_model(nobody | {"ANTHROPIC_API_KEY": " "})
    assert found.model == "offline/offline"
    assert "no key" in found.reason


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("box:1234", "http://box:1234"),
        ("https://ai.example.com", "https://ai.example.com:443"),
        ("http://box/ollama/", "http://box:80/ollama"),
        ("[::1]:99", "http://[::1]:99"),
        ("box:not-a-port", "http://127.0.0.1:11434"),
    ],
)
async def test_ollamas_own_variable_is_understood(host: str, url: str) -> None:
    assert provider_from("ollama", {"OLLAMA_HOST": host}).base_url == url


async def test_without_any_configuration_simple_messages_cost_nothing(tmp_path: Path) -> None:
    async with FakeOllama(models=("llama3.2",)) as near, FakeOpenAI() as far:
        environment = {
            "OPENAI_API_KEY": far.key,
            "OPENAI_BASE_URL": far.url,
            "OPENAI_MODEL": "gpt-5.5",
            "OLLAMA_HOST": near.url,
        }
        loaded = Loaded(config=Config(), path=None, environment=environment)
        async with local(loaded, tmp_path, show=None) as line:
            assert (await line.ask("hello")).model == "llama3.2"
            assert far.journal == []
            assert (await line.ask("explain the moon")).model.startswith("gpt-5.5")
            near.fail(Fault(status=400))
            assert (await line.ask("thanks!")).model.startswith("gpt-5.5")
            # Nobody's error while any model works.
            far.fail(*[Fault(status=401)] * 3)
            assert (await line.ask("explain the sun")).model == "llama3.2"
