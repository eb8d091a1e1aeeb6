"""Recordings as text."""

import asyncio
from hashlib import sha256

from famulus.core.errors import ModelRejected
from famulus.core.messages import File, Message, Origin, text_of
from famulus.core.protocols import Caller, Done, Model, Request, Transcript
from famulus.models.streamed import streamed

_BLOB = "recording"
_MOST_KEPT = 64
_LONGEST_KEPT = 64 * 1024


class Heard:
    """A `Transcriber` by a model that answers a recording with what is said in it.

    Being a model, it is retried, rested and booked like any other. While the program runs, a
    recording that comes again is not paid again.
    """

    def __init__(self, model: Model, *, max_bytes: int) -> None:
        self.card = model.card
        self._model = model
        self._max_bytes = max_bytes
        self._known: dict[bytes, str] = {}

    async def transcribe(
        self,
        audio: bytes,
        *,
        media_type: str,
        name: str,
        caller: Caller,
        session: str = "",
        private: bool = False,
    ) -> Transcript:
        if len(audio) > self._max_bytes:
            raise ModelRejected(
                f"The recording has {len(audio):,} bytes; the most I send is "
                f"{self._max_bytes:,} (transcription.max_size). Send it in parts."
            )
        hash_ = (await asyncio.to_thread(sha256, audio)).digest()  # it may be 25 MB
        if hash_ in self._known:
            return Transcript(self._known[hash_])
        recording = File(_BLOB, media_type, Origin.OUTSIDE, name)
        request = Request(
            system="",
            messages=(Message("user", (recording,), private),),
            media={_BLOB: audio},
            caller=caller,
            session=session,
        )
        async with streamed(self._model, request) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Done):
                    text = text_of(chunk.parts).strip()
                    self._keep(hash_, text)
                    return Transcript(text, chunk.usage)
        raise AssertionError(f"{self.card.name} ended its stream without Done")

    def _keep(self, hash_: bytes, text: str) -> None:
        if text and len(text) <= _LONGEST_KEPT:
            self._known[hash_] = text
        while len(self._known) > _MOST_KEPT:
            del self._known[next(iter(self._known))]


def recording_of(request: Request) -> tuple[File, bytes]:
    """The recording that `Heard` asks about."""
    recording = next(part for part in request.messages[0].parts if isinstance(part, File))
    return recording, request.media[recording.blob]
