"""What is deleted is deleted: looked for in the raw files of the real program."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing

import pytest
from aiohttp import ClientSession, ClientTimeout, FormData

from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Call, Fault

pytestmark = pytest.mark.anyio

SECONDS = 60
CANARY = b"kanarienvogel"


class Program:
    """`famulus serve` in a home of its own, with a model that a test scripts."""

    def __init__(self, home, model, storage=""):
        self.home, self.model = home, model
        home.mkdir()
        (home / "famulus.toml").write_text(
            '[server]\nport = 0\npassword = "only the owner knows"\n'
            f"[storage]\n{storage}\n"
            '[providers.fake]\ntype = "openai"\n'
            f'base_url = "{model.url}"\napi_key = "{model.key}"\n'
            '[agent]\nmodel = "fake/thinker"\nhistory_tokens = 2000\n'
        )

    async def run(self, *arguments):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-m", "famulus", *arguments, "--home", self.home),
            stdout=asyncio.subprocess.PIPE,
            cwd=self.home,
            env=os.environ | {"HOME": str(self.home), "TZ": "UTC"},
        )

    @asynccontextmanager
    async def serving(self):
        """A client of the running gateway."""
        process = await self.run("serve")
        try:
            async with asyncio.timeout(SECONDS):
                while b"ready" not in (line := await process.stdout.readline()):
                    assert line
            gateway = json.loads((self.home / "gateway.json").read_text())
            async with ClientSession(
                gateway["url"],
                headers={"Authorization": f"Bearer {gateway['token']}"},
                timeout=ClientTimeout(total=SECONDS),
            ) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(SECONDS):
                await process.communicate()

    async def until(self, sql):
        """Wait until the database has such a row."""
        with closing(sqlite3.connect(self.home / "famulus.db")) as database:
            async with asyncio.timeout(SECONDS):
                while not database.execute(sql).fetchall():
                    await asyncio.sleep(0.02)

    def found(self):
        """The names of files in the home that hold the canary."""
        return {
            path.relative_to(self.home).as_posix()
            for path in self.home.rglob("*")
            if path.is_file() and CANARY in path.read_bytes().lower()
        }


@pytest.fixture
async def program(tmp_path):
    async with FakeOpenAI() as model:
        yield Program(tmp_path / "home", model)


async def ask(client, message, status=200, **more):
    async with client.post("/api/chat", json={"message": message, **more}) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def upload(client):
    form = FormData()
    form.add_field("file", CANARY + b" in a file", filename="kanarienvogel.txt")
    async with client.post("/api/upload", data=form) as response:
        return (await response.json())["id"]


async def say_it_everywhere(program, client, **chat):
    """Leave the canary wherever a conversation leaves anything."""
    word = CANARY.decode()
    shell = json.dumps({"command": f"seq 3000 | sed s/^/{word}/"})
    read = json.dumps({"path": f"{word}.txt"})
    # Without a received file in the workspace and with one, long outputs lie elsewhere.
    for files in ([], [{"id": await upload(client)}]):
        program.model.say(
            Answer(calls=(Call("shell", shell, "c1"), Call("read_file", read, "c2"))),
            Answer(text=(f"{word} and more. " * 6000,)),
        )
        await ask(client, f"{word} is the title", attachments=files, **chat)
    for n in range(3):
        program.model.say(Answer(text=(f"{word} {n} " * 400,)))
        await ask(client, f"once more {word} {n}", message_id=f"more-{n}", **chat)
    program.model.say(Answer(text=(f"{word} in short",)))
    await ask(client, "/compact", **chat)
    await ask(client, "/sessions", **chat)


async def frames(client, *asked):
    """Send frames on one connection and return what came until each got its answer."""
    seen = []
    async with client.ws_connect("/ws") as socket:
        for frame, answer in asked:
            await socket.send_json(frame)
            async with asyncio.timeout(SECONDS):
                while not seen or seen[-1]["type"] != answer:
                    seen.append(await socket.receive_json())
    return seen


async def swept(program):
    """Wait until the running program has overwritten what it deleted."""
    async with asyncio.timeout(SECONDS):
        while found := program.found():
            await asyncio.sleep(0.05)
    return found


async def by_command(client):
    await ask(client, "/delete")


async def by_frame(client):
    asked = {"type": "delete_session", "chat_id": "main"}, "session_deleted"
    await frames(client, asked)


async def by_clearing(client):
    await frames(client, ({"type": "clear_history", "chat_id": "main"}, "history_cleared"))


@pytest.mark.parametrize("delete", [by_command, by_frame, by_clearing])
async def test_no_file_holds_a_word_of_what_was_deleted(program, delete):
    async with program.serving() as client:
        await ask(client, "something else", chat_id="other")
        await say_it_everywhere(program, client)
        assert {"famulus.db", "famulus.db-wal"} & program.found()
        assert {path.split("/")[1] for path in program.found() if "/" in path} >= {
            "uploads",
            ".outputs",
        }
        await delete(client)
        assert await swept(program) == set()
    assert program.found() == set()
    async with program.serving() as client:
        assert program.found() == set()
        async with client.get("/api/history?chat_id=other") as response:
            assert len((await response.json())["messages"]) == 2


async def test_sessions_delete_leaves_no_word_in_any_file(program):
    async with program.serving() as client:
        await say_it_everywhere(program, client)
    process = await program.run("sessions", "delete", "web:main")
    async with asyncio.timeout(SECONDS):
        await process.communicate()
    assert process.returncode == 0
    assert program.found() == set()


async def test_a_message_of_a_deleted_conversation_is_not_answered_again(program):
    async with program.serving() as client:
        await ask(client, "hello", message_id="m1")
        await ask(client, "/delete")
        calls = len(program.model.journal)
        assert "deleted" in (await ask(client, "hello", 410, message_id="m1"))["error"]
        again = {"type": "user_input", "content": "hello", "message_id": "m1"}, "error"
        assert (await frames(client, again))[-1]["code"] == "gone"
        assert len(program.model.journal) == calls


async def test_a_turn_that_runs_is_stopped_and_writes_nothing_afterwards(program):
    word = CANARY.decode()
    async with program.serving() as client:
        program.model.fail(Fault(latency_seconds=SECONDS))
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(ask(client, f"{word} while it runs", message_id="m1"))
            await program.model.arrived()
            waits = group.create_task(ask(client, f"{word} waits", message_id="m2"))
            await program.until("select 1 from turn where id like '%:m2'")
            await frames(client, ({"type": "delete_session"}, "session_deleted"))
        assert asked.result()["reply"] == "Stopped."
        assert waits.result()["reply"] == "Stopped."
        assert await swept(program) == set()
        await ask(client, "and now?")
        assert program.found() == set()


async def test_a_file_that_another_conversation_refers_to_stays(program):
    async with program.serving() as client:
        files = [{"id": await upload(client)}]
        for chat in ("one", "two"):
            await ask(client, "look", chat_id=chat, attachments=files)
        await ask(client, "/delete", chat_id="one")
        async with client.get(f"/api/blob/{files[0]['id']}") as response:
            assert await response.read() == CANARY + b" in a file"
        (kept,) = (program.home / "workspace" / "uploads").iterdir()
        assert kept.read_bytes() == CANARY + b" in a file"
        await ask(client, "/delete", chat_id="two")
        assert await swept(program) == set()


async def test_a_reply_that_waits_for_a_reader_is_not_sent_after_its_conversation_is_deleted(
    program,
):
    async with program.serving() as client:
        async with client.ws_connect("/ws?chat_id=quiet") as socket:
            await socket.receive_json()
            program.model.fail(Fault(latency_seconds=0.2))
            await socket.send_json({"type": "user_input", "content": "hello", "chat_id": "quiet"})
            await program.model.arrived()
        await program.until("select 1 from turn where status = 'done'")
        await frames(client, ({"type": "delete_session", "chat_id": "quiet"}, "session_deleted"))
        seen = await frames(
            client,
            ({"type": "load_session", "chat_id": "quiet"}, "session_loaded"),
            ({"type": "ping"}, "pong"),
        )
        assert "assistant_response" not in {frame["type"] for frame in seen}
