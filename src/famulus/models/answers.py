"""Is what a small model gave an answer at all?"""

import re
from collections.abc import Sequence

import msgspec

from famulus.core.messages import Text, ToolCall
from famulus.core.protocols import Done, ToolSpec

_LONGEST_NAME = 64
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REFUSALS = (
    r"(?:as an ai\b|i (?:can't|cannot|can not|won't be able to|am unable to|am not able to) "
    r"(?:help|assist|answer|do|fulfill|comply|provide|access)\b|"
    r"i'm (?:unable|not able|not allowed) to\b)",
    r"(?:我(?:无法|不能|没办法)(?:回答|帮|提供|处理|访问)|作为(?:一个|一名)?(?:ai|人工智能))",
    r"ich kann (?:dir|ihnen|das|dabei)\b.{0,40}\bnicht\b",
    r"(?:lo siento\W{1,3})(?:pero )?no puedo\b",
    r"(?:désolée?\W{1,3})(?:mais )?je ne peux pas\b",
)
_SORRY = (
    r"\W{0,3}(?:(?:(?:i'm |i am )?(?:very |so )?sorry|很?抱歉|对不起|es tut mir leid)\W{1,3}"
    r"(?:but |aber )?)?"
)
_REFUSAL = re.compile(rf"{_SORRY}(?:{'|'.join(_REFUSALS)})", re.IGNORECASE)


def refused(text: str) -> str:
    """Why the beginning of an answer is a refusal, or an empty text.

    Small models refuse in words: the servers they run on have no sign for it.
    """
    return "it refused to answer" if _REFUSAL.match(text.lstrip().replace("’", "'")) else ""


def unknown_call(done: Done, tools: Sequence[ToolSpec]) -> str:
    """Which tool an answer calls that its model was not offered, in words, or an empty text."""
    known = {tool.name for tool in tools}
    for part in done.parts:
        if isinstance(part, ToolCall) and part.name not in known:
            return f"it called the tool {part.name[:_LONGEST_NAME]}, which it does not have"
    return ""


def unusable(done: Done, tools: Sequence[ToolSpec]) -> str:
    """Why an answer must not be given to the user, or an empty text."""
    if done.reason == "refusal":
        return "it refused to answer"
    if done.reason == "length":
        return "its answer was cut off"
    if reason := unknown_call(done, tools):
        return reason
    calls = [part for part in done.parts if isinstance(part, ToolCall)]
    for call in calls:
        try:
            _OBJECT.decode(call.arguments or "{}")
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return f"its arguments for {call.name[:_LONGEST_NAME]} are not a JSON object"
    said = any(isinstance(part, Text) and part.text.strip() for part in done.parts)
    return "" if said or calls else "it said nothing"
