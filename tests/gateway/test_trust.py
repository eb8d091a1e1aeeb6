"""Programs of this machine that speak to the WebSocket without a login, where a setting says so."""

import asyncio
import base64
import json
import os
from contextlib import asynccontextmanager

import pytest

from famulus.core.config import Server as Settings
from famulus.core.errors import ConfigError
from famulus.core.settings import Secret
from famulus.gateway.listening import check_trust

pytestmark = pytest.mark.anyio

SECONDS = 10


class Plain:
    """A WebSocket as programs speak it: no Origin, no cookie, no token."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self.status = 0

    async def send(self, **frame):
        data, mask = json.dumps(frame).encode(), os.urandom(4)
        masked = bytes(each ^ mask[n % 4] for n, each in enumerate(data))
        self._writer.write(bytes([0x81, 0x80 | 126]) + len(data).to_bytes(2, "big") + mask + masked)
        await self._writer.drain()

    async def until(self, kind):
        while True:
            first, length = await self._reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8))
            data = await self._reader.readexactly(length)
            if first & 0x0F == 1 and (frame := json.loads(data))["type"] == kind:
                return frame


@asynccontextmanager
async def plain(house, **headers):
    port = int(house.url.rpartition(":")[2])
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            sent = {
                "Host": f"127.0.0.1:{port}",
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            } | {name.replace("_", "-"): value for name, value in headers.items()}
            lines = [f"{name}: {value}" for name, value in sent.items()]
            writer.write("\r\n".join(["GET /ws HTTP/1.1", *lines, "", ""]).encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            found = Plain(reader, writer)
            found.status = int(answer.split()[1])
            yield found
        finally:
            writer.close()


async def test_a_program_without_a_login_is_refused_unless_the_setting_says_otherwise(gateway):
    async with gateway() as house, plain(house) as client:
        assert client.status == 401


async def test_a_program_of_this_machine_talks_without_a_login(gateway):
    async with gateway(trust_loopback=True) as house, plain(house) as client:
        assert client.status == 101
        assert (await client.until("session_established"))["session_id"] == "web:main:1"
        said = {"content": "hello", "channel": "cli_chat", "chat_id": "term", "sender_id": "me"}
        await client.send(type="user_input", **said)
        reply = await client.until("assistant_response")
        assert (reply["content"], reply["chat_id"]) == ("echo: hello", "term")
        await client.send(type="list_sessions", include_archived=False)
        assert (await client.until("session_list"))["sessions"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 401),
        ({"X_Forwarded_For": "203.0.113.7"}, 401),
        ({"X_Forwarded_Proto": "https"}, 401),
        ({"Forwarded": "for=203.0.113.7"}, 401),
        ({"X_Real_IP": "203.0.113.7"}, 401),
        ({"X_Forwarded": "for=203.0.113.7"}, 401),
        ({"X_Original_Forwarded_For": "203.0.113.7"}, 401),
        ({"True_Client_IP": "203.0.113.7"}, 401),
        ({"X_Cluster_Client_IP": "203.0.113.7"}, 401),
        ({"CF_Connecting_IP": "203.0.113.7"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Cookie": "session=old"}, 401),
    ],
)
async def test_no_browser_and_nobody_behind_a_proxy_is_trusted(gateway, headers, status):
    async with gateway(trust_loopback=True) as house, plain(house, **headers) as client:
        assert client.status == status


@pytest.mark.parametrize(
    "host", ["evil.example@127.0.0.1", "127.0.0.1/evil.example", "localhost#evil", "[::1]?evil"]
)
async def test_a_host_that_is_none_is_not_taken_for_this_machine(gateway, host):
    async with gateway(trust_loopback=True) as house, plain(house, Host=host) as client:
        assert client.status == 403


async def test_the_page_itself_still_logs_in(gateway):
    async with gateway(trust_loopback=True) as house:
        host = house.url.removeprefix("http://")
        async with plain(house, Origin=house.url, Host=host) as client:
            assert client.status == 401


async def test_a_page_that_reaches_loopback_by_another_name_is_not_trusted(gateway):
    """As by DNS rebinding, which a gateway that listens everywhere does not see by its Host."""
    async with gateway(trust_loopback=True, host="0.0.0.0") as house:
        async with plain(house, Host="evil.example:80") as client:
            assert client.status == 401
        async with plain(house) as client:
            assert client.status == 101


async def test_trust_is_for_the_websocket_alone(gateway):
    async with gateway(trust_loopback=True) as house:
        client = await house.browser(log_in=False)
        async with client.post("/api/chat", json={"message": "hi"}) as answer:
            assert answer.status == 401


def test_trust_and_a_proxy_before_the_gateway_are_not_meant_together():
    settings = Settings(
        trust_loopback=True, public_url="https://famulus.example.org", password=Secret("x")
    )
    with pytest.raises(ConfigError, match="Remove one of the two"):
        check_trust(settings)
