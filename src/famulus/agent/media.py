"""What recordings and text files say, put into words beside the message they came with."""

import asyncio
import mimetypes
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from famulus.core.errors import FamulusError, ModelError
from famulus.core.messages import (
    File,
    Image,
    Message,
    Note,
    Origin,
    Part,
    Text,
    Usage,
    text_of,
)
from famulus.core.protocols import Caller, Transcriber, Transcript
from famulus.engine.turns import Turn
from famulus.state.blobs import Blobs

PDF = "application/pdf"
_MOST_CHARACTERS = 20_000
_LEAST_CHARACTERS = 500  # less of a file than this is not worth showing
_SNIFFED_BYTES = 8192
_SEARCHED_AT_ONCE = 64 * 1024
_OVERLAP = 4096  # more than a rule can match, which has a bound for everything that repeats

_NOBODY_LISTENS = (
    "I cannot listen to recordings yet. Set GROQ_API_KEY or OPENAI_API_KEY in .env, or "
    "transcription.model in famulus.toml, start me again, and send it once more."
)


class Unheard(FamulusError):
    """A message that is nothing but recordings, and none of them could be listened to."""


class Read(Struct, frozen=True):
    """A message for the model, and what reading it used."""

    message: Message
    usage: Usage = Usage()


_OR_SEND = (
    "Or set transcription.before_rules to true: other recordings are then sent to it before a rule "
    "can know what is said in them."
)


class Listened(Struct, frozen=True):
    """The outcome of listening, as the journal keeps it: a failure is not tried again either."""

    transcript: Transcript | None = None
    problem: str = ""
    private: bool = False


class Media:
    """Reads the files of messages. Without a `transcriber` nobody listens. `keeps` says whether a
    rule keeps a text on this machine; as it knows spoken words only when they were heard, another
    machine listens only with `before_rules`.
    """

    def __init__(
        self,
        blobs: Blobs,
        transcriber: Transcriber | None,
        *,
        keeps: Callable[[str], bool] | None = None,
        before_rules: bool = False,
    ) -> None:
        self._blobs = blobs
        self._transcriber = transcriber
        self._keeps = keeps
        self._withheld = keeps is not None and not before_rules

    async def read(self, turn: Turn, message: Message, caller: Caller) -> Read:
        """`message` with what its files say. Raises `Unheard`.

        What a sender spoke are the sender's words; whatever else a file says comes from outside.
        Spoken words can make a message private.
        """
        if not any(isinstance(part, File) for part in message.parts):
            return Read(message)
        parts: list[Part] = []
        problems: list[str] = []
        usage = Usage()
        room = _MOST_CHARACTERS
        private = message.private
        for part in message.parts:
            parts.append(part)
            if not isinstance(part, File):
                continue
            if _is_recording(part):
                listened = await self._listened(turn, part, caller, private=private)
                private = private or listened.private
                if listened.transcript is None:
                    problems.append(listened.problem)
                    parts.append(Note(f"[{listened.problem}]"))
                else:
                    usage += listened.transcript.usage
                    parts += _spoken(part, listened.transcript.text, after=parts)
            elif room >= _LEAST_CHARACTERS and (text := await self._text(part)):
                shown = _beginning(text, part, room)
                room -= len(shown)
                parts.append(_from_outside(part, "a file that came with the message", shown))
        if problems and not any(_says_something(part) for part in parts):
            raise Unheard(" ".join(dict.fromkeys(problems)))
        return Read(Message(message.role, tuple(parts), private), usage)

    async def is_private(self, parts: Sequence[Part]) -> bool:
        """Whether a rule keeps a message here for what it says, or the files that come with it."""
        if self._keeps is None:
            return False
        attached = [part for part in parts if isinstance(part, File | Image)]
        if any(map(self._keeps, (text_of(parts), *(part.name for part in attached)))):
            return True
        for file in attached:
            if isinstance(file, Image) or _is_recording(file):
                continue
            data = (await self._blobs.read([file.blob])).get(file.blob, b"")
            if await asyncio.to_thread(_anywhere, data, self._keeps):
                return True
        return False

    async def _listened(self, turn: Turn, file: File, caller: Caller, *, private: bool) -> Listened:
        caller = msgspec.structs.replace(caller, kind="transcription")
        return await turn.step(
            "transcribe",
            Listened,
            lambda _: self._listen(file, caller, turn.session, private=private),
        )

    async def _listen(self, file: File, caller: Caller, session: str, *, private: bool) -> Listened:
        if self._transcriber is None:
            return Listened(problem=_NOBODY_LISTENS)
        audio = (await self._blobs.read([file.blob])).get(file.blob)
        if not audio:
            return Listened(problem=f"{_name(file)} is no longer kept.")
        try:
            transcript = await self._transcriber.transcribe(
                audio,
                media_type=file.media_type,
                name=file.name,
                caller=caller,
                session=session,
                private=private or self._withheld,
            )
        except ModelError as error:
            advice = "" if private or error.sent or not self._withheld else f" {_OR_SEND}"
            return Listened(problem=f"I could not listen to {_name(file)}. {error}{advice}")
        if not transcript.text:
            return Listened(problem=f"I could hear no words in {_name(file)}.")
        kept = self._keeps is not None and self._keeps(transcript.text)
        return Listened(transcript, private=kept)

    async def _text(self, file: File) -> str:
        """The file's text; empty when it is none."""
        if file.media_type == PDF:
            return ""
        data = (await self._blobs.read([file.blob])).get(file.blob, b"")
        if b"\0" in data[:_SNIFFED_BYTES]:
            return ""
        try:
            return data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return ""


def _anywhere(data: bytes, keeps: Callable[[str], bool]) -> bool:
    """Whether a rule keeps any of what a tool could read in a file, whatever kind it is of. It is
    looked at piece by piece: nothing else runs while a pattern is searched for.
    """
    utf16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    text = data.decode("utf-16" if utf16 else "utf-8", "replace")
    starts = range(0, max(len(text), 1), _SEARCHED_AT_ONCE)
    return any(keeps(text[at : at + _SEARCHED_AT_ONCE + _OVERLAP]) for at in starts)


def _is_recording(file: File) -> bool:
    media_type = file.media_type
    if media_type in ("", "application/octet-stream"):
        media_type = mimetypes.guess_type(file.name)[0] or ""
    # A browser's recording without a picture may be called a video all the same.
    return media_type.startswith("audio/") or (
        file.origin is not Origin.OUTSIDE and media_type.startswith("video/")
    )


def _spoken(file: File, text: str, *, after: list[Part]) -> list[Part]:
    if file.origin is Origin.OUTSIDE:
        return [_from_outside(file, "a recording; this is what is said in it", text)]
    typed = any(isinstance(part, Text) and part.text.strip() for part in after)
    return [
        Text(f"\n{text}" if typed else text, file.origin),
        Note(f"[Voice message, as it was heard in {_name(file)}]"),
    ]


def _from_outside(file: File, what: str, text: str) -> Note:
    return Note(f"[{_name(file)}, {what}:]\n{text}\n[End of {_name(file)}]", Origin.OUTSIDE)


def _beginning(text: str, file: File, room: int) -> str:
    """As many whole lines as there is room for, and where the others are."""
    if len(text) <= room:
        return text
    shown = text[:room].rpartition("\n")[0] or text[:room]
    if not file.path:
        return f"{shown}\n[Cut here. The rest cannot be shown.]"
    line = shown.count("\n") + 2
    return f"{shown}\n[Cut here. From line {line} on: read_file {file.path}, offset={line}]"


def _says_something(part: Part) -> bool:
    match part:
        case Text(text):
            return bool(text.strip())
        case Image():
            return True
        case File():
            return not _is_recording(part)
        case Note(_, Origin.OUTSIDE):
            return True
    return False


def _name(file: File) -> str:
    return " ".join(file.name.split()) or "the recording"
