"""What clients cost that are connected and say nothing."""

import asyncio

import aiohttp

from process import Server


def idle_socket_kib(server: Server, number: int) -> float:
    """The memory of the gateway for each of so many open WebSockets, in chats of their own."""
    return asyncio.run(_measured(server, number))


async def _measured(server: Server, number: int) -> float:
    headers = {"Authorization": f"Bearer {server.token}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:
        # The first one brings what all of them share.
        open_ = [await _greeted(http, f"{server.url}/ws")]
        before, _ = server.memory_mib()
        open_ += [
            await _greeted(http, f"{server.url}/ws?chat_id=idle-{chat}") for chat in range(number)
        ]
        after, _ = server.memory_mib()
    return (after - before) * 1024 / number


async def _greeted(http: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(url)
    await socket.receive_json()
    return socket
