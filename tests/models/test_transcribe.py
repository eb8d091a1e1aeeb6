import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Config, Cost, ModelEntry, Provider
from famulus.core.config import Transcription as Settings
from famulus.core.errors import (
    ConfigError,
    ModelError,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
    OverLimit,
    RateLimited,
)
from famulus.core.messages import Usage
from famulus.core.prices import Price
from famulus.core.protocols import Caller, ModelCard, Transcript
from famulus.core.settings import Seconds, Secret, Size
from famulus.models.heard import Heard
from famulus.models.named import Models
from famulus.models.transcribe import Transcription
from famulus.models.transcribe_local import LocalWhisper, load
from famulus.state.budget import Budget
from famulus.store.sqlite import SQLite
from famulus.testing.fake_transcription import FakeTranscription
from famulus.testing.fake_vendor import Answer, Fault

SOUND = b"OggS\x00\x01\r\n--\r\n\xff"
WHISPER = ModelCard(name="whisper", id="whisper-large-v3-turbo", provider="groq")
BY_TOKENS = msgspec.structs.replace(WHISPER, id="gpt-4o-mini-transcribe", provider="openai")
pytestmark = pytest.mark.anyio


@pytest.fixture
async def vendor() -> AsyncIterator[FakeTranscription]:
    async with FakeTranscription() as vendor:
        yield vendor


def build(
    vendor: FakeTranscription,
    session: aiohttp.ClientSession,
    card: ModelCard = WHISPER,
    entry: ModelEntry | None = None,
    **provider: Any,
) -> Heard:
    fields = {"api_key": Secret(vendor.key), "base_url": vendor.url, "timeout": Seconds(5)}
    wire = Transcription(card, Provider(**(fields | provider)), entry or ModelEntry(), session)
    return Heard(wire, max_bytes=1000)


async def heard(
    transcriber: Any,
    audio: bytes = SOUND,
    *,
    media_type: str = "audio/ogg",
    name: str = "voice.ogg",
) -> Transcript:
    async with asyncio.timeout(10):
        answer: Transcript = await transcriber.transcribe(
            audio, media_type=media_type, name=name, caller=Caller(kind="transcription")
        )
        return answer


async def test_recording_becomes_text_and_seconds(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    vendor.say(Answer(text=(" Buy milk. ",)))
    transcript = await heard(build(vendor, session))
    assert transcript.text == "Buy milk."
    assert transcript.usage == Usage(audio_seconds=4.5)
    body = vendor.journal[0].body
    assert body["file"] == {"name": "voice.ogg", "media_type": "audio/ogg", "data": SOUND}
    assert body["response_format"] == "verbose_json"


async def test_recording_that_comes_again_is_not_paid_again(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    vendor.say(Answer(text=("Buy milk.",)), Answer(text=("Buy bread.",)))
    transcriber = build(vendor, session)
    told = [await heard(transcriber, sound) for sound in (SOUND, SOUND, SOUND + b"!")]
    assert [each.text for each in told] == ["Buy milk.", "Buy milk.", "Buy bread."]
    assert [bool(each.usage.audio_seconds) for each in told] == [True, False, True]
    assert len(vendor.journal) == 2


async def test_short_recording_costs_what_groq_bills_at_least(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    transcript = await heard(build(vendor, session, type="groq"))
    assert transcript.usage.audio_seconds == 10


async def test_model_that_counts_tokens_is_paid_by_tokens(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    vendor.say(Answer(text=("Hi.",), input_tokens=40, output_tokens=3))
    transcript = await heard(build(vendor, session, BY_TOKENS))
    assert transcript.usage == Usage(input_tokens=40, output_tokens=3, audio_tokens=38)


@pytest.mark.parametrize("card", [WHISPER, BY_TOKENS], ids=["whisper", "tokens"])
async def test_our_form_is_that_of_the_vendors_own_client(
    vendor: FakeTranscription, session: aiohttp.ClientSession, card: ModelCard
) -> None:
    format_: Any = "verbose_json" if card is WHISPER else "json"
    vendor.say(Answer(text=("One.",)), Answer(text=("One.",)))
    async with openai.AsyncOpenAI(api_key=vendor.key, base_url=vendor.url, max_retries=0) as client:
        theirs = await client.audio.transcriptions.create(
            file=("voice.ogg", SOUND, "audio/ogg"),
            model=card.id,
            response_format=format_,
            language="de",
            temperature=0.2,
        )
    entry = ModelEntry(temperature=0.2, parameters={"language": "de"})
    ours = await heard(build(vendor, session, card, entry))
    assert ours.text == theirs.text
    assert vendor.journal[0].body == vendor.journal[1].body


@pytest.mark.parametrize(
    ("name", "media_type", "sent"),
    [
        ("voice.webm", "audio/webm", "voice.webm"),
        ("voice", "audio/mp4", "voice.m4a"),
        ("", "audio/mpeg", "recording.mp3"),
        ("Memo 12: Ärger.oga", "audio/ogg", "Memo_12_rger.oga.ogg"),
        ('a"b\r\nX: y.wav', "audio/wav", "a_b_X_y.wav"),
    ],
)
async def test_name_is_plain_and_tells_the_format(
    vendor: FakeTranscription,
    session: aiohttp.ClientSession,
    name: str,
    media_type: str,
    sent: str,
) -> None:
    await heard(build(vendor, session), name=name, media_type=media_type)
    assert vendor.journal[0].body["file"]["name"] == sent


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401, kind="invalid_api_key"), ModelUnauthorized),
        (Fault(status=400, message="Invalid file format."), ModelRejected),
        (Fault(status=429, headers={"retry-after": "7"}), RateLimited),
        (Fault(status=503), ModelUnavailable),
        (Fault(body=b"{]"), ModelUnavailable),
        (Fault(body=b'{"words": []}'), ModelUnavailable),
        (Fault(body=b'{"text": "a", "duration": "long"}'), ModelUnavailable),
        (Fault(status=200, body=b"<html>", content_type="text/html"), ModelUnavailable),
        (Fault(latency_seconds=60), ModelUnavailable),
    ],
)
async def test_failure_is_of_the_right_kind_and_keeps_the_key_to_itself(
    vendor: FakeTranscription,
    session: aiohttp.ClientSession,
    fault: Fault,
    kind: type[ModelError],
) -> None:
    vendor.fail(fault)
    with pytest.raises(kind) as caught:
        await heard(build(vendor, session, timeout=Seconds(0.2)))
    assert vendor.key not in str(caught.value)


async def test_cancelling_closes_the_connection(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(latency_seconds=60))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(heard(build(vendor, session)))
        await vendor.arrived()
        task.cancel()
        await vendor.journal[0].closed_early.wait()


async def test_recording_that_is_too_large_is_not_sent(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(ModelRejected, match=r"1,001 bytes.*transcription.max_size"):
        await heard(build(vendor, session), b"x" * 1001)
    assert not vendor.journal


# ---------------------------------------------------------------- which one


class Hurried(Clock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def models(environment: dict[str, str], session: Any = None, **given: Any) -> Models:
    return Models(
        Config(**given), session=lambda: session, clock=Hurried(), environment=environment
    )


def listener(environment: dict[str, str], **given: Any) -> tuple[str, str] | None:
    transcriber = models(environment, **given).transcriber()
    return (transcriber.card.provider, transcriber.card.id) if transcriber else None  # type: ignore[attr-defined]


KEY = Secret("k")
GROQ, OPENAI = {"GROQ_API_KEY": "g"}, {"OPENAI_API_KEY": "o"}
TURBO = "whisper-large-v3-turbo"


@pytest.mark.parametrize(
    ("environment", "given", "expected"),
    [
        ({}, {}, None),
        (GROQ, {}, ("groq", TURBO)),
        (OPENAI, {}, ("openai", "gpt-4o-mini-transcribe")),
        (GROQ | OPENAI, {}, ("groq", TURBO)),
        (GROQ, {"transcription": Settings(enabled=False)}, None),
        (
            {},
            {"providers": {"quick": Provider(type="groq", api_key=Secret("x"))}},
            ("quick", TURBO),
        ),
        ({}, {"providers": {"mine": Provider(api_key=Secret("x"), base_url="http://x/v1")}}, None),
        (OPENAI, {"transcription": Settings(model="openai/whisper-1")}, ("openai", "whisper-1")),
        (GROQ, {"transcription": Settings(model="local//models/w")}, ("local", "/models/w")),
    ],
)
async def test_whoever_has_a_key_listens(
    environment: dict[str, str], given: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    assert listener(environment, **given) == expected


@pytest.mark.parametrize(
    ("model", "said"),
    [("groq/whisper-1", "GROQ_API_KEY"), ("anthropic/claude-x", "type anthropic, which cannot")],
)
async def test_listener_that_cannot_be_used_is_told_at_the_start(model: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        models({"ANTHROPIC_API_KEY": "a"}, transcription=Settings(model=model)).transcriber()


async def test_bad_moment_is_tried_again_and_language_and_size_are_set(
    vendor: FakeTranscription, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(status=503), Fault(status=429))
    transcriber = models(
        {},
        session,
        providers={"mine": Provider(api_key=Secret(vendor.key), base_url=vendor.url)},
        models={"ears": ModelEntry(provider="mine", id="whisper-1")},
        transcription=Settings(model="ears", language="de", max_size=Size(20)),
    ).transcriber()
    assert (await heard(transcriber)).text == "Hello."
    assert [each.status for each in vendor.journal] == [503, 429, 200]
    assert vendor.journal[2].body["language"] == "de"
    with pytest.raises(ModelRejected, match="max_size"):
        await heard(transcriber, b"x" * 21)


async def test_recording_is_booked_by_the_minute_and_kept_within_limits(
    vendor: FakeTranscription, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    clock = Clock()
    price = Price(input=0, output=0, minute=0.6)
    entries = {"ears": ModelEntry(provider="mine", id="whisper-1", price=price)}
    cost = Cost(daily_limit_usd=0.05)
    config = Config(
        providers={"mine": Provider(api_key=Secret(vendor.key), base_url=vendor.url)},
        models=entries,
        transcription=Settings(model="ears"),
        cost=cost,
    )
    async with SQLite(tmp_path / "famulus.db") as database:
        async with Budget(database, cost, clock=clock) as budget:
            transcriber = Models(
                config, session=lambda: session, clock=clock, environment={}, budget=budget
            ).transcriber()
            assert (await heard(transcriber)).usage.cost_usd == pytest.approx(0.045)
            with pytest.raises(OverLimit):
                await heard(transcriber, SOUND * 1000)
        (row,) = await database.fetch("select kind, model, cost_nano from spending")
    assert (row["kind"], row["model"], row["cost_nano"]) == (
        "transcription",
        "whisper-1",
        45_000_000,
    )
    assert len(vendor.journal) == 1


# ---------------------------------------------------------------- on this machine


class FakeWhisper:
    """Works like faster-whisper's model: segments are made when they are asked for."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.segments = 0

    def load(self, name: str) -> "FakeWhisper":
        if name == "missing":
            raise FileNotFoundError("no snapshot")
        self.loaded.append(name)
        return self

    def transcribe(self, file: Any, **options: Any) -> Any:
        self.calls.append(options)
        if file.read() == b"noise":
            raise ValueError("Invalid data found when processing input")
        return self._segments(), SimpleNamespace(duration=3.5, language="en")

    def _segments(self) -> Any:
        for text in (" Buy", " milk."):
            self.asked.set()
            self.go_on.wait(10)
            self.segments += 1
            yield SimpleNamespace(text=text)


def local(whisper: FakeWhisper, name: str = "small", **parameters: Any) -> Heard:
    card = ModelCard(name="local/x", id=name, provider="local", local=True)
    entry = ModelEntry(parameters=parameters)
    wire = LocalWhisper(card, Provider(type="local"), entry, None, load=whisper.load)
    return Heard(wire, max_bytes=1000)


async def test_local_model_is_loaded_once_and_hears() -> None:
    whisper = FakeWhisper()
    whisper.go_on.set()
    transcriber = local(whisper, language="en", beam_size=2)
    assert await heard(transcriber) == Transcript("Buy milk.", Usage(audio_seconds=3.5))
    await heard(transcriber, SOUND + b"!")
    assert whisper.calls == [{"language": "en", "beam_size": 2}] * 2
    assert whisper.loaded == ["small"]


async def test_local_model_stops_after_the_sentence_when_it_is_cancelled() -> None:
    whisper = FakeWhisper()
    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(heard(local(whisper)))
            await asyncio.to_thread(whisper.asked.wait, 10)
            task.cancel()
        whisper.go_on.set()
        await asyncio.get_running_loop().shutdown_default_executor()
    assert whisper.segments == 1


async def test_local_model_that_is_not_there_is_an_error_that_says_where_to_put_it() -> None:
    with pytest.raises(ModelRejected, match=r'no Whisper model "missing".*transcription.model'):
        await heard(local(FakeWhisper(), "missing"))


async def test_noise_for_the_local_model_is_an_error() -> None:
    with pytest.raises(ModelRejected, match="cannot be read: Invalid data"):
        await heard(local(FakeWhisper()), b"noise")


async def test_real_local_model_is_missing_or_not_installed() -> None:
    """Also where faster-whisper is installed there is no model, and none is fetched."""
    card = ModelCard(name="local/x", id="/no/such/folder", provider="local", local=True)
    wire = LocalWhisper(card, Provider(type="local"), ModelEntry(), None, load=load)
    with pytest.raises(ModelRejected, match=r"famulus\[stt\]|no Whisper model"):
        await heard(Heard(wire, max_bytes=1000))
