"""A conversation as clients show it: an entry for each message and one for each answer."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from famulus.core.messages import File, Image, Message, ToolResult
from famulus.engine.asked import Asked, asked
from famulus.state.messages import Messages, Said
from famulus.store.database import Database

Entry = dict[str, Any]

_SUMMARY_CHARACTERS = 300
_MOST_CHARACTERS = 4 * 1024 * 1024


async def history(
    database: Database, messages: Messages, session: str, *, limit: int
) -> list[Entry]:
    """The last entries, oldest first: `{"role", "content", "time", "turn_id"}`, a user's with
    `message_id` and `attachments`, an answer with `tools`, `model` and `usage` where it has them.
    Questions whose turn is not over yet come last. There are fewer where they are very long: all of
    them are in memory at once, for each who asks.
    """
    said = await messages.latest(session, limit, most_characters=_MOST_CHARACTERS)
    questions = await asked(database, session, limit, most_characters=_MOST_CHARACTERS)
    by_turn = defaultdict[str, list[Asked]](list)
    for each in questions:
        by_turn[each.turn_id].append(each)
    entries: list[Entry] = []
    for turn_id, group in _turns(said):
        entries += _questions(by_turn.get(turn_id, ()), group)
        entries += _answers(by_turn.get(turn_id, ()), group)
    entries += [_question(each) for each in questions if each.is_open]
    return entries[-limit:]


def exchanged(said: Sequence[Said]) -> list[Entry]:
    """The same from the stored messages alone."""
    return [
        entry
        for _, group in _turns(said)
        for entry in (*_questions((), group), *_answers((), group))
    ]


def _turns(said: Iterable[Said]) -> Iterable[tuple[str, list[Said]]]:
    groups: dict[str, list[Said]] = {}
    for each in said:
        groups.setdefault(each.turn_id, []).append(each)
    return groups.items()


def _questions(questions: Sequence[Asked], group: list[Said]) -> list[Entry]:
    if questions:
        return [_question(each) for each in questions]
    return [
        _entry("user", each.message, each.at, each.turn_id)
        for each in group
        if each.message.role == "user" and (each.message.text or _attachments(each.message.parts))
    ]


def _question(question: Asked) -> Entry:
    inbound = question.inbound
    message = Message("user", inbound.parts)
    entry = _entry("user", message, inbound.at.timestamp(), question.turn_id)
    return entry | {"message_id": inbound.message_id}


def _answers(questions: Sequence[Asked], group: list[Said]) -> list[Entry]:
    """One entry: what was said last, and the tools that were used on the way there."""
    spoken = [each for each in group if each.message.role == "assistant"]
    if not spoken:
        return []
    last = spoken[-1]
    entry = _entry("assistant", last.message, last.at, last.turn_id)
    results = {
        part.call_id: part
        for each in group
        for part in each.message.parts
        if isinstance(part, ToolResult)
    }
    tools = [
        {
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "ok": call.id in results and results[call.id].ok,
            "summary": results[call.id].text[:_SUMMARY_CHARACTERS] if call.id in results else "",
        }
        for each in spoken
        for call in each.message.calls
    ]
    if tools:
        entry["tools"] = tools
    answer = next((each.answer for each in questions if each.answer), None)
    if answer and answer.model:
        entry |= {"model": answer.model, "usage": answer.usage}
    return [entry]


def _entry(role: str, message: Message, at: float, turn_id: str) -> Entry:
    entry: Entry = {
        "role": role,
        "content": message.text,
        "time": datetime.fromtimestamp(at, UTC).isoformat(),
        "turn_id": turn_id,
    }
    if attached := _attachments(message.parts):
        entry["attachments"] = attached
    return entry


def _attachments(parts: Iterable[object]) -> list[Entry]:
    return [
        {"id": part.blob, "name": part.name, "media_type": part.media_type}
        for part in parts
        if isinstance(part, Image | File)
    ]
