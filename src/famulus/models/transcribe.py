"""OpenAI's transcription API, and whoever speaks it: Groq, vLLM, speaches, …

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import File, Origin, Text, Usage
from famulus.core.protocols import Chunk, Done, ModelCard, Request
from famulus.models.heard import recording_of
from famulus.models.http import Endpoint

_VENDOR = "https://api.openai.com/v1"
# Groq counts a shorter recording as one of ten seconds: https://groq.com/pricing
_LEAST_SECONDS = {"groq": 10.0}
# The vendors tell the format by the name's ending, and refuse one that they do not know.
_ENDINGS = {
    "audio/flac": "flac", "audio/x-flac": "flac",
    "audio/mpeg": "mp3", "audio/mp3": "mp3",
    "audio/mp4": "m4a", "audio/m4a": "m4a", "audio/x-m4a": "m4a", "audio/aac": "m4a",
    "audio/ogg": "ogg", "audio/opus": "ogg",
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav",
    "audio/webm": "webm", "video/webm": "webm",
}  # fmt: skip
_KNOWN_ENDINGS = frozenset({*_ENDINGS.values(), "mp4", "mpeg", "mpga"})


class _InputDetails(Struct):
    audio_tokens: int | None = None


class _Usage(Struct):
    """Tokens or seconds, by the model."""

    seconds: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _InputDetails | None = None


class _Heard(Struct):
    text: str
    duration: float | str | None = None  # OpenAI's older versions wrote the number as text
    usage: _Usage | None = None


_HEARD = msgspec.json.Decoder(_Heard)


class Transcription:
    """A model that answers a recording with its text. `session` is the one client session.

    The parameters of `entry` are fields of the form, such as `prompt` with names to expect.
    """

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        entry: ModelEntry,
        session: aiohttp.ClientSession,
    ) -> None:
        self.card = card
        base = (provider.base_url or _VENDOR).rstrip("/")
        key = provider.api_key.reveal().strip()
        self._endpoint = Endpoint(
            card,
            provider,
            f"{base}/audio/transcriptions",
            {"Authorization": f"Bearer {key}"} if key else {},
            session,
            media_type="application/json",
        )
        self._least_seconds = _LEAST_SECONDS.get(provider.type, 0.0)
        self._fields = {
            "model": card.id,
            # Only with Whisper's long form do all servers tell how long the recording was.
            "response_format": "verbose_json" if "whisper" in card.id.lower() else "json",
            **{name: _written(value) for name, value in entry.parameters.items()},
        }
        if entry.temperature is not None:
            self._fields["temperature"] = _written(entry.temperature)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        recording, audio = recording_of(request)
        form = aiohttp.FormData()
        for name, value in self._fields.items():
            form.add_field(name, value)
        media_type = recording.media_type or "application/octet-stream"
        form.add_field("file", audio, filename=_file_name(recording), content_type=media_type)
        answer = await self._endpoint.submit(form)
        try:
            heard = _HEARD.decode(answer)
            seconds = float(heard.duration or 0)
        except (msgspec.DecodeError, ValueError) as error:
            why = f"sent an answer that makes no sense: {error}"
            raise self._endpoint.failures.unavailable(why) from error
        yield Done(
            parts=(Text(heard.text, Origin.OUTSIDE),),
            usage=self._usage(heard.usage or _Usage(), seconds),
            reason="stop",
            model=self.card.id,
        )

    def _usage(self, counted: _Usage, seconds: float) -> Usage:
        """Where the vendor counts tokens, these are paid for, else the minutes."""
        if counted.input_tokens or counted.output_tokens:
            details = counted.input_token_details or _InputDetails()
            return Usage(
                input_tokens=counted.input_tokens or 0,
                output_tokens=counted.output_tokens or 0,
                audio_tokens=details.audio_tokens or 0,
            )
        return Usage(audio_seconds=max(seconds or counted.seconds or 0.0, self._least_seconds))


def _file_name(recording: File) -> str:
    """A plain name with an ending that says what it is."""
    name = re.sub(r"[^\w.-]+", "_", recording.name, flags=re.ASCII)[-80:] or "recording"
    ending = _ENDINGS.get(recording.media_type)
    if ending and PurePosixPath(name).suffix.lstrip(".").lower() not in _KNOWN_ENDINGS:
        return f"{name}.{ending}"
    return name


def _written(value: Any) -> str:
    """A value as a field of a form."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
