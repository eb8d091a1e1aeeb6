"""A conversation as every vendor accepts it, however it came about.

A turn that was killed leaves calls without results, a shortened history results without calls,
another vendor's model ids of another form, and a confused model names that no vendor takes back.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from famulus.core.messages import (
    File,
    Image,
    Message,
    Note,
    Origin,
    Part,
    Text,
    ToolCall,
    ToolResult,
)

PDF = "application/pdf"
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BROKEN = "not_valid_json"
_MOST_BROKEN = 2000  # characters
_NO_RESULT = "There is no result of this call. It may or may not have been carried out."


def paired(messages: Iterable[Message]) -> Iterator[Message]:
    """The same conversation, in which one `tool` message with one result for each call, in their
    order, follows every assistant message that calls. Ids are unique, and like names they are
    letters, digits, `_` and `-`. Results without a call are left out.

    What is made of a message depends on it and earlier ones, and on the results that follow it.
    """
    taken: set[str] = set()
    waiting: dict[str, ToolCall] = {}
    results: dict[str, ToolResult] = {}
    for message in messages:
        if message.role == "tool":
            for part in message.parts:
                if isinstance(part, ToolResult) and part.call_id in waiting:
                    results.setdefault(part.call_id, part)
            continue
        if waiting:
            yield _answered(waiting, results)
            waiting, results = {}, {}
        if message.role == "user":
            yield message
            continue
        parts: list[Part] = []
        for part in message.parts:
            if not isinstance(part, ToolCall):
                parts.append(part)
            elif part.id not in waiting:
                call = ToolCall(_unique(part.id, taken), _name(part.name), part.arguments)
                waiting[part.id] = call
                parts.append(call)
        yield Message("assistant", tuple(parts))
    if waiting:
        yield _answered(waiting, results)


def _answered(calls: Mapping[str, ToolCall], results: Mapping[str, ToolResult]) -> Message:
    missing = ToolResult("", "", (Text(_NO_RESULT, Origin.TOOL),), ok=False)
    parts = []
    for key, call in calls.items():
        result = results.get(key, missing)
        parts.append(ToolResult(call.id, call.name, result.parts, result.ok))
    return Message("tool", tuple(parts))


def _unique(call_id: str, taken: set[str]) -> str:
    # 40 characters is OpenAI's limit.
    plain = _NOT_IN_A_NAME.sub("_", call_id)[:40] or "call"
    unique, number = plain, 1
    while unique in taken:
        number += 1
        unique = f"{plain[:32]}_{number}"
    taken.add(unique)
    return unique


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:64] or "unknown"


def arguments_of(call: ToolCall) -> bytes:
    """The arguments as the model wrote them. What is no JSON object vendors refuse together with
    the whole conversation, so its beginning and end are shown as a text in one: the call's result
    says what was wrong, and here the model sees it.
    """
    text = call.arguments.encode("utf-8", "replace")
    if is_object(text):
        return text
    written = text.decode()
    if len(written) > _MOST_BROKEN:
        written = f"{written[: _MOST_BROKEN // 2]} … {written[-_MOST_BROKEN // 2 :]}"
    return _encode({_BROKEN: written}) if written.strip() else b"{}"


def is_object(text: bytes) -> bool:
    """Whether `text` is a JSON object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


class Shown(NamedTuple):
    """A picture or a document that the model is shown; `data` is base64."""

    media_type: str
    data: str
    name: str = ""

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


def content(
    parts: Iterable[Part], media: Mapping[str, bytes], inputs: Iterable[str]
) -> list[str | Shown]:
    """What is shown of a message: text with its lines joined, and between it the images and
    documents. Notes change from turn to turn, so they come after what stays.
    """
    pieces: list[str | Shown] = []
    lines: list[str] = []
    for part in sorted(parts, key=lambda part: isinstance(part, Note)):
        data = shown(part, media, inputs)
        if data is None:
            lines += lines_of(part)
            continue
        if lines:
            pieces.append("\n".join(lines))
            lines = []
        pieces.append(data)
    return [*pieces, "\n".join(lines)] if lines else pieces


def words(parts: Iterable[Part]) -> str | None:
    """What `content` shows of parts that are words alone, as nearly all of a long conversation
    are, at a fourth of the cost; None where there is anything else.
    """
    texts, notes = [], []
    for part in parts:
        if type(part) is Text:
            texts.append(part.text)
        elif type(part) is Note:
            notes.append(part.text)
        else:
            return None
    return "\n".join(filter(None, texts + notes))


def lines_of(part: Part) -> list[str]:
    """A part as text, one line or none; an image as the line that stands in its place."""
    match part:
        case Text(text) | Note(text):
            return [text] if text else []
        case Image():
            return [image_line(part)]
        case File():
            return [file_line(part)]
    return []


def shown(part: Part, media: Mapping[str, bytes], inputs: Iterable[str]) -> Shown | None:
    """An image or a document, or None when the model cannot be shown it or it is neither."""
    match part:
        case Image():
            needed = "image"
            media_type = "image/jpeg" if part.media_type == "image/jpg" else part.media_type
            takes = media_type in IMAGE_TYPES
        case File():
            needed, media_type = "pdf", part.media_type
            takes = media_type == PDF
        case _:
            return None
    data = media.get(part.blob)
    if not data or not takes or needed not in inputs:
        return None
    return Shown(media_type, b64encode(data).decode(), part.name)


def image_line(image: Image) -> str:
    """What stands in an image's place for a model that is not shown it."""
    return f"[Image that cannot be shown here: {image.name or image.media_type or 'no name'}]"


def file_line(file: File) -> str:
    where = f", in the workspace at {file.path}" if file.path else ", not in the workspace"
    return f"[File: {file.name or 'without a name'} ({file.media_type}){where}]"
