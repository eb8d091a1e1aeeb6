"""The one way in, on a real database with an engine that only notes what it is given."""

from datetime import UTC, datetime

import msgspec
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Limits
from famulus.core.errors import Invalid, TooLarge
from famulus.core.messages import File, Image, Inbound, Origin, Text
from famulus.core.protocols import Accepted
from famulus.core.settings import Size
from famulus.gateway.gate import Gate, is_command
from famulus.state.people import People
from famulus.state.sessions import Sessions
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio


class Noting:
    def __init__(self):
        self.taken = []

    async def accept(self, inbound, *, session, lane=""):
        self.taken.append((inbound, session, lane))
        return Accepted(inbound.turn_id, session)

    async def answer(self, turn_id):
        return None


@pytest.fixture
async def gate(tmp_path):
    async with SQLite(tmp_path / "famulus.db") as database:
        clock, engine = Clock(), Noting()
        built = Gate(
            engine=engine,
            people=People(database, clock=clock),
            sessions=Sessions(database, clock=clock),
            limits=Limits(message=Size(100), attachments=1),
        )
        yield built, engine


def message(text="hi", *, channel="web", parts=(), **fields):
    fields = {"chat_id": "main", "sender_id": "7", "message_id": "m1"} | fields
    return Inbound(
        channel=channel,
        parts=(Text(text, Origin.OUTSIDE), *parts),
        at=datetime.now(UTC),
        **fields,
    )


async def test_a_message_gets_a_person_a_session_and_a_correlation_id(gate):
    through, engine = gate
    accepted = await through(message())
    inbound, session, lane = engine.taken[0]
    assert accepted.session == session == "web:main:1"
    assert (inbound.person, inbound.dialog_id, lane) == ("owner", "1", "")
    assert len(inbound.correlation_id) == 12


async def test_what_is_said_has_the_origin_of_who_says_it(gate):
    through, engine = gate
    picture = Image("0" * 64, "image/png", Origin.OUTSIDE)
    await through(message(parts=[picture]))
    await through(message(channel="telegram", sender_name="Ann"))
    owner, guest = (inbound for inbound, _, _ in engine.taken)
    assert [part.origin for part in owner.parts] == [Origin.OWNER, Origin.OUTSIDE]
    assert [part.origin for part in guest.parts] == [Origin.GUEST]
    assert guest.person == "telegram:7"


async def test_what_is_spoken_is_the_senders_and_a_file_is_not(gate):
    through, engine = gate
    voice = File("0" * 64, "audio/ogg", Origin.OWNER, "voice.ogg")
    music = msgspec.structs.replace(voice, origin=Origin.OUTSIDE)
    await through(message("", parts=[voice], message_id="m1"))
    await through(message("", channel="telegram", parts=[voice], message_id="m2"))
    await through(message("", parts=[music], message_id="m3"))
    origins = [inbound.parts[1].origin for inbound, _, _ in engine.taken]
    assert origins == [Origin.OWNER, Origin.GUEST, Origin.OUTSIDE]


async def test_a_chat_keeps_its_dialog_and_can_name_another(gate):
    through, engine = gate
    await through(message())
    await through(message(message_id="m2", dialog_id="9"))
    await through(message(message_id="m3"))
    assert [session for _, session, _ in engine.taken] == ["web:main:1", "web:main:9", "web:main:1"]


async def test_a_command_has_a_lane_of_its_own(gate):
    through, engine = gate
    await through(message("/stop"))
    assert engine.taken[0][1:] == ("web:main:1", "!web:main")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/stop", True),
        ("  /new a title", True),
        ("/?", True),
        ("/help", True),
        ("/etc/hosts is a file", False),
        ("/", False),
        ("/ stop", False),
        ("//comment", False),
        ("/1", False),
        ("stop /stop", False),
        ("", False),
    ],
)
def test_what_a_command_is(text, command):
    assert is_command(message(text)) is command


@pytest.mark.parametrize(
    ("inbound", "error", "words"),
    [
        (message("x" * 101), TooLarge, "101 bytes; the most I take is 100"),
        (message("é" * 51), TooLarge, "102 bytes"),
        (message("  \n"), Invalid, "empty"),
        (message(message_id=""), Invalid, "message_id"),
        (message(message_id="a\nb"), Invalid, "message_id"),
        (message(message_id="x" * 201), Invalid, "message_id"),
        (message(chat_id="\x1b[2J"), Invalid, "chat_id"),
        (message(dialog_id="a:b"), Invalid, "colon"),
        (
            message(parts=[Image("0" * 64, "image/png", Origin.OUTSIDE)] * 2),
            TooLarge,
            "2 attachments",
        ),
    ],
)
async def test_a_limit_says_what_it_is(gate, inbound, error, words):
    through, engine = gate
    with pytest.raises(error, match=words):
        await through(inbound)
    assert engine.taken == []


async def test_a_picture_needs_no_words(gate):
    through, engine = gate
    await through(message("", parts=[Image("0" * 64, "image/png", Origin.OUTSIDE)]))
    assert len(engine.taken) == 1
