"""Recordings as text."""

from famulus.core.errors import ModelRejected
from famulus.core.messages import File, Message, Origin, text_of
from famulus.core.protocols import Caller, Done, Model, Request, Transcript
from famulus.models.streamed import streamed

_BLOB = "recording"


class Heard:
    """A `Transcriber` by a model that answers a recording with what is said in it.

    Being a model, it is retried, rested and booked like any other.
    """

    def __init__(self, model: Model, *, max_bytes: int) -> None:
        self.card = model.card
        self._model = model
        self._max_bytes = max_bytes

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
                    return Transcript(text_of(chunk.parts).strip(), chunk.usage)
        raise AssertionError(f"{self.card.name} ended its stream without Done")


def recording_of(request: Request) -> tuple[File, bytes]:
    """The recording that `Heard` asks about."""
    recording = next(part for part in request.messages[0].parts if isinstance(part, File))
    return recording, request.media[recording.blob]
