import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream

from famulus.models.found import find_model
from famulus.models.vendors import provider_from

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
        ({"OPENROUTER_API_KEY": "c"}, "openrouter/openrouter/auto", ""),
        ({"ANTHROPIC_API_KEY": "a", "ANTHROPIC_MODEL": "claude-x"}, "anthropic/claude-x", ""),
        (
            {"OPENAI_API_KEY": "b", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
            "openai/gpt-5.5",
            "http://127.0.0.1:1/v1",
        ),
    ],
)
async def test_key_in_the_environment_decides(
    environment: dict[str, str], model: str, url: str
) -> None:
    found = await find_model(environment)
    assert (found.model, found.provider.base_url) == (model, url)
    assert found.provider.api_key.reveal() in ("a", "b", "c")


async def test_nothing_is_probed_when_there_is_a_key() -> None:
    async with ollama(ok('{"models": [{"name": "llama3.2"}]}')) as (environment, requests):
        await find_model(environment | {"OPENAI_API_KEY": "b"})
    assert requests == []


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
