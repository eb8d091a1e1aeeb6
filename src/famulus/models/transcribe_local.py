"""Whisper on this machine, by faster-whisper: https://github.com/SYSTRAN/faster-whisper

Models are never fetched: one that is not on this machine yet is an error that says where it goes.
"""

import asyncio
import importlib
import io
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ModelRejected
from famulus.core.messages import Origin, Text, Usage
from famulus.core.protocols import Chunk, Done, ModelCard, Request
from famulus.models.heard import recording_of

_INSTALL = "pip install 'famulus[stt]'"


def load(name: str) -> Any:
    """A faster-whisper model: a folder, or a name such as `small` that was fetched before."""
    whisper = importlib.import_module("faster_whisper")  # an extra: no static import
    return whisper.WhisperModel(name, device="auto", compute_type="int8", local_files_only=True)


class LocalWhisper:
    """A model that answers a recording with its text, one recording at a time.

    The parameters of `entry` go to faster-whisper's `transcribe`, such as `beam_size`.
    """

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        entry: ModelEntry,
        session: object,
        *,
        load: Callable[[str], Any] = load,
    ) -> None:
        self.card = card
        self._parameters = entry.parameters
        self._load = load
        self._whisper: Any = None
        self._turn = asyncio.Lock()

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        _, audio = recording_of(request)
        stopped = threading.Event()
        async with self._turn:
            try:
                text, seconds = await asyncio.to_thread(self._hear, audio, stopped)
            finally:
                stopped.set()  # a thread cannot be cancelled, but it looks after each sentence
        yield Done(
            parts=(Text(text, Origin.OUTSIDE),),
            usage=Usage(audio_seconds=seconds),
            reason="stop",
            model=self.card.id,
        )

    def _hear(self, audio: bytes, stopped: threading.Event) -> tuple[str, float]:
        if self._whisper is None:
            self._whisper = self._loaded()
        try:
            segments, info = self._whisper.transcribe(io.BytesIO(audio), **self._parameters)
            heard = []
            for segment in segments:  # each is worked out when it is asked for
                if stopped.is_set():
                    break
                heard.append(segment.text)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise self._failed(f"The recording cannot be read: {error}") from error
        return "".join(heard), float(info.duration)

    def _loaded(self) -> Any:
        name = self.card.id
        try:
            return self._load(name)
        except ImportError as error:
            why = f"faster-whisper is not installed ({error}). Run: {_INSTALL}"
            raise self._failed(why) from error
        except (OSError, RuntimeError, ValueError) as error:
            raise self._failed(
                f'There is no Whisper model "{name}" on this machine, or it cannot be loaded. Put '
                f"it into a folder and name that: transcription.model = "
                f'"local//path/to/the/folder". ({type(error).__name__})'
            ) from error

    def _failed(self, why: str) -> ModelRejected:
        return ModelRejected(why, provider=self.card.provider)
