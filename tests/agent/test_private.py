"""What a rule keeps on this machine, over all the ways it could leave: the real program, a server
of the owner's and one elsewhere, and every byte that the latter received.
"""

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from famulus.app import assistant
from famulus.channels.console import inbound
from famulus.cli.local import Local, local
from famulus.core.loading import load
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_transcription import FakeTranscription
from famulus.testing.fake_vendor import Answer, Call, Fault

pytestmark = pytest.mark.anyio

SAID, ANSWERED = "MARIGOLD", "PERIWINKLE"
RULE = '[[router.rules]]\nclass = "local"\npattern = "#private"\n'
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
    b"\x1f\x15\xc4\x89" + SAID.encode()
)


class Parrot(FakeOllama):
    """Tells the secret whenever it was shown it."""

    def events(self, answer, body):
        if SAID in json.dumps(body) or ANSWERED in json.dumps(body):
            answer = structs.replace(answer, text=(*answer.text, f" I keep {ANSWERED} to myself."))
        return super().events(answer, body)


@dataclass
class House:
    """A program that is started and ended at will, and the servers that it can ask."""

    home: Path
    here: Parrot
    elsewhere: FakeOpenAI
    ears: FakeTranscription
    agent: str = 'model = "cloud"'
    router: str = 'simple = "small"'
    rules: str = RULE
    more: str = ""
    transcription: str = ""
    models: str = ""
    small: str = ""
    answers: list = field(default_factory=list)

    def configuration(self):
        return f"""
[providers.elsewhere]
type = "openai"
api_key = "{self.elsewhere.key}"
base_url = "{self.elsewhere.url}"
[providers.ears]
type = "openai"
api_key = "{self.ears.key}"
base_url = "{self.ears.url}"
[providers.here]
type = "ollama"
base_url = "{self.here.url}"
[models.cloud]
provider = "elsewhere"
id = "gpt-5.5"
{self.models}
[models.other]
provider = "elsewhere"
id = "gpt-5.4-mini"
[models.small]
provider = "here"
id = "llama3.2"
{self.small}
[transcription]
model = "ears/whisper-1"
{self.transcription}
[agent]
{self.agent}
[router]
{self.router}
{self.rules}
{self.more}
"""

    def loaded(self):
        path = self.home / "famulus.toml"
        path.write_text(self.configuration())
        return load(home=self.home, config=path, environment={})

    @asynccontextmanager
    async def running(self):
        async with asyncio.timeout(60), local(self.loaded(), self.home, show=None) as line:
            yield line

    @asynccontextmanager
    async def alive(self):
        """The program as a gateway runs it: it goes on with what it left."""
        async with asyncio.timeout(60), assistant(self.loaded(), home=self.home) as app:
            yield app

    async def say(self, line: Local, text: str, **how):
        reply = await line.ask(text, **how)
        self.answers.append(reply)
        self.check()
        return reply

    def file(self, name: str, content: bytes):
        path = self.home / name
        path.write_bytes(content)
        return path

    def check(self):
        sent = [received.raw for received in (*self.elsewhere.journal, *self.ears.journal)]
        for canary in (SAID, ANSWERED):
            assert not any(canary.encode() in raw for raw in sent)


@pytest.fixture
async def house(tmp_path):
    async with Parrot() as here, FakeOpenAI() as elsewhere, FakeTranscription() as ears:
        yield House(tmp_path, here, elsewhere, ears)


SECRET = f"#private my salary is {SAID}"


async def the_usual_way(house):
    async with house.running() as line:
        await house.say(line, SECRET)
        await house.say(line, "explain the moon")


async def a_model_elsewhere_is_chosen_afterwards(house):
    async with house.running() as line:
        await house.say(line, SECRET)
        await line.ask("/model other")
        await house.say(line, "explain the moon")


async def a_model_elsewhere_was_chosen_before(house):
    async with house.running() as line:
        await line.ask("/model other")
        reply = await house.say(line, SECRET)
        assert (reply.model, reply.failed) == ("llama3.2", False)
        assert ANSWERED in reply.content
        await house.say(line, "explain the moon")


async def one_question_names_its_model(house):
    async with house.running() as line:
        await house.say(line, SECRET, model="other")
        await house.say(line, "explain the moon", model="other")


async def the_local_model_fails(house):
    house.agent = 'model = "small"\nfallbacks = ["cloud"]'
    house.router = ""
    house.here.fail(*[Fault(status=500)] * 3)
    async with house.running() as line:
        reply = await line.ask(SECRET)
        assert reply.failed
        assert "A rule keeps this message on this machine, so no other model" in reply.content
        house.check()
        house.here.fail(*[Fault(status=500)] * 3)
        await house.say(line, "explain the moon")


async def the_local_model_fails_behind_a_router(house):
    house.here.fail(*[Fault(status=400)] * 3)
    async with house.running() as line:
        reply = await line.ask(SECRET)
        assert reply.failed
        await house.say(line, "explain the moon")


async def a_limit_brings_in_another_model(house):
    house.agent = 'model = "dear"'
    house.models = '[models.dear]\nprovider = "elsewhere"\nid = "gpt-5.5"\n'
    house.models += "price = { input = 1e6, output = 1e6 }"
    house.more = '[cost]\ndaily_limit_usd = 0.01\nover_limit = "free"\n'
    house.more += '[models.free]\nprovider = "elsewhere"\nid = "gpt-4.1-nano"\n'
    house.more += "price = { input = 0.0, output = 0.0 }"
    async with house.running() as line:
        await house.say(line, SECRET)
        await line.ask("/model dear")
        await house.say(line, SECRET)
        reply = await house.say(line, "explain the moon")
        assert reply.model.startswith("gpt-4.1-nano")


async def a_picture_that_only_a_model_elsewhere_can_see(house):
    house.agent = 'model = "small"\nvision = "cloud"'
    house.router = ""
    house.models = ""
    picture = house.file("p.png", PNG)
    house.here._capabilities = ("completion", "tools")
    async with house.running() as line:
        await line.ask(SECRET, attach=[picture])
        house.check()
        await line.ask("/model other")
        await house.say(line, "explain the moon")
        await line.ask("what is on it?", attach=[house.file("q.png", PNG[:45])])
        house.check()


async def files_come_with_it(house):
    notes = house.file("notes.txt", f"the code is {SAID}".encode())
    pdf = house.file("notes.pdf", b"%PDF-1.4 " + SAID.encode())
    async with house.running() as line:
        await house.say(line, "#private read this", attach=[notes, pdf, house.file("p.png", PNG)])
        assert SAID in str(house.here.journal[-1].body)
        house.elsewhere.say(
            Answer(calls=(Call("list_files", '{"path": "uploads"}'),)),
            Answer(calls=(Call("find_in_files", '{"pattern": "the code is"}', id="call_2"),)),
        )
        await house.say(line, "explain my files")
        await line.ask("/model other")
        await house.say(line, "explain the moon")


async def the_word_stands_in_a_file(house):
    notes = house.file("notes.txt", f"#private the code is {SAID}".encode())
    async with house.running() as line:
        house.here.say(Answer(text=(ANSWERED,)))
        reply = await line.ask("explain this", attach=[notes])
        assert reply.model == "llama3.2"
        await house.say(line, "explain the moon")


async def the_word_stands_far_down_in_a_file(house):
    harmless = "harmless words go on here\n" * 2000
    await a_file_is_asked_about(house, "long.txt", f"{harmless}#private {SAID}".encode())


async def the_word_stands_in_a_file_of_another_encoding(house):
    await a_file_is_asked_about(house, "a.txt", f"Gr\xfc\xdfe #private {SAID}".encode("latin-1"))
    await a_file_is_asked_about(house, "b.txt", f"Grüße #private {SAID}".encode("utf-16"))


async def the_word_is_the_name_of_a_picture(house):
    await a_file_is_asked_about(house, f"#private {SAID}.png", PNG)


async def its_letters_have_another_form(house):
    house.rules = RULE.replace("#private", "#gehälter")
    async with house.running() as line:
        for text in (f"#geha\u0308lter {SAID}", f"\uff03gehälter {SAID}"):
            reply = await house.say(line, text)
            assert reply.model == "llama3.2"
        await house.say(line, "explain the moon")
    await a_file_is_asked_about(house, f"#geha\u0308lter {SAID}.png", PNG)


async def a_file_is_asked_about(house, name, content):
    async with house.running() as line:
        house.here.say(Answer(text=(ANSWERED,)))
        reply = await line.ask("explain this", attach=[house.file(name, content)])
        assert reply.model == "llama3.2"
        house.elsewhere.say(Answer(calls=(Call("find_in_files", '{"pattern": "#private"}'),)))
        await house.say(line, "explain my files")


async def it_is_spoken(house):
    house.ears.say(Answer(text=("hash private it is me",)))
    house.rules = RULE.replace("#private", "hash private")
    house.transcription = "before_rules = true"
    sound = house.file("voice.ogg", b"OggS" + b"\0" * 100)
    async with house.running() as line:
        house.here.say(Answer(text=(ANSWERED,)))
        reply = await line.ask("listen", attach=[sound])
        assert reply.model == "llama3.2"
        await house.say(line, "explain the moon")


async def a_recording_may_hold_it(house):
    sound = house.file("voice.ogg", b"OggS" + SAID.encode() * 10)
    async with house.running() as line:
        reply = await line.ask("", attach=[sound])
        assert "transcription.before_rules" in reply.content
        await house.say(line, "explain the moon")
    assert house.ears.journal == []


async def a_recording_comes_with_it(house):
    sound = house.file("voice.ogg", b"OggS" + SAID.encode() * 10)
    async with house.running() as line:
        await house.say(line, "#private listen to this", attach=[sound])
        await house.say(line, "explain the moon")
    assert house.ears.journal == []


async def tools_are_used_on_the_way(house):
    arguments = f'{{"path": "diary.md", "content": "{SAID}"}}'
    house.here.say(
        Answer(calls=(Call("write_file", arguments),)),
        Answer(calls=(Call("read_file", '{"path": "diary.md"}', id="call_2"),)),
    )
    house.router += '\nlocal_tools = ["*"]'
    async with house.running() as line:
        await house.say(line, SECRET)
        await line.ask("/model other")
        await house.say(line, "explain the moon")


async def a_tool_says_more_than_fits(house):
    diary = house.home / "workspace" / "diary.md"
    diary.parent.mkdir()
    diary.write_text(f"I think of {SAID}. " * 5000)
    house.here.say(Answer(calls=(Call("read_file", '{"path": "diary.md"}'),)))
    house.router += '\nlocal_tools = ["read_*"]'
    house.small = "context_tokens = 4096"
    async with house.running() as line:
        await house.say(line, SECRET)
        result = str(house.here.journal[-1].body["messages"][-1])
        assert "is not kept" in result
        diary.unlink()
        call = Call("find_in_files", '{"pattern": "think of", "path": ".outputs"}')
        house.elsewhere.say(Answer(calls=(call,)))
        await house.say(line, "explain my files")
    assert not [*diary.parent.rglob("*.txt")]


async def a_plain_question_is_answered_from_it(house):
    house.agent = 'model = "small"\nfallbacks = ["cloud"]'
    house.router = ""
    async with house.running() as line:
        await house.say(line, SECRET)
        assert ANSWERED in (await line.ask("and what did I say?")).content
        await line.ask("/model cloud")
        await house.say(line, "explain the moon")


async def the_conversation_is_condensed(house):
    house.agent = 'model = "cloud"\nhistory_tokens = 2000'
    async with house.running() as line:
        for number in range(12):
            house.elsewhere.say(*[Answer(text=(f"It is so. {number} " * 60,))] * 2)
            await house.say(line, f"{SECRET} {number}" if number % 3 == 1 else f"explain {number}")
    condensed = [r.body for r in house.elsewhere.journal if "ondense" in str(r.body["messages"][0])]
    assert condensed


async def it_is_condensed_on_demand(house):
    async with house.running() as line:
        await house.say(line, f"explain the sun {'at length ' * 100}")
        await house.say(line, SECRET)
        await house.say(line, "explain the moon")
        house.elsewhere.say(Answer(text=("They spoke of the sun.",)))
        told = await line.ask("/compact")
        assert "are condensed to" in told.content
        house.check()
        await line.ask("/model other")
        await house.say(line, "explain the stars")


async def a_local_model_condenses_it(house):
    async with house.running() as line:
        await line.ask("/model small")
        await house.say(line, f"{SECRET} {'at length ' * 100}")
        await house.say(line, "explain the moon")
        told = await line.ask("/compact")
        assert "are condensed to" in told.content
        await line.ask("/model other")
        await house.say(line, "explain the stars")
        await line.ask("/compact")
        house.check()
        await house.say(line, "explain the stars again")


async def the_program_is_started_anew(house):
    async with house.running() as line:
        await house.say(line, SECRET)
    async with house.running() as line:
        await line.ask("/model other")
        await house.say(line, "explain the moon")


async def the_rule_is_taken_out(house):
    async with house.running() as line:
        await house.say(line, SECRET)
    house.rules = house.router = ""
    async with house.running() as line:
        await house.say(line, "explain the moon")
        await line.ask("/compact")
        house.check()


async def the_rule_is_taken_out_while_it_waits(house):
    house.more = "[engine]\ndrain_timeout = 0.1"
    house.here.fail(Fault(hang=True))
    async with house.alive() as app:
        asked = inbound(SECRET, session="web:main")
        accepted = await app.gate(asked)
        while not house.here.journal:
            await house.here.arrived()
    house.rules = house.router = ""
    async with house.alive() as app:
        answer = await app.engine.answer(accepted.turn_id)
        assert answer.failed
        assert "A rule keeps this message on this machine, but the model cloud" in answer.text
    async with house.running() as line:
        await house.say(line, "explain the moon")
    async with house.alive() as app:
        later = await app.gate(inbound("explain the moon", session="web:main"))
        await app.engine.answer(later.turn_id)


async def the_rule_is_added_later(house):
    house.rules, house.agent = "", 'model = "small"'
    async with house.running() as line:
        house.here.say(Answer(text=(ANSWERED,)))
        await line.ask(SECRET)
    house.rules, house.agent = RULE, 'model = "cloud"'
    async with house.running() as line:
        await house.say(line, "explain the moon")


async def messages_are_joined(house):
    async with house.running() as line:
        await together(house, line)
        await house.say(line, "explain the moon")


async def a_message_is_steered_into_a_turn(house):
    house.agent = 'model = "cloud"\nwhile_busy = "steer"'
    async with house.running() as line:
        await together(house, line)
        await line.ask("/model other")
        await house.say(line, "explain the moon")


async def together(house, line):
    """A turn elsewhere with a tool, and a private message that comes in the middle of it."""
    house.elsewhere.fail(Fault(first_byte_seconds=0.3))
    house.elsewhere.say(Answer(calls=(Call("list_files"),)), Answer(text=("Done.",)))
    house.here.say(*[Answer(text=(ANSWERED,))] * 2)
    async with asyncio.TaskGroup() as group:
        group.create_task(tell(line, "explain my files"))
        await house.elsewhere.arrived()
        for text in ("wait", SECRET, "that is all"):
            group.create_task(tell(line, text))
    house.check()


async def tell(line, text):
    """A message whose answer may be that of another one, too."""
    message = inbound(text)
    line._console.expect(message.turn_id)
    accepted = await line._app.gate(message)
    return await line._app.engine.answer(accepted.turn_id)


async def a_private_turn_is_stopped(house):
    house.here.fail(Fault(hang=True))
    async with house.running() as line:
        async with asyncio.TaskGroup() as group:
            group.create_task(tell(line, SECRET))
            await house.here.arrived()
            await line.ask("/stop")
        await house.say(line, "explain the moon")


async def an_answer_made_from_it_is_stopped(house):
    async with house.running() as line:
        await line.ask("/model small")
        await house.say(line, SECRET)
        house.here.say(Answer(text=(f"You spoke of {SAID}",)))
        house.here.fail(Fault(after_events=1, hang=True))
        async with asyncio.TaskGroup() as group:
            group.create_task(tell(line, "and what did I say?"))
            await house.here.arrived()
            await house.here.journal[-1].hanging.wait()
            await line.ask("/stop")
        await line.ask("/model other")
        await house.say(line, "explain the moon")


async def the_conversation_is_saved_as_a_file(house):
    async with house.running() as line:
        await house.say(line, SECRET)
        await house.say(line, "explain the moon")
        told = (await line.ask("/dump")).content
        assert "left out" in told
        path = told.split("`")[1]
        house.elsewhere.say(Answer(calls=(Call("read_file", f'{{"path": "{path}"}}'),)))
        await house.say(line, "explain the file")


WAYS = (
    the_usual_way,
    a_model_elsewhere_is_chosen_afterwards,
    a_model_elsewhere_was_chosen_before,
    one_question_names_its_model,
    the_local_model_fails,
    the_local_model_fails_behind_a_router,
    a_limit_brings_in_another_model,
    a_picture_that_only_a_model_elsewhere_can_see,
    files_come_with_it,
    the_word_stands_in_a_file,
    the_word_stands_far_down_in_a_file,
    the_word_stands_in_a_file_of_another_encoding,
    the_word_is_the_name_of_a_picture,
    its_letters_have_another_form,
    it_is_spoken,
    a_recording_may_hold_it,
    a_recording_comes_with_it,
    tools_are_used_on_the_way,
    a_tool_says_more_than_fits,
    a_plain_question_is_answered_from_it,
    the_conversation_is_condensed,
    it_is_condensed_on_demand,
    a_local_model_condenses_it,
    the_program_is_started_anew,
    the_rule_is_taken_out,
    the_rule_is_taken_out_while_it_waits,
    the_rule_is_added_later,
    messages_are_joined,
    a_message_is_steered_into_a_turn,
    a_private_turn_is_stopped,
    an_answer_made_from_it_is_stopped,
    the_conversation_is_saved_as_a_file,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_what_was_said_privately_reaches_no_model_elsewhere(house, way):
    await way(house)
    assert house.elsewhere.journal, "somebody elsewhere was asked"
    house.check()


STEPS = ("say it privately", "say something", "go there", "go here", "condense", "start anew")


@given(st.lists(st.sampled_from(STEPS), min_size=3, max_size=12))
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
async def test_no_order_of_steps_lets_it_out(steps):
    with tempfile.TemporaryDirectory() as home:
        async with Parrot() as here, FakeOpenAI() as elsewhere, FakeTranscription() as ears:
            house = House(Path(home), here, elsewhere, ears)
            house.agent = 'model = "cloud"\nhistory_tokens = 500'
            await walk(house, [*steps, "go there", "say something"])
            assert elsewhere.journal


async def walk(house, steps):
    while steps:
        async with house.running() as line:
            while steps and (step := steps.pop(0)) != "start anew":
                await take(house, line, step)


async def take(house, line, step):
    at_length = "at length " * 60
    house.here.forget()
    match step:
        case "say it privately":
            await house.say(line, f"{SECRET} {at_length}")
        case "say something":
            house.here.say(Answer(text=(at_length,)))
            house.elsewhere.forget()
            house.elsewhere.say(*[Answer(text=(at_length,))] * 2)
            await house.say(line, f"explain the moon {at_length}")
        case "go there":
            await line.ask("/model other")
        case "go here":
            await line.ask("/model small")
        case "condense":
            house.elsewhere.say(Answer(text=("They spoke.",)))
            await line.ask("/compact")
    house.check()


@pytest.mark.parametrize("chosen", ["cloud", "small"])
async def test_in_a_private_turn_no_tool_runs_that_the_owner_did_not_write_down(house, chosen):
    arguments = f'{{"path": "diary.md", "content": "{SAID}"}}'
    house.here.say(Answer(calls=(Call("write_file", arguments),)))
    async with house.running() as line:
        reply = await line.ask(SECRET, model=chosen)
        assert "write_file" not in json.dumps(house.here.journal[0].body["tools"])
        assert reply.failed
        assert "it called the tool write_file, which it does not have" in reply.content
        assert "router.local_tools" in reply.content
        assert not (house.home / "workspace" / "diary.md").exists()
        house.elsewhere.say(Answer(calls=(Call("find_in_files", '{"pattern": "."}'),)))
        await house.say(line, "explain my files")
    house.check()


async def test_a_local_model_writes_nothing_down_of_what_it_was_shown_before(house):
    arguments = f'{{"path": "diary.md", "content": "{SAID}"}}'
    async with house.running() as line:
        await line.ask("/model small")
        house.here.say(Answer(calls=(Call("write_file", '{"path": "a.md", "content": "a"}'),)))
        await house.say(line, "write it down")
        assert (house.home / "workspace" / "a.md").exists(), "nothing was private yet"
        house.here.forget()
        await house.say(line, SECRET)
        house.here.say(
            Answer(calls=(Call("write_file", arguments), Call("list_files", id="call_2")))
        )
        await house.say(line, "and what did I say? Write it down.")
        written, listed = (each["content"] for each in house.here.journal[-1].body["messages"][-2:])
        assert "router.local_tools" in written
        assert "a.md" in listed
        assert not (house.home / "workspace" / "diary.md").exists()


async def test_a_private_message_too_long_for_the_local_model_costs_the_other_nothing(house):
    house.agent = 'model = "cloud"\nhistory_tokens = 100_000'
    async with house.running() as line:
        for number in range(6):
            await house.say(line, f"explain {number} {'at length ' * 800}")
        whole = len(house.elsewhere.journal[-1].raw)
        assert whole > 48_000
        house.here.fail(*[TOO_LONG] * 4)
        await line.ask(f"{SECRET} {'at length ' * 800}")
        house.check()
        house.here.forget()
        await house.say(line, SECRET)
        await house.say(line, "explain the moon")
    assert len(house.elsewhere.journal[-1].raw) > whole


TOO_LONG = Fault(status=400, message="the prompt is too long: exceeds the context length")


async def test_a_local_model_with_a_small_window_still_sees_what_was_said_last(house):
    house.models = ""
    house.small = "context_tokens = 4096"
    async with house.running() as line:
        for number in range(6):
            await house.say(line, f"explain {number} {'at length ' * 60}")
        await house.say(line, SECRET)
        first = house.here.journal[-1].body["messages"]
        await house.say(line, SECRET)
        second = house.here.journal[-1].body["messages"]
        await house.say(line, "explain the moon")
    assert any("explain 5" in str(each["content"]) for each in first)
    assert not any("explain 0" in str(each["content"]) for each in first)
    assert second[: len(first)] == first, "the next request goes on where this one ended"
    assert "explain 0" in str(house.elsewhere.journal[-1].body), "the window did not move"


@pytest.mark.usefixtures("bwrap")
async def test_what_a_tool_had_found_when_its_private_turn_was_stopped_stays_here(house):
    workspace = house.home / "workspace"
    workspace.mkdir()
    (workspace / "diary.md").write_text(f"I think of {SAID}. " * 20)
    house.router += '\nlocal_tools = ["*"]'
    house.here.say(
        Answer(
            calls=(
                Call("read_file", '{"path": "diary.md"}'),
                Call("shell", '{"command": "touch started; sleep 60"}', id="call_2"),
            )
        )
    )
    async with house.running() as line:
        await house.say(line, f"explain the sun {'at length ' * 100}")
        async with asyncio.TaskGroup() as group:
            group.create_task(tell(line, SECRET))
            while not (workspace / "started").exists():
                await asyncio.sleep(0.01)
            await line.ask("/stop")
    house.rules = house.router = ""
    async with house.running() as line:
        await house.say(line, "explain the moon")
        house.elsewhere.say(Answer(text=("They spoke of the sun.",)))
        assert "are condensed to" in (await line.ask("/compact")).content
    house.check()
