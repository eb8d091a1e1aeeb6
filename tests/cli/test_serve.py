"""`famulus serve` as a process."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest

from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Call

SECONDS = 20


class Served:
    """A running gateway. Called, it sends a message over HTTP."""

    def __init__(self, pid, url, token):
        self.pid = pid
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, text):
        return self.post("/api/chat", json.dumps({"message": text}).encode())

    def post(self, path, body, **headers):
        request = urllib.request.Request(self.url + path, body, self.headers | headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers

    def mebibytes(self, what):
        """`VmRSS`, the memory it has, or `VmHWM`, the most it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(what))


@pytest.fixture
def serve(tmp_path):
    """Starts it behind the words of another command, with more in its environment."""
    started = []

    def start(*before, **environment):
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "famulus", "serve"],
            env={
                "PATH": os.environ["PATH"],
                "FAMULUS_HOME": str(tmp_path),
                "FAMULUS_AGENT__MODEL": "offline",
                "FAMULUS_SERVER__PORT": "0",
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        end = threading.Timer(SECONDS, process.kill)
        end.start()
        started.append((process, end))
        assert process.stdout.readline().startswith("Famulus is ready")
        gateway = json.loads((tmp_path / "gateway.json").read_text("utf-8"))

        return Served(process.pid, gateway["url"], gateway["token"])

    yield start
    for process, end in started:
        end.cancel()
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_the_owner_is_held_to_a_limit_only_where_one_is_set(serve):
    send = serve(
        FAMULUS_LIMITS__OWNER_MESSAGES_PER_MINUTE="2", FAMULUS_LIMITS__MESSAGES_PER_MINUTE="1"
    )
    assert [send("hello")[0] for _ in range(2)] == [200, 200]
    status, headers = send("hello")
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 60


def test_the_limit_for_others_does_not_hold_for_the_owner(serve):
    send = serve(FAMULUS_LIMITS__MESSAGES_PER_MINUTE="1")
    assert [send("hello")[0] for _ in range(3)] == [200, 200, 200]


def test_a_section_of_the_web_chat_takes_nothing_away(serve, tmp_path):
    (tmp_path / "famulus.toml").write_text("[channels.web]\n[channels.console]\n")
    assert serve()("hello")[0] == 200


@pytest.mark.anyio
async def test_the_gateway_answers_while_hundreds_of_commands_wait_for_a_few(serve, tmp_path):
    command = json.dumps({"command": "echo x >> begun; while [ ! -e go ]; do sleep 0.05; done"})
    workspace = tmp_path / "workspace"
    begun = workspace / "begun"

    def count():
        return len(begun.read_text().split()) if begun.exists() else 0

    async with FakeOpenAI() as vendor, asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        calls = tuple(Call("shell", command, id=f"c{n}") for n in range(300))
        vendor.say(Answer(calls=calls), Answer(text=("Done.",)))
        send = serve(
            FAMULUS_AGENT__MODEL="fake/m",
            FAMULUS_AGENT__MAX_CALLS="12",
            FAMULUS_PROVIDERS__FAKE__TYPE="openai",
            FAMULUS_PROVIDERS__FAKE__API_KEY=vendor.key,
            FAMULUS_PROVIDERS__FAKE__BASE_URL=vendor.url,
            FAMULUS_TOOLS__SHELL__SANDBOX="none",
        )
        asked = group.create_task(asyncio.to_thread(send, "go"))
        while count() < 4:
            await asyncio.sleep(0.02)
        url = json.loads((tmp_path / "gateway.json").read_text("utf-8"))["url"]
        for _ in range(30):
            assert await asyncio.to_thread(_health, url) == "ok"
        assert count() == 4
        (workspace / "go").touch()
        assert (await asked)[0] == 200
    assert count() == 12


def _health(url):
    with urllib.request.urlopen(f"{url}/health", timeout=SECONDS) as answer:
        return json.load(answer)["status"]


def test_a_login_leaves_no_memory_behind(serve):
    gateway = serve(FAMULUS_SERVER__PASSWORD="open sesame")
    before = gateway.mebibytes("VmRSS")
    assert gateway.post("/api/login", b'{"password": "wrong"}')[0] == 401
    assert gateway.post("/api/login", b'{"password": "open sesame"}')[0] == 200
    assert gateway.mebibytes("VmHWM") - before > 15, "the hash itself takes memory"
    assert gateway.mebibytes("VmRSS") - before < 8


def test_files_that_come_at_the_same_time_are_not_all_in_memory(serve):
    gateway = serve()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'

    def upload(number):
        body = head + number.to_bytes(4, "big") + bytes(10_000_000) + b"\r\n--b--\r\n"
        content_type = {"Content-Type": "multipart/form-data; boundary=b"}
        return gateway.post("/api/upload", body, **content_type)[0]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(upload, range(12))) == [200] * 12
    assert gateway.mebibytes("VmHWM") < 150


def test_the_workspace_may_lie_elsewhere(serve, tmp_path):
    elsewhere = tmp_path / "project"
    elsewhere.mkdir()
    (elsewhere / "notes.md").write_text("- buy bread\n")
    send = serve(FAMULUS_AGENT__WORKSPACE=str(elsewhere))
    assert send("make a note: buy milk")[0] == 200
    assert "buy milk" in (elsewhere / "notes.md").read_text()
    assert [each.name for each in elsewhere.iterdir()] == ["notes.md"]
    assert not (tmp_path / "workspace").exists()


@pytest.mark.anyio
async def test_a_token_that_is_removed_in_another_process_reads_no_further(serve, tmp_path):
    gateway = serve()

    def famulus(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "famulus", "tokens", *arguments],
            env={"PATH": os.environ["PATH"], "FAMULUS_HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        ).stdout.strip()

    token = await asyncio.to_thread(famulus, "create", "reader")
    async with (
        asyncio.timeout(SECONDS),
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.ws_connect(f"{gateway.url}/ws") as reader,
    ):
        assert (await reader.receive_json())["type"] == "session_established"
        assert await asyncio.to_thread(famulus, "remove", "reader") == "removed reader"
        ended = await reader.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 1008)


@pytest.mark.anyio
async def test_clients_are_as_many_as_there_are_files_for(serve):
    gateway = serve("sh", "-c", 'ulimit -n 100; exec "$@"', "sh")
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session:
        clients = [
            await session.ws_connect(f"{gateway.url}/ws", headers=gateway.headers)
            for _ in range(50)
        ]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(f"{gateway.url}/ws", headers=gateway.headers)
        assert refusal.value.status == 429
        assert not any(client.closed for client in clients)
        assert (await asyncio.to_thread(gateway, "hello"))[0] == 200
