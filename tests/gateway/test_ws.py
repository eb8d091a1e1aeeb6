"""The WebSocket, over a real socket."""

import asyncio
import base64
from contextlib import suppress

import aiohttp
import pytest

from famulus.core.errors import Gone
from famulus.core.messages import File, Origin

pytestmark = pytest.mark.anyio


async def test_a_message_is_taken_up_streamed_and_answered(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("user_input", content="hello", message_id="m1")
        started = await socket.until("turn_started")
        delta = await socket.until("assistant_delta")
        reply = await socket.until("assistant_response")
    assert started["message_ids"] == ["m1"]
    assert delta["content"] == reply["content"] == "echo: hello"
    assert delta["turn_id"] == reply["turn_id"] == started["turn_id"] == "web::main:m1"
    assert reply["session_id"] == "web:main:1"
    assert reply["message_ids"] == ["m1"]
    assert reply["model"] == "mirror"
    assert reply["usage"]["input_tokens"] == 3


async def test_a_client_is_greeted_with_its_session(gateway):
    async with gateway() as house:
        socket = await house.connect()
    (greeting,) = socket.seen
    assert greeting["session_id"] == "web:main:1"
    assert greeting["chat_id"] == "main"
    assert greeting["channel"] == "web"
    assert greeting["version"]


async def test_tools_are_shown_while_they_work(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("user_input", content="tool")
        started = await socket.until("tool_started")
        finished = await socket.until("tool_finished")
    assert (started["call_id"], started["name"], started["arguments"]) == ("c1", "clock", "{}")
    assert (finished["call_id"], finished["ok"], finished["summary"]) == ("c1", True, "noon")


async def test_the_same_message_id_is_answered_once(gateway):
    async with gateway() as house:
        socket = await house.connect()
        for _ in range(3):
            await socket.send("user_input", content="hello", message_id="m1")
        await socket.until("assistant_response")
        await socket.send("user_input", content="hello", message_id="m1")
        later = await socket.quiet()
    assert not [each for each in later if each["type"] == "assistant_response"]
    assert house.agent.ran == ["hello"]


async def test_two_clients_of_a_chat_see_the_same(gateway):
    async with gateway() as house:
        first, second = await house.connect(), await house.connect()
        await first.send("user_input", content="hello")
        assert await first.until("assistant_response") == await second.until("assistant_response")


async def test_another_chat_stays_apart_until_a_client_goes_there(gateway):
    async with gateway() as house:
        mine, other = await house.connect(), await house.connect(query="?chat_id=work")
        await other.send("user_input", content="secret")
        await other.until("assistant_response")
        assert await mine.quiet() == []
        await mine.send("user_input", content="me too", chat_id="work")
        reply = await mine.until("assistant_response")
        assert reply["session_id"] == "web:work:1"
        assert (await other.until("assistant_response"))["content"] == "echo: me too"


async def test_what_found_nobody_is_sent_once_after_a_reconnect(gateway):
    async with gateway() as house:
        house.agent.hold = True
        client = await house.browser()
        socket = await house.connect(client)
        await socket.send("user_input", content="hello", message_id="m1")
        await socket.until("turn_started")
        await socket.raw.close()
        house.agent.go.set()
        async with asyncio.timeout(10):
            await house.engine.answer("web::main:m1")
        again = await house.connect(client)
        reply = await again.until("assistant_response")
        assert reply["content"] == "echo: hello"
        third = await house.connect(client)
        assert await third.quiet() == []


async def test_what_found_nobody_outlives_the_gateway(gateway):
    async with gateway() as house:
        house.agent.hold = True
        socket = await house.connect()
        await socket.send("user_input", content="hello", message_id="m1")
        await socket.until("turn_started")
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("user_input", content="hello", message_id="m1")
        assert (await socket.until("assistant_response"))["content"] == "echo: hello"
        assert await socket.quiet() == []


async def test_a_client_that_does_not_read_is_cut_off_and_the_others_are_not(gateway):
    async with gateway() as house:
        good = await house.connect()
        slow = await house.connect(timeout=aiohttp.ClientWSTimeout(ws_close=0.1))
        slow.raw._response.connection.transport.pause_reading()
        big = "x" * 500_000

        async def flood():
            for n in range(100):
                house.web.tell("web", "main", {"type": "noise", "n": n, "content": big})
                while (await good.next())["n"] != n:
                    pass

        async with asyncio.timeout(20):
            await flood()
            while len(house.web._feeds["web", "main"]) > 1:
                await asyncio.sleep(0.01)
        assert good.seen[-1]["n"] == 99


async def test_a_client_that_vanished_is_noticed(gateway):
    async with gateway() as house:
        house.server._sockets._heartbeat_seconds = 0.2
        await house.connect(autoping=False)
        assert house.server._sockets.count == 1
        async with asyncio.timeout(10):
            while house.server._sockets.count:
                await asyncio.sleep(0.02)


async def test_there_is_an_end_to_the_number_of_clients(gateway):
    async with gateway(max_clients=3) as house:
        client = await house.browser()
        for _ in range(3):
            await house.connect(client)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/ws")
    assert refused.value.status == 429


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "invalid"),
        ("", "invalid"),
        ("[]", "invalid"),
        ('{"content": "no type"}', "invalid"),
        ('{"type": 7}', "invalid"),
        ('{"type": "user_input", "content": 7}', "invalid"),
        ('{"type": "user_input", "content": ["a"]}', "invalid"),
        ('{"type": "user_input", "content": "  "}', "invalid"),
        ('{"type": "user_input"}', "invalid"),
        ('{"type": "user_input", "content": "\\ud800"}', "invalid"),
        ('{"type": "user_input", "content": "a", "message_id": "%s"}' % ("x" * 201), "invalid"),
        ('{"type": "user_input", "content": "a", "message_id": "a\\nb"}', "invalid"),
        ('{"type": "user_input", "content": "a", "chat_id": "%s"}' % ("x" * 201), "invalid"),
        ('{"type": "user_input", "content": "a", "attachments": [{"id": "none"}]}', "invalid"),
        ('{"type": "user_input", "content": "a", "attachments": [{"data": "!"}]}', "invalid"),
        ('{"type": "user_input", "content": "a", "session_id": "telegram:1:1"}', "invalid"),
        ('{"type": "user_input", "content": "a", "session_id": "nonsense"}', "invalid"),
        ('{"type": "load_session", "session_id": "web:main:77"}', "invalid"),
        ('{"type": "rename_session", "title": " "}', "invalid"),
        ('{"type": "no_such_thing"}', "unknown_type"),
        ('{"type": "approve", "approval_id": "x"}', "unknown_approval"),
        ('{"type": "user_input", "content": "%s"}' % ("x" * 70_000), "too_large"),
    ],
)
async def test_a_bad_frame_is_refused_and_the_connection_lives(gateway, text, code):
    async with gateway() as house:
        socket = await house.connect()
        await socket.raw.send_str(text)
        error = await socket.until("error")
        assert error["code"] == code
        assert error["message"]
        assert await socket.quiet() == []
    assert house.agent.ran == []


async def test_deep_nesting_is_refused_and_brackets_in_a_text_are_not(gateway):
    async with gateway() as house:
        socket = await house.connect()
        nested = "[" * 65 + "]" * 65
        await socket.raw.send_str('{"type": "ping", "x": ' + nested + "}")
        assert "nested" in (await socket.until("error"))["message"]
        await socket.raw.send_str('{"type": "ping", "x": ' + "[" * 100_000)
        assert "nested" in (await socket.until("error"))["message"]
        text = "[{" * 500 + '"\\'
        await socket.send("user_input", content=text)
        assert (await socket.until("assistant_response"))["content"] == f"echo: {text}"


async def test_a_refusal_names_the_message_it_is_about(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("user_input", content="", message_id="m7")
        assert (await socket.until("error"))["message_id"] == "m7"


async def test_a_frame_that_is_too_large_is_explained_before_the_close(gateway):
    async with gateway(limits={"frame": 2000}) as house:
        socket = await house.connect()
        await socket.send("user_input", content="x" * 5000)
        assert (await socket.until("error"))["code"] == "too_large"
        async with asyncio.timeout(10):
            ended = await socket.raw.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        assert ended.extra == "frame too large"


async def test_a_frame_far_over_the_limit_is_explained_too(gateway):
    """Much of it is still on its way when the gateway has seen its length."""
    async with gateway() as house:
        socket = await house.connect()
        with suppress(ConnectionError):
            await socket.send("user_input", content="x" * 20_000_000)
        assert await socket.ended() == 1009
    assert socket.seen[-1]["code"] == "too_large"
    assert "1,048,576 bytes" in socket.seen[-1]["message"]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "user_input", "content": "a", "chat_id": "a\0b"},
        {"type": "user_input", "content": "a", "message_id": "a\0b"},
        {"type": "user_input", "content": "a", "sender_id": "a\0b"},
        {"type": "user_input", "content": "a", "session_id": "web:main:a\0b"},
        {"type": "user_input", "content": "a", "attachments": [{"id": "a\0b"}]},
        {"type": "list_sessions", "chat_id": "a\0b"},
        {"type": "create_session", "chat_id": "a\0b"},
        {"type": "load_session", "session_id": "web:a\0b:1"},
        {"type": "rename_session", "session_id": "web:a\0b", "title": "t"},
        {"type": "stop", "chat_id": "a\0b"},
    ],
)
async def test_an_id_that_no_database_keeps_is_refused(gateway, frame):
    async with gateway() as house:
        socket = await house.connect()
        await socket.raw.send_json(frame)
        assert (await socket.until("error"))["code"] == "invalid"


async def test_a_title_loses_what_no_database_keeps(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("create_session", title="a\0b c")
        assert (await socket.until("session_created"))["title"] == "ab c"


async def test_a_deleted_session_is_not_called_by_the_title_of_the_next(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("create_session", title="Holiday")
        await socket.until("session_created")
        await socket.send("create_session", title="Taxes")
        await socket.until("session_created")
        await socket.send("user_input", content="/delete")
        gone = await socket.until("session_deleted")
        assert "title" not in gone
        assert gone["session_id"].endswith(":3")
        now = await socket.until("session_loaded")
        assert (now["title"], now["session_id"]) == ("Holiday", "web:main:2")


async def test_a_binary_frame_is_refused(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.raw.send_bytes(b'{"type": "ping"}')
        assert (await socket.until("error"))["code"] == "invalid"
        assert await socket.quiet() == []


async def test_too_many_attachments_are_refused(gateway):
    async with gateway(limits={"attachments": 2}) as house:
        socket = await house.connect()
        files = [{"data": "aGk=", "name": "a.txt"}] * 3
        await socket.send("user_input", content="look", attachments=files)
        assert (await socket.until("error"))["code"] == "too_large"


async def test_a_full_queue_says_so(gateway):
    async with gateway(engine={"queue_per_session": 2}) as house:
        house.agent.hold = True
        socket = await house.connect()
        await socket.send("user_input", content="first")
        await socket.until("turn_started")
        for n in range(3):
            await socket.send("user_input", content=f"more {n}", message_id=f"more {n}")
        error = await socket.until("error")
        assert (error["code"], error["message_id"]) == ("busy", "more 2")


# ---------------------------------------------------------------- attachments


async def test_a_file_lands_in_the_workspace_and_a_picture_in_the_message(gateway, tmp_path):
    async with gateway() as house:
        socket = await house.connect()
        picture = b"\x89PNG\r\n\x1a\n" + b"0" * 20
        await socket.send(
            "user_input",
            content="look",
            message_id="m1",
            attachments=[
                {"name": "../../notes.txt", "media_type": "text/plain", "data": _base64(b"hi")},
                {"name": "cat.txt", "media_type": "text/plain", "data": _base64(picture)},
            ],
        )
        await socket.until("assistant_response")
        said = await house.messages.latest("web:main:1", 10)
    _, file, image = said[0].message.parts
    assert (tmp_path / "workspace" / file.path).read_bytes() == b"hi"
    assert file.path.startswith("uploads/")
    assert image.media_type == "image/png"


async def test_a_voice_message_is_known_from_a_file_with_sound(gateway):
    async with gateway() as house:
        socket = await house.connect()
        sound = {"media_type": "audio/webm", "data": _base64(b"\x1a\x45\xdf\xa3")}
        await socket.send(
            "user_input",
            content="both",
            attachments=[
                {"name": "voice.webm", "voice": True, **sound},
                {"name": "song.webm", **sound},
            ],
        )
        await socket.until("assistant_response")
        said = await house.messages.latest("web:main:1", 10)
    files = [part for part in said[0].message.parts if isinstance(part, File)]
    assert [(file.name, file.origin) for file in files] == [
        ("voice.webm", Origin.OWNER),
        ("song.webm", Origin.OUTSIDE),
    ]


def _base64(data):
    return base64.b64encode(data).decode()


# ---------------------------------------------------------------- sessions


async def test_sessions_are_made_listed_loaded_renamed_archived_and_deleted(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("user_input", content="in the first")
        await socket.until("assistant_response")
        await socket.send("create_session", title="Second  one")
        created = await socket.until("session_created")
        assert (created["session_id"], created["title"]) == ("web:main:2", "Second one")
        await socket.send("user_input", content="in the second")
        assert (await socket.until("assistant_response"))["session_id"] == "web:main:2"

        await socket.send("load_session", session_id="web:main:1")
        loaded = await socket.until("session_loaded")
        assert [each["content"] for each in loaded["messages"]] == [
            "in the first",
            "echo: in the first",
        ]
        await socket.send("rename_session", title="First one")
        assert (await socket.until("session_renamed"))["session_id"] == "web:main:1"

        await socket.send("archive_session", session_id="web:main:2")
        await socket.until("session_archived", session_id="web:main:2")
        await socket.send("list_sessions", include_archived=False)
        listed = await socket.until("session_list")
        assert [(each["session_id"], each["title"]) for each in listed["sessions"]] == [
            ("web:main:1", "First one")
        ]
        await socket.send("list_sessions", include_archived=True)
        assert len((await socket.until("session_list"))["sessions"]) == 2

        await socket.send("clear_history")
        await socket.until("history_cleared", session_id="web:main:1")
        assert await house.messages.latest("web:main:1", 10) == []
        await socket.send("delete_session")
        await socket.until("session_deleted", session_id="web:main:1")
        assert await house.sessions.find("web:main:1") is None


@pytest.mark.parametrize(
    "wish", [{"kind": "delete_session"}, {"kind": "clear_history"}, {"text": "/delete"}]
)
async def test_what_still_runs_does_not_write_into_what_was_deleted(gateway, wish):
    async with gateway() as house:
        house.agent.hold = True
        socket = await house.connect()
        await socket.send("user_input", content="long", message_id="m1")
        await socket.until("turn_started")
        if "kind" in wish:
            await socket.send(wish["kind"])
        else:
            await socket.send("user_input", content=wish["text"])
            await socket.until("command_executed")
        await socket.quiet()
        house.agent.go.set()
        async with asyncio.timeout(10):
            with pytest.raises(Gone):
                await house.engine.answer("web::main:m1")
        assert await house.messages.latest("web:main:1", 10) == []


async def test_stop_ends_the_running_turn(gateway):
    async with gateway() as house:
        house.agent.hold = True
        socket = await house.connect()
        await socket.send("user_input", content="long")
        await socket.until("turn_started")
        await socket.send("stop")
        stopped = await socket.until("command_executed")
        assert (stopped["command"], stopped["running"]) == ("stop", 1)


async def test_the_terminal_has_chats_of_its_own(gateway):
    async with gateway() as house:
        browser = await house.connect()
        client = await house.browser(log_in=False)
        headers = {"Authorization": f"Bearer {house.auth.local_token}"}
        terminal = await house.connect(client, "?channel=console", headers=headers)
        assert terminal.seen[0]["session_id"] == "console:main:1"
        await terminal.send("user_input", content="hello")
        assert (await terminal.until("assistant_response"))["session_id"] == "console:main:1"
        assert await browser.quiet() == []


# ---------------------------------------------------------------- slash commands


async def test_commands_are_listed_for_completion(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("get_slash_commands")
        commands = (await socket.until("slash_commands_list"))["commands"]
    assert {"name": "stop", "usage": "stop"}.items() <= next(
        each for each in commands if each["name"] == "stop"
    ).items()


async def test_new_opens_a_session_and_answers_in_it(gateway):
    async with gateway() as house:
        socket = await house.connect()
        await socket.send("user_input", content="/new Plans", message_id="m1")
        executed = await socket.until("command_executed")
        created = await socket.until("session_created")
        reply = await socket.until("assistant_response")
    assert (executed["command"], executed["message_ids"]) == ("new", ["m1"])
    assert (created["session_id"], created["title"]) == ("web:main:2", "Plans")
    assert reply["session_id"] == "web:main:2"
    assert house.agent.ran == []


async def test_an_answer_that_was_never_seen_comes_when_its_message_is_sent_again(gateway):
    async with gateway() as house:
        client = await house.browser()
        lost = await house.connect(client)
        await lost.send("user_input", content="hello", message_id="m1")
        await lost.until("assistant_response")  # written to a client that, say, lost power
        again = await house.connect(client)
        await again.send("user_input", content="hello", message_id="m1")
        reply = await again.until("assistant_response")
        assert reply["content"] == "echo: hello"
        assert reply["turn_id"] == "web::main:m1"
        await again.send("user_input", content="hello", message_id="m1")
        assert await again.quiet() == []
        assert await lost.quiet() == []
    assert house.agent.ran == ["hello"]


async def test_a_client_that_does_not_read_does_not_hold_up_the_end(gateway):
    async with asyncio.timeout(15), gateway() as house:
        slow = await house.connect(timeout=aiohttp.ClientWSTimeout(ws_close=0.1))
        slow.raw._response.connection.transport.pause_reading()
        for n in range(130):
            house.web.tell("web", "main", {"type": "noise", "n": n, "content": "x" * 60_000})
        (connection,) = house.server._sockets._open
        while not connection._socket._writer.transport.get_write_buffer_size():
            await asyncio.sleep(0.01)
        await house.server._sockets.close_all()


@pytest.mark.parametrize("ending", ["token", "login"])
async def test_who_is_not_welcome_any_more_reads_no_more(gateway, ending):
    async with gateway() as house:
        good = await house.connect()
        if ending == "token":
            token = await house.tokens.create("phone")
            client = await house.browser(log_in=False)
            headers = {"Authorization": f"Bearer {token}"}
            ended = await house.connect(client, headers=headers)
            await house.tokens.remove("phone")
        else:
            ended = await house.connect()
            await house.database.execute("update login set expires = 0")
            house.auth._logins._known.clear()
        for connection in house.server._sockets._open:
            connection._checked = 0.0
        house.web.tell("web", "main", {"type": "noise", "content": "private"})
        async with asyncio.timeout(10):
            while not ended.raw.closed:
                frame = await ended.raw.receive()
                assert "private" not in str(frame.data)
        if ending == "token":
            assert (await good.next())["content"] == "private"


async def test_many_programs_may_come_with_the_password_at_once(gateway):
    async with gateway() as house:
        client = await house.browser(log_in=False)
        headers = {"Authorization": "Bearer open sesame"}

        async def come():
            async with client.get("/api/history", headers=headers) as answer:
                return answer.status

        async with asyncio.TaskGroup() as group:
            coming = [group.create_task(come()) for _ in range(30)]
        assert {each.result() for each in coming} == {200}
