import asyncio
import logging

import pytest

from famulus.core.clock import Clock

pytestmark = pytest.mark.anyio

SECONDS = 10


class HeldClock(Clock):
    seconds = 0.0

    def monotonic(self):
        return self.seconds


@pytest.fixture
def said(caplog):
    """What the log says at its default level about logins."""
    caplog.set_level(logging.INFO)
    return lambda: [
        each.getMessage() for each in caplog.records if each.name == "famulus.gateway.auth"
    ]


async def log_in(client, password):
    async with client.post("/api/login", json={"password": password}) as answer:
        return answer.status


async def test_a_wrong_password_leaves_a_line_with_the_address_and_without_the_password(
    gateway, said
):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        assert await log_in(client, "my other secret") == 401
        assert said() == ["refused a login proof=password address=127.0.0.1"]
        headers = {"Authorization": "Bearer guessed"}
        async with client.get("/api/history", headers=headers) as answer:
            assert answer.status == 401
        assert said()[1:] == ["refused a login proof=token address=127.0.0.1"]


async def test_guessing_without_end_leaves_a_few_lines_a_minute(gateway, said):
    clock = HeldClock()
    async with gateway(clock=clock) as house:
        client = await house.browser(log_in=False)
        assert [await log_in(client, "no") for _ in range(5)] == [401] * 5
        assert [await log_in(client, "no") for _ in range(40)] == [429] * 40
        lines = said()
        assert len(lines) == 6
        assert lines[-1].startswith("too many attempts to log in, more are refused address=")
        clock.seconds = 61
        assert [await log_in(client, "no") for _ in range(6)] == [401] * 5 + [429]
        assert len(said()) == 12


async def test_a_right_password_leaves_no_line(gateway, said):
    async with gateway() as house:
        assert await log_in(await house.browser(log_in=False), "open sesame") == 200
    assert said() == []


async def test_a_revoked_token_reads_no_further_frame(gateway):
    async with gateway() as house:
        token = await house.tokens.create("reader")
        kept = await house.tokens.create("other")
        revoked, other = [
            await house.connect(
                await house.browser(log_in=False), headers={"Authorization": f"Bearer {each}"}
            )
            for each in (token, kept)
        ]
        await house.tokens.remove("reader")
        await house.tokens.create("reader")  # another one, that this client does not have
        client = await house.browser(log_in=False)
        async with client.post("/api/close-ended") as answer:
            assert answer.status == 401
        headers = {"Authorization": f"Bearer {house.auth.local_token}"}
        async with client.post("/api/close-ended", headers=headers) as answer:
            assert answer.status == 200
        await other.send("user_input", content="a secret")
        await other.until("assistant_response")
        assert await revoked.ended() == 1008
        assert [each["type"] for each in revoked.seen] == ["session_established"]


async def test_a_login_that_ended_elsewhere_is_closed_too(gateway):
    async with gateway() as house:
        browser = await house.browser()
        socket = await house.connect(browser)
        async with browser.post("/api/logout"):
            pass
        async with asyncio.timeout(SECONDS):
            assert await socket.ended() == 1008
