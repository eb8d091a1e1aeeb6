"""Whatever ends a command or the gateway it waits on, the next command answers at once."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from contextlib import closing

import aiohttp
import pytest

from famulus.testing.fake_vendor import Answer, Fault

pytestmark = pytest.mark.anyio

SECONDS = 30


async def answers_at_once(house):
    """The next commands are answered by the model, and it is asked nothing else."""
    asked = len(house.model.journal)
    for arguments in (("next",), ("--session", "other", "next"), ("/info",)):
        code, said, errors = await house.famulus("ask", *arguments)
        assert (code, errors) == (0, ""), errors
        assert said
    assert await house.famulus("chat", text="next\n") == (0, "Hello.\n", "")
    assert len(house.model.journal) == asked + 3


async def hung(house, *arguments):
    """An `ask` whose answer stopped in the middle; its process and the request."""
    house.hang()
    process = await house.start("ask", *arguments, "a long question")
    request = await house.asked()
    await request.hanging.wait()
    return process, request


async def test_an_ask_that_was_killed_holds_up_nobody(house):
    process, _ = await hung(house)
    process.kill()
    await process.wait()
    await answers_at_once(house)


@pytest.mark.parametrize("through", ["here", "gateway"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_the_answer_at_once_and_holds_up_nobody(house, number, through):
    if through == "gateway":
        gateway = await house.serve()
    process, request = await hung(house)
    process.send_signal(number)
    async with asyncio.timeout(SECONDS):
        await request.closed_early.wait()
        assert await process.communicate() == (b"", b"")
    assert process.returncode == 128 + number
    await answers_at_once(house)
    if through == "gateway":
        gateway.terminate()
        await gateway.wait()
        await answers_at_once(house)


async def test_the_words_of_timeout_1_end_an_ask(house):
    house.hang()
    process = await asyncio.create_subprocess_exec(
        *("timeout", str(4 * SECONDS), sys.executable, "-m", "famulus", "ask", "long"),
        cwd=house.path,
        env={"PATH": os.environ["PATH"], "FAMULUS_HOME": str(house.path)},
    )
    request = await house.asked()
    async with asyncio.timeout(SECONDS):
        await request.hanging.wait()
        process.send_signal(signal.SIGALRM)  # as its own clock does when the time is over
        assert await process.wait() == 124
    await answers_at_once(house)


async def test_a_signal_that_was_told_to_be_ignored_is(house):
    process = await house.start(
        "ask", "hello", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    house.model.say(Answer(text=("Hi.",)))
    house.model.fail(Fault(first_byte_seconds=0.5))
    await house.asked()
    process.send_signal(signal.SIGHUP)
    out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert (process.returncode, out) == (0, b"Hi.\n")


async def test_ctrl_c_on_a_question_that_waits_behind_another_stops_only_itself(house):
    house.configure(agent={"while_busy": "queue"})
    await house.serve()
    first, request = await hung(house)
    second = await house.start("ask", "second")
    await until(house, "select count(*) from turn", 2)
    second.send_signal(signal.SIGINT)
    await asyncio.wait_for(second.wait(), SECONDS)
    assert second.returncode == 130
    assert not request.closed_early.is_set()
    first.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(first.wait(), SECONDS) == 130


async def until(house, query, value):
    """Wait until the database says so."""
    async with asyncio.timeout(SECONDS):
        while True:
            with closing(sqlite3.connect(house.path / "famulus.db")) as database:
                if database.execute(query).fetchone() == (value,):
                    return
            await asyncio.sleep(0.02)


async def test_a_killed_question_is_not_asked_again_and_stands_in_the_conversation(house):
    process, _ = await hung(house)
    process.kill()
    await process.wait()
    await house.famulus("ask", "next")
    assert len(house.model.journal) == 2
    _, shown, _ = await house.famulus("sessions", "show", "console:main", "--json")
    said = [(each["role"], each["content"]) for each in json.loads(shown)["messages"]]
    assert [role for role, _ in said] == ["user", "assistant"] * 2
    assert (said[0][1], said[2][1]) == ("a long question", "next")
    assert "may be done already" in said[1][1]  # what a killed tool call did is not known
    # What the model saw is a whole conversation too.
    roles = [each["role"] for each in house.model.journal[-1].body["messages"]]
    assert roles[1:] == ["user", "assistant", "user"]


async def test_a_gateway_that_was_killed_under_an_ask_holds_up_nobody(house):
    gateway = await house.serve()
    process, _ = await hung(house)
    gateway.kill()
    _, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 1
    assert "The gateway ended the connection." in errors.decode()
    await answers_at_once(house)


async def test_what_a_dead_gateway_had_accepted_is_answered_by_the_next_one(house):
    """Though commands did without a gateway meanwhile."""
    gateway = await house.serve()
    process, _ = await hung(house)
    gateway.kill()
    await asyncio.wait_for(process.communicate(), SECONDS)
    await answers_at_once(house)
    asked = len(house.model.journal)
    await house.serve()
    again = await house.asked(asked + 1)
    assert "a long question" in again.body["messages"][-1]["content"]
    await until(house, "select count(*) from turn where status in ('waiting', 'running')", 0)
    _, shown, _ = await house.famulus("sessions", "show", "console:main", "--json")
    said = [each["content"] for each in json.loads(shown)["messages"]]
    assert said[said.index("a long question") + 1] == "Hello."


async def test_an_ask_that_died_before_the_gateway_stopped_holds_up_nobody(house):
    house.configure(engine={"drain_timeout": "0.2s"})
    gateway = await house.serve()
    process, _ = await hung(house)
    process.kill()
    await process.wait()
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), SECONDS) == 0
    await answers_at_once(house)


async def test_an_answer_that_found_nobody_holds_up_nobody(house):
    """The gateway finished what the ask had left for, and stopped."""
    gateway = await house.serve()
    process, _ = await hung(house)
    process.kill()
    await process.wait()
    await house.famulus("ask", "/stop")
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), SECONDS) == 0
    await answers_at_once(house)


async def test_turns_of_other_channels_wait_for_the_gateway(house):
    house.configure(engine={"drain_timeout": "0s"})
    gateway = await house.serve()
    house.hang()
    message = (
        "import json, urllib.request as u\n"
        "g = json.load(open('gateway.json'))\n"
        "u.urlopen(u.Request(g['url'] + '/api/chat', json.dumps({'message': 'web'}).encode(),"
        " {'Authorization': 'Bearer ' + g['token']}))\n"
    )
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", message, cwd=house.path, stderr=asyncio.subprocess.DEVNULL
    )
    await (await house.asked()).hanging.wait()
    gateway.send_signal(signal.SIGTERM)
    await gateway.wait()
    await client.wait()
    assert await house.famulus("ask", "mine") == (0, "Hello.\n", "")
    (asked,) = house.model.journal[1:]
    assert "mine" in asked.body["messages"][-1]["content"]
    await house.serve()
    again = await house.asked(3)
    assert "web" in again.body["messages"][-1]["content"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
async def test_a_gateway_lets_an_answer_end_and_leaves_no_file(house, number):
    gateway = await house.serve()
    house.model.say(Answer(text=("At ", "last.")))
    house.model.fail(Fault(first_byte_seconds=0.7))
    process = await house.start("ask", "hello")
    await house.asked()
    gateway.send_signal(number)
    assert await asyncio.wait_for(process.communicate(), SECONDS) == (b"At last.\n", b"")
    assert await asyncio.wait_for(gateway.wait(), SECONDS) == 0
    assert not (house.path / "gateway.json").exists()


async def test_a_second_signal_ends_the_gateway_at_once_and_leaves_no_file(house):
    gateway = await house.serve()
    await hung(house)
    gateway.terminate()
    while not (await gateway.stdout.readline()).startswith(b"Famulus is shutting down"):
        pass
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), SECONDS) == 1
    assert not (house.path / "gateway.json").exists()


async def test_signals_that_nobody_meant_for_it_do_not_end_a_gateway(house):
    gateway = await house.serve()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        gateway.send_signal(number)
    assert await house.famulus("ask", "hello") == (0, "Hello.\n", "")


async def test_a_gateway_drains_once(house):
    house.configure(engine={"drain_timeout": "0.3s"})
    gateway = await house.start("serve")
    while not (await gateway.stdout.readline()).startswith(b"Famulus is ready"):
        pass
    await hung(house)
    gateway.terminate()
    _, log = await asyncio.wait_for(gateway.communicate(), SECONDS)
    assert gateway.returncode == 0
    assert log.count(b"turns will resume at the next start") == 1


async def test_a_gateway_whose_output_is_full_runs(house):
    gateway = await house.start(
        "serve", stdout=os.open("/dev/full", os.O_WRONLY), stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(SECONDS):
        while not (house.path / "gateway.json").exists():
            assert gateway.returncode is None
            await asyncio.sleep(0.02)
    assert await house.famulus("ask", "hello") == (0, "Hello.\n", "")
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), SECONDS) == 0


async def said(chat, text):
    """Type a line; the next line of the answer."""
    chat.stdin.write(text)
    await chat.stdin.drain()
    async with asyncio.timeout(SECONDS):
        return await chat.stdout.readline()


async def test_a_chat_goes_on_when_the_gateway_comes_and_goes(house):
    gateway = await house.serve()
    chat = await house.start("chat", stdin=asyncio.subprocess.PIPE)
    assert await said(chat, b"one\n") == b"Hello.\n"
    gateway.terminate()
    await gateway.wait()
    assert await said(chat, b"two\n") == b"Hello.\n"
    gateway = await house.serve()
    assert await said(chat, b"three\n") == b"Hello.\n"
    gateway.kill()
    await gateway.wait()
    assert await said(chat, b"four\n") == b"Hello.\n"
    chat.stdin.close()
    errors = (await asyncio.wait_for(chat.stderr.read(), SECONDS)).decode().splitlines()
    assert errors == [
        "(The gateway is gone; this process answers now.)",
        "(This process is gone; the gateway answers now.)",
        "(The gateway is gone; this process answers now.)",
    ]
    _, shown, _ = await house.famulus("sessions", "show", "console:main:1", "--json")
    asked = [each["content"] for each in json.loads(shown)["messages"] if each["role"] == "user"]
    assert asked == ["one", "two", "three", "four"]  # and without the ends of their lines


async def test_a_chat_that_waits_for_a_line_keeps_nobody_out(house):
    chat = await house.start("chat", stdin=asyncio.subprocess.PIPE)
    assert await said(chat, b"one\n") == b"Hello.\n"
    assert await house.famulus("ask", "two") == (0, "Hello.\n", "")
    await house.serve()
    assert await said(chat, b"three\n") == b"Hello.\n"


async def test_a_gateway_waits_for_the_command_that_is_answering(house):
    house.model.say(Answer(text=("Slow.",)))
    house.model.fail(Fault(first_byte_seconds=1.5))
    process = await house.start("ask", "hello")
    await house.asked()
    await house.serve()
    assert await asyncio.wait_for(process.communicate(), SECONDS) == (b"Slow.\n", b"")


async def test_a_second_gateway_is_refused_at_once(house):
    await house.serve()
    code, out, errors = await house.famulus("serve")
    assert (code, out) == (1, "")
    assert "Another Famulus (process " in errors


async def test_an_empty_answer_is_none(house):
    house.model.say(Answer(text=()))
    code, out, errors = await house.famulus("ask", "hello")
    assert (code, out) == (1, "")
    assert "empty answer" in errors


async def test_a_client_is_told_which_model_answers(house):
    await house.serve()
    gateway = json.loads((house.path / "gateway.json").read_text())
    headers = {"Authorization": f"Bearer {gateway['token']}"}
    async with (
        aiohttp.ClientSession(gateway["url"], headers=headers) as client,
        client.ws_connect("/ws") as socket,
    ):
        greeting = await socket.receive_json(timeout=SECONDS)
    assert (greeting["type"], greeting["model"]) == ("session_established", "fake/thinker")


async def test_a_gateway_can_be_asked_while_the_configuration_is_broken(house):
    await house.serve()
    house.configure(agent={"nmae": "x"})
    assert await house.famulus("ask", "hello") == (0, "Hello.\n", "")
    code, out, errors = await house.famulus("status")
    assert code == 1
    assert "gateway   http://127.0.0.1:" in out
    assert "agent.nmae is not a setting" in errors
