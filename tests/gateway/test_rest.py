"""The JSON endpoints, over a real socket."""

import asyncio

import aiohttp
import msgspec
import pytest

from famulus.core.messages import Usage

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 50


async def ask(client, **body):
    async with client.post("/api/chat", json=body) as answer:
        return answer.status, await answer.json()


async def upload(client, data, *, name="a.txt", kind="text/plain", field="file"):
    form = aiohttp.FormData(quote_fields=False)  # as browsers write names
    form.add_field(field, data, filename=name, content_type=kind)
    async with client.post("/api/upload", data=form) as answer:
        return answer.status, await answer.json()


async def test_a_message_is_answered_in_the_response(gateway):
    async with gateway() as house:
        client = await house.browser()
        status, body = await ask(client, message="hello", message_id="m1")
    assert status == 200
    assert body == {
        "reply": "echo: hello",
        "turn_id": "web::main:m1",
        "session_id": "web:main:1",
        "model": "mirror",
        "usage": msgspec.to_builtins(Usage(input_tokens=3, output_tokens=2)),
    }


async def test_a_reply_in_a_response_is_not_sent_again_to_the_next_client(gateway):
    async with gateway() as house:
        client = await house.browser()
        for n in range(5):
            await ask(client, message=f"number {n}")
        async with asyncio.timeout(10):
            await house.delivery.drain(10)
        socket = await house.connect(client)
        assert await socket.quiet() == []


async def test_a_reply_that_its_request_did_not_wait_for_goes_to_the_next_client(gateway):
    async with gateway() as house:
        house.agent.hold = True
        client = await house.browser()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask(client, message="long", message_id="m1")
        house.agent.go.set()
        async with asyncio.timeout(10):
            await house.engine.answer("web::main:m1")
        socket = await house.connect(client)
        assert (await socket.until("assistant_response"))["content"] == "echo: long"


async def test_the_same_message_again_gets_the_same_answer(gateway):
    async with gateway() as house:
        client = await house.browser()
        first = await ask(client, message="hello", message_id="m1")
        assert await ask(client, message="hello", message_id="m1") == first
    assert house.agent.ran == ["hello"]


@pytest.mark.parametrize("name", ["chat_id", "message_id", "session_id"])
async def test_an_id_that_no_database_keeps_is_refused(gateway, name):
    value = "web:a\0b:1" if name == "session_id" else "a\0b"
    async with gateway() as house:
        client = await house.browser()
        async with client.post("/api/chat", json={"message": "hi", name: value}) as answer:
            assert answer.status == 400
            assert "error" in await answer.json()
        if name != "message_id":
            async with client.get("/api/history", params={name: value}) as answer:
                assert answer.status == 400
    assert house.agent.ran == []


async def test_a_history_of_very_long_messages_begins_later(gateway):
    async with gateway(limits={"message": 2_000_000}) as house:
        client = await house.browser()
        for number in range(4):
            await ask(client, message=f"{number}" * 1_000_000)
        async with client.get("/api/history", params={"limit": 1000}) as answer:
            body = await answer.read()
        entries = msgspec.json.decode(body)["messages"]
    assert 4_000_000 < len(body) < 7_000_000
    assert [each["content"][:7] for each in entries[-4:]] == [
        *("2222222", "echo: 2"),
        *("3333333", "echo: 3"),
    ]
    assert not any(each["content"].startswith("0") for each in entries)


async def test_a_chat_and_a_session_can_be_chosen(gateway):
    async with gateway() as house:
        client = await house.browser()
        _, body = await ask(client, message="hello", chat_id="work")
        assert body["session_id"] == "web:work:1"
        _, body = await ask(client, message="hello", session_id="web:work:7")
        assert body["session_id"] == "web:work:7"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"{}", 400),
        (b'{"message": ""}', 400),
        (b'{"message": "  \\n"}', 400),
        (b'{"message": 7}', 400),
        (b'{"message": null}', 400),
        (b'{"message": "a", "chat_id": 7}', 400),
        (b'{"message": "a", "chat_id": ""}', 400),
        (b'{"message": "a", "message_id": "\\u0000"}', 400),
        (b'{"message": "a", "session_id": "telegram:1:1"}', 400),
        (b'{"message": "\xff"}', 400),
        (b'{"message": "\\ud800"}', 400),
        (b'{"message": ' + b"[" * 65 + b"]" * 65 + b"}", 400),
        (b'{"message": ' + b'[{"a":' * 50_000, 400),
        (b'{"message": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_a_bad_body_is_refused_with_words(gateway, data, status):
    async with gateway() as house:
        client = await house.browser()
        async with client.post("/api/chat", data=data) as answer:
            assert answer.status == status
            assert (await answer.json())["error"]
    assert house.agent.ran == []


async def test_a_body_over_the_limit_is_refused(gateway):
    async with gateway(limits={"body": 1000}) as house:
        client = await house.browser()
        async with client.post("/api/chat", data=b"x" * 5000) as answer:
            assert answer.status == 413
            assert await answer.json() == {"error": "The request is too large."}


async def test_a_full_queue_asks_to_wait(gateway):
    async with gateway(engine={"queue_per_session": 1}) as house:
        house.agent.hold = True
        client = await house.browser()
        socket = await house.connect(client)
        for text in ("first", "second"):
            await socket.send("user_input", content=text)
            await socket.quiet()
        async with client.post("/api/chat", json={"message": "third"}) as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) >= 1


async def test_a_shutdown_is_no_fault_of_the_sender(gateway):
    async with gateway() as house:
        client = await house.browser()
        await house.engine.drain(1)
        async with client.post("/api/chat", json={"message": "hello"}) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1


async def test_a_fault_of_ours_shows_a_number_and_nothing_else(gateway, monkeypatch, caplog):
    async with gateway() as house:
        client = await house.browser()

        async def broken(turn_id):
            raise RuntimeError("a canary")

        monkeypatch.setattr(house.engine, "answer", broken)
        status, body = await ask(client, message="hello")
    assert status == 500
    assert "canary" not in str(body)
    assert body["error"].split()[-1].rstrip(".") in caplog.text


# ---------------------------------------------------------------- history


async def test_history_is_what_was_said_with_its_tools(gateway):
    async with gateway() as house:
        client = await house.browser()
        await ask(client, message="tool", message_id="m1")
        async with client.get("/api/history") as answer:
            body = await answer.json()
    assert body["session_id"] == "web:main:1"
    question, reply = body["messages"]
    assert (question["role"], question["content"], question["message_id"]) == ("user", "tool", "m1")
    assert (reply["role"], reply["content"]) == ("assistant", "echo: tool")
    assert question["turn_id"] == reply["turn_id"] == "web::main:m1"
    assert reply["time"].endswith("+00:00")
    assert reply["model"] == "mirror"
    assert reply["tools"] == [
        {"call_id": "c1", "name": "clock", "arguments": "{}", "ok": True, "summary": "noon"}
    ]


async def test_history_shows_questions_that_are_not_answered_yet(gateway):
    async with gateway() as house:
        client = await house.browser()
        await ask(client, message="first")
        house.agent.hold = True
        house.agent.started.clear()
        socket = await house.connect(client)
        await socket.send("user_input", content="second", message_id="m2")
        await socket.send("user_input", content="third", message_id="m3")
        await socket.quiet()
        async with client.get("/api/history") as answer:
            messages = (await answer.json())["messages"]
    assert [each["content"] for each in messages] == ["first", "echo: first", "second", "third"]


async def test_messages_that_were_answered_together_stay_apart_in_history(gateway):
    async with gateway() as house:
        house.agent.hold = True
        client = await house.browser()
        socket = await house.connect(client)
        await socket.send("user_input", content="first", message_id="m1")
        await socket.until("turn_started")
        for n in (2, 3):
            await socket.send("user_input", content=f"more {n}", message_id=f"m{n}")
        await socket.quiet()
        house.agent.go.set()
        await socket.until("assistant_response", content="echo: more 2 + more 3")
        async with client.get("/api/history") as answer:
            messages = (await answer.json())["messages"]
    assert [(each["content"], each.get("message_id")) for each in messages] == [
        ("first", "m1"),
        ("echo: first", None),
        ("more 2", "m2"),
        ("more 3", "m3"),
        ("echo: more 2 + more 3", None),
    ]


async def test_a_request_is_told_which_turn_answered_its_message(gateway):
    async with gateway() as house, asyncio.TaskGroup() as group:
        house.agent.hold = True
        client = await house.browser()
        socket = await house.connect(client)
        await socket.send("user_input", content="first", message_id="m1")
        await socket.until("turn_started")
        await socket.send("user_input", content="more", message_id="m2")
        await socket.quiet()
        asking = group.create_task(ask(client, message="and more", message_id="m3"))
        async with asyncio.timeout(10):
            while house.engine._lanes.depth("web:main:1") < 2:
                await asyncio.sleep(0.005)
        house.agent.go.set()
        frame = await socket.until("assistant_response", content="echo: more + and more")
        _, body = await asking
    assert body["reply"] == frame["content"]
    assert body["turn_id"] == frame["turn_id"] == "web::main:m2"


async def test_slash_commands_leave_no_trace_in_history(gateway):
    async with gateway() as house:
        client = await house.browser()
        await ask(client, message="/info")
        async with client.get("/api/history") as answer:
            assert (await answer.json())["messages"] == []


async def test_history_of_a_chat_is_that_of_its_current_conversation(gateway):
    async with gateway() as house:
        client = await house.browser()
        await ask(client, message="here", chat_id="main")
        await ask(client, message="there", chat_id="work")
        async with client.get("/api/history", params={"chat_id": "work"}) as answer:
            body = await answer.json()
        assert body["session_id"] == "web:work:1"
        assert [each["content"] for each in body["messages"]] == ["there", "echo: there"]
        for chat_id in ("", "\x00", "x" * 201):
            async with client.get("/api/history", params={"chat_id": chat_id}) as answer:
                assert answer.status == 400


async def test_history_can_be_limited(gateway):
    async with gateway() as house:
        client = await house.browser()
        for n in range(4):
            await ask(client, message=str(n))
        async with client.get("/api/history", params={"limit": "3"}) as answer:
            messages = (await answer.json())["messages"]
        assert [each["content"] for each in messages] == ["echo: 2", "3", "echo: 3"]
        for limit in ("0", "-1", "x", "1001", "9" * 40, "²"):
            async with client.get("/api/history", params={"limit": limit}) as answer:
                assert answer.status == 400


# ---------------------------------------------------------------- files


async def test_a_picture_comes_back_as_it_was(gateway):
    async with gateway() as house:
        client = await house.browser()
        status, body = await upload(client, PNG, name="кот.png", kind="text/html")
        assert status == 200
        assert (body["media_type"], body["size"], body["name"]) == ("image/png", 58, "кот.png")
        async with client.get(f"/api/blob/{body['id']}") as answer:
            assert await answer.read() == PNG
            assert answer.content_type == "image/png"
            assert answer.headers["Content-Disposition"].startswith("inline")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_page_that_was_uploaded_is_only_ever_saved(gateway):
    async with gateway() as house:
        client = await house.browser()
        page = b"<script>alert(1)</script>"
        _, body = await upload(client, page, name="x'; evil=.svg", kind="image/svg+xml")
        async with client.get(f"/api/blob/{body['id']}") as answer:
            assert answer.content_type == "application/octet-stream"
            assert answer.headers["Content-Disposition"].startswith("attachment")


async def test_an_upload_has_its_limit(gateway):
    async with gateway(limits={"upload": 1000}) as house:
        client = await house.browser()
        status, body = await upload(client, b"x" * 1001)
        assert status == 413
        assert "1,000 bytes" in body["error"]
        status, _ = await upload(client, b"x" * 1000)
        assert status == 200


async def test_an_upload_without_a_file_is_refused(gateway):
    async with gateway() as house:
        client = await house.browser()
        assert (await upload(client, b"x", field="other"))[0] == 400
        assert (await upload(client, b""))[0] == 400
        async with client.post("/api/upload", data=b"x") as answer:
            assert answer.status == 400
        headers = {"Content-Type": "multipart/form-data"}
        async with client.post("/api/upload", data=b"x", headers=headers) as answer:
            assert answer.status == 400
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        async with client.post("/api/upload", data=b"--x\r\n", headers=headers) as answer:
            assert answer.status == 400


@pytest.mark.parametrize("end", ["", "\r\n", "\r\n--", "\r\n--c--\r\n"])
async def test_an_upload_that_was_cut_off_is_refused(gateway, end):
    head = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nwhole'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with gateway() as house:
        client = await house.browser()
        async with client.post(
            "/api/upload", data=f"{head}\r\n--b--\r\n", headers=headers
        ) as answer:
            assert (answer.status, (await answer.json())["size"]) == (200, 5)
        async with client.post("/api/upload", data=head + end, headers=headers) as answer:
            assert answer.status == 400


async def test_a_file_that_is_not_there_is_not_found(gateway):
    async with gateway() as house:
        client = await house.browser()
        for name in ("0" * 64, "nonsense", "../../etc/passwd"):
            async with client.get(f"/api/blob/{name}") as answer:
                assert answer.status == 404
