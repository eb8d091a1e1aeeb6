"""Whatever ends a command or the gateway it waits on, the next command answers at once."""

import asyncio
import json
import signal
import sys

import pytest

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
