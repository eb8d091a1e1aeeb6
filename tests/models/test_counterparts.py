"""The wire formats against a mock server that others wrote: aimock, started from its npm package.

The fakes of `famulus.testing` and the sources could share a mistake. This server shares nothing:
it answers only what it understood, and refuses a request that matches none of ANSWERS.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import NoReturn

import aiohttp
import pytest

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ModelUnauthorized, ModelUnavailable, RateLimited
from famulus.core.messages import Message, Origin, Text, ToolResult, text_of
from famulus.core.protocols import Model, ModelCard, Request, TextDelta, ToolSpec
from famulus.core.settings import Seconds, Secret
from famulus.models.anthropic import Anthropic
from famulus.models.ollama import Ollama
from famulus.models.openai_chat import OpenAIChat
from famulus.models.openai_responses import OpenAIResponses
from famulus.testing.check_model import answer_of, ask, read

PACKAGE = "@copilotkit/aimock@1.43.0"
NODE = (20, 15)  # the oldest that the package runs on; Debian 12 has 18
INSTALL_OPTIONS = ("--no-audit", "--no-fund", "--ignore-scripts")
INSTALL_SECONDS = 120
START_SECONDS = 20
KEY = "key-of-the-counterpart"
WIRES = {
    "anthropic": Anthropic,
    "openai": OpenAIChat,
    "openai_responses": OpenAIResponses,
    "ollama": Ollama,
}
GREETING = "Grüße! It is a fine morning, and nothing is waiting for you today."
QUESTION = {"systemMessage": "Be brief.", "userMessage": "What is in notes.txt?"}
CALL = {"name": "read_file", "arguments": '{"path":"notes.txt"}', "id": "call_notes"}
RESULT = {"hasToolResult": True, "toolResultContains": "buy milk"}
ANSWERS = [
    {
        "match": {"systemMessage": "Be brief.", "userMessage": "Good morning"},
        "response": {"content": GREETING, "usage": {"prompt_tokens": 12, "completion_tokens": 7}},
    },
    {
        "match": {**QUESTION, "toolName": "read_file", "hasToolResult": False},
        "response": {"toolCalls": [CALL]},
    },
    {
        "match": {**QUESTION, **RESULT, "toolCallId": "call_notes"},
        "response": {"content": "You are to buy milk, by call_notes."},
    },
    {
        "match": {**QUESTION, **RESULT},
        "response": {"content": "You are to buy milk."},
    },
]
TOOL = ToolSpec(
    "read_file",
    "Read a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
# One worker takes all of these tests, so that one server is enough.
pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("aimock")]


@pytest.fixture(scope="session")
def aimock(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str], NoReturn]) -> Path:
    """The program of the mock server, installed once for a run of the tests."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        lacking("npm is not installed: apt install npm")
    version = subprocess.check_output([node, "--version"], text=True, timeout=START_SECONDS)
    if tuple(map(int, version.strip("v\n").split(".")))[:2] < NODE:
        # Not a failure in CI either: the system may have no newer one.
        pytest.skip(f"The mock server needs Node 20.15 or newer; this is {version.strip()}.")
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # which all workers share
    program = place / "aimock/node_modules/.bin/llmock"
    # Where the tests are not kept in one worker, the second waits and finds the first one's.
    with (place / "aimock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            try:
                install(npm, place / "aimock")
            except subprocess.TimeoutExpired:
                lacking(f"npm did not install {PACKAGE} within {INSTALL_SECONDS} seconds")
            except subprocess.CalledProcessError as error:
                lacking(f"npm cannot install {PACKAGE}: {error.stderr[:200]}")
    return program


def install(npm: str, place: Path) -> None:
    subprocess.run(
        [npm, "install", "--prefix", place, *INSTALL_OPTIONS, PACKAGE],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=INSTALL_SECONDS,
    )


@pytest.fixture(scope="module")
def counterpart(aimock: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the running mock server."""
    answers = tmp_path_factory.mktemp("answers") / "answers.json"
    answers.write_text(json.dumps({"fixtures": ANSWERS}))
    with subprocess.Popen(
        [aimock, "--port", "0", "--strict", "--validate-on-load", "--fixtures", answers],
        env={"PATH": os.environ["PATH"], "AIMOCK_API_KEYS": KEY},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        patience = Timer(START_SECONDS, server.kill)
        patience.start()
        try:
            yield address(server)
        finally:
            patience.cancel()
            server.kill()


def address(server: "subprocess.Popen[str]") -> str:
    """Where `server` says that it listens. It may say other things before."""
    assert server.stdout
    said = ""
    for line in server.stdout:
        said += line
        if "listening on" in line:
            return line.split()[-1]
    pytest.fail(f"The mock server ended before it listened: {said}")


Build = Callable[..., Model]


@pytest.fixture(params=WIRES)
def build(
    request: pytest.FixtureRequest, counterpart: str, session: aiohttp.ClientSession
) -> Build:
    """Makes a model that speaks one of the formats; tests that take it run with each."""

    def build(key: str = KEY, **headers: str) -> Model:
        provider = Provider(
            type=request.param,
            api_key=Secret(key),
            base_url=f"{counterpart}/v1",
            timeout=Seconds(5),
            headers={name.replace("_", "-"): Secret(value) for name, value in headers.items()},
        )
        card = ModelCard(name="mocked", id="mocked-1", provider=request.param)
        return WIRES[request.param](card, provider, ModelEntry(), session)

    return build


async def test_text_is_streamed_and_counted(build: Build) -> None:
    model = build()
    chunks = await read(model, ask("Good morning"))
    done = answer_of(chunks)
    pieces = [chunk.text for chunk in chunks if isinstance(chunk, TextDelta)]
    assert len(pieces) > 1
    assert "".join(pieces) == text_of(done.parts) == GREETING
    # In Ollama's format this server counts nothing.
    counted = (0, 0) if isinstance(model, Ollama) else (12, 7)
    assert (done.usage.input_tokens, done.usage.output_tokens) == counted
    assert done.reason == "stop"


async def test_a_tool_is_called_and_its_result_understood(build: Build) -> None:
    model = build()
    question = Message("user", (Text("What is in notes.txt?", Origin.OWNER),))
    asked = Request(system="Be brief.", tools=(TOOL,), messages=(question,))
    done = answer_of(await read(model, asked))
    said = Message("assistant", done.parts)
    (call,) = said.calls
    assert (done.reason, call.name) == ("tool_calls", "read_file")
    assert json.loads(call.arguments) == {"path": "notes.txt"}

    result = ToolResult(call.id, call.name, (Text("buy milk", Origin.OWNER),))
    messages = (question, said, Message("tool", (result,)))
    done = answer_of(
        await read(model, Request(system="Be brief.", tools=(TOOL,), messages=messages))
    )
    # Ollama's format pairs a result with its call by the tool's name, the others by the call's id.
    by_id = "" if isinstance(model, Ollama) else ", by call_notes"
    assert (done.reason, text_of(done.parts)) == ("stop", f"You are to buy milk{by_id}.")


async def test_a_rate_limit_says_when_to_come_back(build: Build) -> None:
    with pytest.raises(RateLimited) as caught:
        await read(build(x_aimock_chaos_ratelimit="1"), ask("Good morning"))
    assert (caught.value.status, caught.value.retry_after_seconds) == (429, 1)


async def test_a_wrong_key_is_unauthorized(build: Build) -> None:
    with pytest.raises(ModelUnauthorized):
        await read(build(key="of-somebody-else"), ask("Good morning"))


@pytest.mark.parametrize("fault", ["drop", "disconnect", "malformed"])
async def test_a_fault_of_the_server_is_a_model_unavailable(build: Build, fault: str) -> None:
    with pytest.raises(ModelUnavailable):
        await read(build(**{f"x_aimock_chaos_{fault}": "1"}), ask("Good morning"))
