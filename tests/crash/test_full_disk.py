"""A disk that is full while the program runs, and when it starts."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from famulus.core.errors import ToolError
from famulus.core.workspace import append_bytes

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(small_disk: Callable[[str], Path]) -> Path:
    return small_disk("8m")


@pytest.fixture
def fill(home: Path) -> Callable[[], None]:
    def fill() -> None:
        with (home / "ballast").open("wb", buffering=0) as ballast:
            for size in (65536, 1):
                try:
                    while ballast.write(b"\0" * size):
                        pass
                except OSError:
                    continue

    return fill


async def test_disk_full_in_the_middle_of_a_turn(make_house, make_chat, home, fill):
    house, chat = make_house(agent={"while_busy": "queue"}), make_chat("a")
    model_asked = asyncio.Event()

    def fill_in_second_round(turn: str, round_: int) -> None:
        if (turn, round_) == ("a-0", 1):
            fill()
            model_asked.set()

    house.model.on_request = fill_in_second_round
    async with asyncio.timeout(60), house.clients(chat):
        await house.start()
        await chat.say()
        await model_asked.wait()

        await chat.say()
        await chat.until(lambda chat: chat.errors)
        (error,) = chat.errors
        assert (error["code"], error["message_id"]) == ("unavailable", "a-1")
        assert "not stored" in error["message"]
        assert "Free some space" in error["message"]
        async with house.session() as session:
            for chat_id in ("a", "new"):
                body = {"message": "hello", "chat_id": chat_id}
                async with session.post("/api/chat", json=body) as response:
                    assert response.status == 503
                    assert int(response.headers["Retry-After"]) >= 1
                    assert "Free some space" in (await response.json())["error"]
            async with session.get("/health") as response:
                assert response.status == 200
            async with session.get("/api/history?session_id=web:a:1") as response:
                assert [each["role"] for each in (await response.json())["messages"]] == ["user"]

        (home / "ballast").unlink()
        await chat.say_again()
        await chat.answered()
        assert house.starts == 1
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(chat)
    assert house.model.requests == 6


async def test_start_on_a_full_disk_says_so_and_loses_nothing(make_house, make_chat, home, fill):
    house, chat = make_house(agent={"while_busy": "queue"}), make_chat("a")
    house.model.on_request = lambda turn, round_: os.kill(house.process.pid, signal.SIGKILL)
    async with asyncio.timeout(60), house.clients(chat):
        await house.start()
        await chat.say()
        assert await house.end() == -signal.SIGKILL
        house.model.on_request = lambda turn, round_: None
        fill()
        house.log.unlink()
        await house.spawn()
        assert await house.end() == 1
        last = house.log.read_text().splitlines()[-1]
        assert last.startswith(str(home)), last
        assert "No space left on device. Free some space" in last
        (home / "ballast").unlink()
        await house.start()
        await chat.answered()
        assert await house.end(signal.SIGTERM) == 0
        await house.verify(chat)


async def test_what_does_not_fit_at_the_end_of_a_file_leaves_it_as_it_was(home, fill):
    (home / "log").write_bytes(b"first\n")
    fill()
    # The rest of the file's last block is still free, so a part of this would fit.
    with pytest.raises(ToolError, match="disk is full"):
        append_bytes(home, "log", b"second\n" * 1000)
    assert (home / "log").read_bytes() == b"first\n"
