"""The server around its routes: who comes in, from where, and what every answer carries."""

import asyncio
import json
import stat

import aiohttp
import pytest

from famulus import __version__
from famulus.core.errors import ConfigError

pytestmark = pytest.mark.anyio

GUARDED = [
    ("GET", "/api/history"),
    ("GET", "/metrics"),
    ("GET", "/ws"),
    ("GET", "/api/blob/" + "0" * 64),
    ("POST", "/api/chat"),
    ("POST", "/api/upload"),
    ("POST", "/api/login-link"),
]


async def status(client, method, path, **options):
    async with client.request(method, path, **options) as answer:
        return answer.status


async def test_health_needs_no_login(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        async with client.get("/health") as answer:
            assert await answer.json() == {"status": "ok", "version": __version__}


async def test_readiness_follows_the_state(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        assert await status(client, "GET", "/ready") == 200
        house.server.state = "draining"
        assert await status(client, "GET", "/ready") == 503


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_everything_else_needs_a_login(gateway, method, path):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        async with client.request(method, path) as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]
        for header in ("Bearer", "Bearer ", "Bearer wrong", "Basic b3duZXI6", "bearer \xff"):
            headers = {"Authorization": header}
            assert await status(client, method, path, headers=headers) == 401
        assert await status(client, method, path, headers={"Cookie": "session=wrong"}) == 401


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/history", "/health", "/nowhere"])
async def test_every_answer_is_fenced_in(gateway, path):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        async with client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert answer.headers["Server"] == "famulus"
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_the_page_and_its_files_are_served_and_nothing_beside_them(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        async with client.get("/") as answer:
            assert answer.content_type == "text/html"
            assert "<title>Famulus" in await answer.text()
        async with client.get("/static/app.js") as answer:
            assert answer.content_type == "text/javascript"
            tag = answer.headers["ETag"]
        assert await status(client, "GET", "/static/app.js", headers={"If-None-Match": tag}) == 304
        for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "vendor", ""):
            assert await status(client, "GET", f"/static/{path}") == 404


async def test_a_wrong_method_is_told_the_right_one(gateway):
    async with gateway() as house:
        client = await house.browser()
        async with client.get("/api/chat") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"


async def test_an_ordinary_request_to_the_socket_is_told_so(gateway):
    async with gateway() as house:
        client = await house.browser()
        assert await status(client, "GET", "/ws") == 426


# ---------------------------------------------------------------- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_can_do_nothing(gateway, headers):
    async with gateway() as house:
        client = await house.browser()
        for path in ("/api/chat", "/api/login", "/api/logout", "/api/upload", "/api/login-link"):
            assert await status(client, "POST", path, json={"message": "x"}, headers=headers) == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", headers=headers)
        assert refused.value.status == 403
        assert await status(client, "GET", "/api/history") == 200
    assert house.agent.ran == []


async def test_our_own_page_may_do_everything(gateway):
    async with gateway() as house:
        client = await house.browser()
        headers = {"Origin": house.url, "Sec-Fetch-Site": "same-origin"}
        assert (
            await status(client, "POST", "/api/chat", json={"message": "x"}, headers=headers) == 200
        )
        await house.connect(client, headers=headers)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.nip.io", "", "[", "0"]
)
async def test_a_name_that_was_rebound_to_this_machine_is_refused(gateway, host):
    async with gateway() as house:
        client = await house.browser()
        for path in ("/", "/api/history", "/health"):
            assert await status(client, "GET", path, headers={"Host": host}) in {400, 403}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:19876", "127.0.0.1", "[::1]:80", "my.tunnel"]
)
async def test_names_of_this_machine_and_the_public_one_are_known(gateway, host):
    async with gateway(public_url="https://my.tunnel") as house:
        client = await house.browser()
        assert await status(client, "GET", "/health", headers={"Host": host}) == 200


async def test_the_public_address_is_an_origin_of_ours(gateway):
    async with gateway(public_url="https://my.tunnel") as house:
        client = await house.browser()
        body = {"message": "x"}
        for origin, expected in (("https://my.tunnel", 200), ("http://my.tunnel", 403)):
            headers = {"Host": "my.tunnel", "Origin": origin}
            assert await status(client, "POST", "/api/chat", json=body, headers=headers) == expected


# ---------------------------------------------------------------- logging in


async def test_the_right_password_makes_a_strict_cookie(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        async with client.post("/api/login", json={"password": "open sesame"}) as answer:
            assert answer.status == 200
            assert await answer.json() == {"ok": True}
            cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("session=")
        for flag in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=86400"):
            assert flag in cookie
        assert "Secure" not in cookie
        assert await status(client, "GET", "/api/history") == 200


async def test_a_wrong_password_is_a_wrong_password(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        async with client.post("/api/login", json={"password": "guess"}) as answer:
            assert answer.status == 401
            assert await answer.json() == {"error": "Wrong password"}
            assert "Set-Cookie" not in answer.headers


async def test_the_cookie_is_secure_where_people_come_over_tls(gateway):
    async with gateway(public_url="https://my.tunnel") as house:
        client = await house.browser(log_in=False)
        body, headers = {"password": "open sesame"}, {"Host": "my.tunnel"}
        async with client.post("/api/login", json=body, headers=headers) as answer:
            assert "Secure" in answer.headers["Set-Cookie"]


async def test_guessing_is_slowed_down_even_with_the_right_password_at_the_end(gateway):
    async with gateway(login_attempts=3) as house:
        client = await house.browser(log_in=False)
        answers = [
            await status(client, "POST", "/api/login", json={"password": text})
            for text in ("a", "b", "c", "open sesame")
        ]
        assert answers == [401, 401, 401, 429]
        async with client.post("/api/login", json={"password": "open sesame"}) as answer:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        headers = {"Authorization": "Bearer open sesame"}
        assert await status(client, "GET", "/api/history", headers=headers) == 429


async def test_guessing_many_at_once_gains_nothing(gateway):
    async with gateway(login_attempts=3) as house:
        client = await house.browser(log_in=False)
        answers = await asyncio.gather(
            *(
                status(client, "POST", "/api/login", json={"password": f"guess {n}"})
                for n in range(12)
            )
        )
        assert sorted(answers) == [401] * 3 + [429] * 9


@pytest.mark.parametrize("body", [{"password": 7}, {"password": None}, {"token": []}, [], "x"])
async def test_a_login_of_a_wrong_shape_is_refused(gateway, body):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        assert await status(client, "POST", "/api/login", json=body) == 400


async def test_without_a_password_no_password_fits(gateway):
    async with gateway(password="") as house:
        client = await house.browser(log_in=False)
        for body in ({"password": ""}, {"password": "x"}, {"token": ""}, {}):
            assert await status(client, "POST", "/api/login", json=body) == 401


async def test_a_password_can_be_written_as_a_hash(gateway):
    from argon2 import PasswordHasher

    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("open sesame")
    async with gateway(password=hashed) as house:
        client = await house.browser(log_in=False)
        assert await status(client, "POST", "/api/login", json={"password": hashed}) == 401
        assert await status(client, "POST", "/api/login", json={"password": "open sesame"}) == 200


async def test_a_login_link_works_once(gateway):
    async with gateway(password="") as house:
        client = await house.browser(log_in=False)
        url, _, token = house.server.login_link().partition("/#login=")
        assert url == house.url
        assert await status(client, "POST", "/api/login", json={"token": token}) == 200
        assert await status(client, "POST", "/api/login", json={"token": token}) == 401


async def test_a_login_outlives_the_gateway(gateway):
    async with gateway() as house:
        client = await house.browser()
        cookies = {each.key: each.value for each in client.cookie_jar}
    async with gateway() as house:
        client = await house.browser(log_in=False)
        assert await status(client, "GET", "/api/history", cookies=cookies) == 200
    async with gateway(password="another") as house:
        client = await house.browser(log_in=False)
        assert await status(client, "GET", "/api/history", cookies=cookies) == 401


async def test_a_login_ends_after_its_time(gateway):
    async with gateway(session_lifetime=0.2) as house:
        client = await house.browser()
        async with asyncio.timeout(10):
            while await status(client, "GET", "/api/history") != 401:
                await asyncio.sleep(0.02)


async def test_logging_out_ends_the_session_and_its_sockets_alone(gateway):
    async with gateway() as house:
        client, other = await house.browser(), await house.browser()
        mine, others = await house.connect(client), await house.connect(other)
        cookies = {each.key: each.value for each in client.cookie_jar}
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(mine.ended())
            assert await status(client, "POST", "/api/logout") == 200
        assert closing.result() == 1008
        assert await status(client, "GET", "/api/history", cookies=cookies) == 401
        assert await others.quiet() == []
        assert await status(client, "POST", "/api/logout") == 200


# ---------------------------------------------------------------- tokens


async def test_a_token_opens_everything_until_it_is_removed(gateway):
    async with gateway() as house:
        token = await house.tokens.create("script")
        headers = {"Authorization": f"Bearer {token}"}
        client = await house.browser(log_in=False)
        socket = await house.connect(client, headers=headers)
        assert await status(client, "GET", "/api/history", headers=headers) == 200
        await house.tokens.remove("script")
        assert await status(client, "GET", "/api/history", headers=headers) == 401
        await socket.send("ping")
        assert await socket.ended() == 1008


async def test_the_password_is_a_token_too(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        headers = {"Authorization": "Bearer open sesame"}
        await house.connect(client, headers=headers)
        assert await status(client, "GET", "/api/history", headers=headers) == 200


async def test_programs_of_this_user_find_the_gateway_by_its_file(gateway, tmp_path):
    path = tmp_path / "gateway.json"
    async with gateway() as house:
        found = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert found["url"] == house.url
        client = await house.browser(log_in=False)
        headers = {"Authorization": f"Bearer {found['token']}"}
        async with client.post("/api/login-link", headers=headers) as answer:
            token = (await answer.json())["url"].partition("#login=")[2]
        assert await status(client, "POST", "/api/login", json={"token": token}) == 200
    assert not path.exists()


async def test_a_token_cannot_make_login_links(gateway):
    async with gateway() as house:
        headers = {"Authorization": f"Bearer {await house.tokens.create('script')}"}
        client = await house.browser(log_in=False)
        assert await status(client, "POST", "/api/login-link", headers=headers) == 401


# ---------------------------------------------------------------- listening


async def test_a_port_that_is_taken_is_named(gateway):
    async with gateway() as house:
        port = int(house.url.rpartition(":")[2])
        house.server._settings = house.server._settings.__class__(port=port)
        with pytest.raises(
            ConfigError, match=rf"server.port {port} of .* is used by another program"
        ):
            await house.server.__aenter__()


async def test_a_foreign_name_of_a_gateway_that_others_can_reach_gets_the_login_page_and_no_more(
    gateway,
):
    async with gateway(host="0.0.0.0") as house:
        client = await house.browser()
        foreign = {"Host": "evil.example"}
        async with client.get("/", headers=foreign) as answer:
            assert answer.status == 200
        # By its own name the browser has no cookie of ours.
        stranger = await house.browser(log_in=False)
        async with stranger.get("/api/history", headers=foreign) as answer:
            assert answer.status == 401
        async with stranger.post("/api/chat", json={"message": "hi"}, headers=foreign) as answer:
            assert answer.status == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com"])
async def test_others_can_reach_it_only_with_a_password(gateway, host):
    with pytest.raises(ExceptionGroup) as refused:
        async with gateway(password="", host=host):
            pass
    assert refused.group_contains(ConfigError, match="no server.password")


async def test_stopping_says_goodbye_to_the_sockets(gateway):
    async with gateway() as house:
        socket = await house.connect()
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(socket.ended())
            await house.server.__aexit__(None, None, None)
        assert closing.result() == 1001


async def test_metrics_count_what_happened(gateway):
    async with gateway() as house:
        client = await house.browser()
        socket = await house.connect(client)
        await socket.send("user_input", content="tool")
        await socket.until("assistant_response")
        async with client.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
    assert 'famulus_turns_answered_total{channel="web"} 1' in lines
    assert 'famulus_tool_calls_total{tool="clock",outcome="ok"} 1' in lines
    assert 'famulus_tokens_total{model="mirror",way="in"} 3' in lines
    assert "famulus_websocket_clients 1" in lines
    assert any(line.startswith("famulus_resident_memory_bytes ") for line in lines)


async def test_no_log_holds_a_password_a_token_or_a_cookie(gateway, caplog):
    caplog.set_level("DEBUG")
    async with gateway() as house:
        client = await house.browser(log_in=False)
        token = await house.tokens.create("script")
        login = house.server.login_link().partition("#login=")[2]
        for body in ({"password": "wrong guess"}, {"password": "open sesame"}, {"token": login}):
            await status(client, "POST", "/api/login", json=body)
        cookie = next(iter(client.cookie_jar)).value
        for bearer in (token, "open sesame", house.auth.local_token, "wrong bearer"):
            headers = {"Authorization": f"Bearer {bearer}"}
            await status(client, "GET", "/api/history", headers=headers)
        await status(client, "POST", "/api/chat", json={"message": "hello"})
        secrets = [token, login, cookie, house.auth.local_token]
    assert "path=/api/login" in caplog.text
    for secret in (*secrets, "open sesame", "wrong guess", "wrong bearer"):
        assert secret not in caplog.text
