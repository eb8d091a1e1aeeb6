import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from famulus.core.config import Limits
from famulus.core.errors import Refused
from famulus.gateway import bodies as module
from famulus.gateway.bodies import Bodies

pytestmark = pytest.mark.anyio

SECONDS = 10
LARGE = 2_000_000
BOUNDARY = "b"
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


class Door:
    """A server that reads what it is sent, and knows how many bodies it reads side by side."""

    def __init__(self, bodies):
        self._bodies = bodies
        self.url = ""
        self.inside = self.most = 0
        self.entered = asyncio.Queue()

    async def take(self, request):
        try:
            async with self._bodies.room(request):
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.entered.put_nowait(request.path)
                try:
                    if request.path == "/file":
                        _, data = await self._bodies.file(request)
                    else:
                        data = await self._bodies.whole(request)
                finally:
                    self.inside -= 1
        except (Refused, TimeoutError) as error:
            return web.Response(status=400, text=type(error).__name__)
        return web.Response(text=str(len(data)))


@asynccontextmanager
async def door(bodies):
    app = web.Application(client_max_size=2**30)
    found = Door(bodies)
    app.router.add_post("/{path}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()


async def upload(client, door, body):
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    async with (
        asyncio.timeout(SECONDS),
        client.post(f"{door.url}/file", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def stalling(go):
    """A large file whose second half comes when `go` is set."""
    yield HEAD + bytes(LARGE)
    await go.wait()
    yield bytes(LARGE) + TAIL


async def test_large_bodies_are_read_a_few_at_a_time():
    async with door(Bodies(Limits(), at_once=2)) as there, aiohttp.ClientSession() as client:
        body = HEAD + bytes(LARGE) + TAIL
        answers = await asyncio.gather(*(upload(client, there, body) for _ in range(8)))
    assert answers == [(200, str(LARGE))] * 8
    assert there.most == 2


async def test_a_small_body_waits_for_no_large_one():
    async with door(Bodies(Limits(), at_once=1)) as there, aiohttp.ClientSession() as client:
        go = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(upload(client, there, stalling(go)))
            async with asyncio.timeout(SECONDS):
                await there.entered.get()
                async with client.post(f"{there.url}/chat", data=b"hello") as answer:
                    assert await answer.text() == "5"
            go.set()
        assert slow.result() == (200, str(2 * LARGE))


async def test_a_sender_that_falls_silent_gives_its_place_up(monkeypatch):
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.2)
    async with door(Bodies(Limits(), at_once=1)) as there, aiohttp.ClientSession() as client:
        async with asyncio.TaskGroup() as group:
            silent = group.create_task(upload(client, there, stalling(asyncio.Event())))
            async with asyncio.timeout(SECONDS):
                await there.entered.get()
            assert await upload(client, there, HEAD + bytes(LARGE) + TAIL) == (200, str(LARGE))
        assert silent.result() == (400, "TimeoutError")


async def test_a_body_is_read_no_further_than_its_limit():
    async with door(Bodies(Limits(body=1000))) as there, aiohttp.ClientSession() as client:

        async def endless():
            while True:
                yield bytes(1000)

        for data, said in ((bytes(1000), "1000"), (bytes(1001), "TooLarge")):
            async with client.post(f"{there.url}/chat", data=data) as answer:
                assert await answer.text() == said
        async with (
            asyncio.timeout(SECONDS),
            client.post(f"{there.url}/x", data=endless()) as answer,
        ):
            assert await answer.text() == "TooLarge"


@asynccontextmanager
async def shop(bodies, size):
    """A server that gives out large answers, and tells when it reads one into memory."""
    asked = asyncio.Queue()

    async def read():
        asked.put_nowait(None)
        return bytes(size)

    async def give(request):
        return await bodies.answer(request, size, read, {"Content-Type": "image/png"})

    app = web.Application()
    app.router.add_get("/", give)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", asked
    finally:
        await runner.cleanup()


async def fetch(client, url):
    async with asyncio.timeout(SECONDS), client.get(url) as answer:
        return answer.status, answer.content_type, len(await answer.read())


async def test_large_answers_are_read_when_there_is_room_and_arrive_whole():
    async with (
        shop(Bodies(Limits(), at_once=1), 30_000_000) as (url, asked),
        aiohttp.ClientSession() as client,
        asyncio.timeout(SECONDS),
    ):
        async with client.get(url) as first:  # which is not read yet
            await asked.get()
            second = asyncio.ensure_future(fetch(client, url))
            assert len(await first.content.readexactly(1000)) == 1000
            assert asked.empty()
            assert len(await first.read()) == 30_000_000 - 1000
        assert await second == (200, "image/png", 30_000_000)


async def test_a_reader_that_stops_gives_its_place_up(monkeypatch):
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.2)
    async with (
        shop(Bodies(Limits(), at_once=1), 30_000_000) as (url, asked),
        aiohttp.ClientSession() as client,
        asyncio.timeout(SECONDS),
        client.get(url) as stopped,
    ):
        await asked.get()
        assert await fetch(client, url) == (200, "image/png", 30_000_000)
        with pytest.raises(aiohttp.ClientError):
            await stopped.read()
