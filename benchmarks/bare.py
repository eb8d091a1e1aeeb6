"""The least a gateway can do: aiohttp takes a message, asks the model, gives the answer back.

It keeps conversations in memory, stores nothing, checks nothing and runs no tool: a message that
makes the model call one is simply asked twice. Prints its port and serves until it is killed.
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp
from aiohttp import web


async def ask(session: aiohttp.ClientSession, url: str, messages: list[Any]) -> str:
    body = {"model": "mock", "stream": True, "messages": messages}
    words = []
    async with session.post(f"{url}/chat/completions", json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                words += [choice["delta"].get("content") or "" for choice in choices]
    return "".join(words)


async def serve(url: str) -> None:
    chats: dict[str, list[Any]] = {}
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def chat(request: web.Request) -> web.Response:
            body = await request.json()
            messages = chats.setdefault(body["chat_id"], [])
            messages.append({"role": "user", "content": body["message"]})
            for _ in range(2 if body["message"] == "What time is it?" else 1):
                reply = await ask(session, url, messages)
            messages.append({"role": "assistant", "content": reply})
            return web.json_response({"reply": reply})

        app = web.Application()
        app.router.add_post("/api/chat", chat)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


async def once(url: str) -> None:
    """One question and its answer, as a program of its own."""
    async with aiohttp.ClientSession() as session:
        print(await ask(session, url, [{"role": "user", "content": "hello"}]))


if __name__ == "__main__":
    way, address = sys.argv[1:]
    asyncio.run(serve(address) if way == "serve" else once(address))
