import gzip
import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from famulus.core.errors import ToolError
from famulus.policy import egress
from famulus.policy.egress import Door

pytestmark = pytest.mark.anyio


class Site:
    """A local web server that keeps what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[web.Request] = []
        self.pages: dict[str, web.Response] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.host}{path}"

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        self.pages[path] = web.Response(status=status, headers={"Location": target})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.asked.append(request)
        page = self.pages.get(request.path)
        if page is None:
            return web.Response(text=f"{request.method} {request.path}")
        return web.Response(body=page.body, status=page.status, headers=page.headers)


@asynccontextmanager
async def serving():
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()


@pytest.fixture
async def site():
    async with serving() as started:
        yield started


@pytest.fixture
async def other():
    async with serving() as started:
        yield started


@pytest.fixture
async def door(site, other):
    async with Door(allow_hosts=[site.host, other.host], timeout_seconds=5) as opened:
        yield opened


class Names(AbstractResolver):
    """A name server whose answer to the n-th question is the n-th address."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        address = self.addresses.pop(0)
        return [{
            "hostname": host, "host": address, "port": port,
            "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
            "proto": 0, "flags": 0,
        }]  # fmt: skip

    async def close(self):
        pass


async def test_an_allowed_host_is_fetched(door, site):
    fetched = await door.fetch(site.url("/a?b=c#d"), headers={"X-Key": "v"})
    assert (fetched.status, fetched.body) == (200, b"GET /a")
    assert (fetched.media_type, fetched.charset) == ("text/plain", "utf-8")
    assert fetched.url == site.url("/a?b=c")
    assert site.asked[0].headers["X-Key"] == "v"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "017700000001", "0.0.0.0",
     "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"],
)  # fmt: skip
async def test_every_spelling_of_this_machine_is_refused(site, host):
    async with Door() as door:
        with pytest.raises(ToolError):
            await door.fetch(f"http://{host}:{site.port}/")
    assert not site.asked


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_inside_is_refused_and_the_reason_said(site, address):
    async with Door(resolver=Names(address)) as door:
        with pytest.raises(ToolError, match=r"is not allowed \("):
            await door.fetch(f"http://friendly.example:{site.port}/")
    assert not site.asked


async def test_a_name_that_changes_its_address_between_look_ups_leads_nowhere(site, monkeypatch):
    # The public address is dialled in a way that fails at once, here and in any network.
    dialled = []

    def checked(info):
        made = egress_socket(info)
        dialled.append(info[4][0])
        made.close()
        raise OSError("not from a test")

    egress_socket = egress._checked_socket
    monkeypatch.setattr(egress, "_checked_socket", checked)
    names = Names("93.184.216.34", "127.0.0.1", "127.0.0.1")
    async with Door(resolver=names) as door:
        for _ in range(2):
            with pytest.raises(ToolError):
                await door.fetch(f"http://rebinding.example:{site.port}/")
    assert dialled == ["93.184.216.34"]
    assert not site.asked


async def test_an_own_public_address_is_refused(site, monkeypatch):
    monkeypatch.setattr(egress, "refusal", lambda address: "")
    async with Door() as door:
        with pytest.raises(ToolError, match="this machine"):
            await door.fetch(site.url())
    assert not site.asked


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "http://", "nonsense",
     "http://user:pw@example.org/", "http://user@example.org/", "http://example.org:22/",
     "http://example.org:99999/", "http://example.org/" + "a" * 9000, "http://[::1", "//a/b"],
)  # fmt: skip
async def test_urls_that_are_not_plain_web_addresses_are_refused(door, url):
    with pytest.raises(ToolError):
        await door.fetch(url)


async def test_redirects_are_followed_and_the_last_address_told(door, site):
    site.redirect("/a", "/b")
    site.redirect("/b", "c", status=307)
    assert (await door.fetch(site.url("/a"))).url == site.url("/c")


async def test_a_redirect_inside_is_refused(site):
    async with serving() as secret, Door(allow_hosts=[site.host]) as door:
        site.redirect("/a", secret.url("/metadata"))
        with pytest.raises(ToolError, match=r"127\.0\.0\.1 is not allowed"):
            await door.fetch(site.url("/a"))
        site.redirect("/b", "file:///etc/passwd")
        with pytest.raises(ToolError, match="not an http or https URL"):
            await door.fetch(site.url("/b"))
        assert not secret.asked


async def test_redirects_without_end_are_ended(door, site):
    site.redirect("/a", "/a")
    with pytest.raises(ToolError, match="more than 5 redirects"):
        await door.fetch(site.url("/a"))


async def test_credentials_do_not_follow_to_another_site(door, site, other):
    site.redirect("/a", other.url("/b"))
    secrets = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "x", "Accept": "text/*"}
    await door.fetch(site.url("/a"), headers=secrets)
    assert site.asked[0].headers["X-Api-Key"] == "x"
    assert other.asked[0].headers["Accept"] == "text/*"
    assert not {"Authorization", "Cookie", "X-Api-Key"} & set(other.asked[0].headers)


async def test_a_sent_body_does_not_follow_to_another_site(door, site, other):
    site.redirect("/a", other.url("/b"), status=307)
    with pytest.raises(ToolError, match="to another site"):
        await door.fetch(site.url("/a"), method="POST", body=b"secret")
    assert not other.asked


async def test_a_form_that_redirects_is_read_and_not_sent_again(door, site):
    site.redirect("/a", "/b", status=303)
    fetched = await door.fetch(site.url("/a"), method="POST", body=b"x")
    assert fetched.body == b"GET /b"


async def test_a_large_body_is_cut(site):
    site.pages["/big"] = web.Response(body=b"x" * 5000)
    async with Door(allow_hosts=[site.host], max_bytes=1000) as door:
        fetched = await door.fetch(site.url("/big"))
    assert (len(fetched.body), fetched.truncated) == (1000, True)


async def test_a_compressed_body_is_unpacked_but_a_bomb_is_cut(site):
    for path, size in (("/small", 500), ("/bomb", 50_000_000)):
        packed = gzip.compress(b"x" * size)
        site.pages[path] = web.Response(body=packed, headers={"Content-Encoding": "gzip"})
    async with Door(allow_hosts=[site.host], max_bytes=1000) as door:
        small, bomb = [await door.fetch(site.url(path)) for path in ("/small", "/bomb")]
    assert (small.body, small.truncated) == (b"x" * 500, False)
    assert (bomb.body, bomb.truncated) == (b"x" * 1000, True)


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_an_encoding_that_cannot_be_unpacked_is_said(door, site, encoding):
    site.pages["/a"] = web.Response(body=b"nonsense", headers={"Content-Encoding": encoding})
    with pytest.raises(ToolError, match=encoding):
        await door.fetch(site.url("/a"))


async def test_a_server_that_never_answers_is_given_up():
    # The kernel takes the connection, and nobody ever does.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        async with Door(allow_hosts=[host], timeout_seconds=0.2) as door:
            with pytest.raises(ToolError, match=r"longer than 0\.2 seconds"):
                await door.fetch(f"http://{host}/")


async def test_proxies_of_the_environment_are_not_asked(door, site, other, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url())
    await door.fetch(site.url())
    assert site.asked
    assert not other.asked


async def test_cookies_are_not_kept(door, site):
    site.pages["/set"] = web.Response(headers={"Set-Cookie": "a=b"})
    await door.fetch(site.url("/set"))
    await door.fetch(site.url("/get"))
    assert "Cookie" not in site.asked[1].headers


async def test_what_frames_a_request_cannot_be_written_by_a_tool(door, site):
    await door.fetch(site.url(), headers={"Host": "inner", "Transfer-Encoding": "chunked"})
    assert site.asked[0].headers["Host"] == site.host
    with pytest.raises(ToolError):
        await door.fetch(site.url(), headers={"X": "a\r\nHost: inner"})
