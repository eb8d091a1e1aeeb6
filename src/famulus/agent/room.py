"""How much of a model's window there is for what.

There is no tokenizer here: sizes are bytes of our own JSON, and how many of them a model makes a
token of is learned from the usage it reports. What is learned only moves the moment at which a
window is over its budget; it never changes what a request begins with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from famulus.core.messages import Image, Message, Origin, Text, ToolResult
from famulus.core.protocols import ModelCard

# English has about four bytes a token, Chinese three; code less of both.
_BYTES_PER_TOKEN = 3.0
# Not more, however few tokens are reported: some servers leave out what they had cached.
_MOST_BYTES_PER_TOKEN = 4.0
_LEAST_BYTES_PER_TOKEN = 1.0
_LEAST_LEARNED_TOKENS = 300  # in fewer, what a vendor adds of its own weighs too much
_ANSWER_TOKENS = 8192
_TOKENS_PER_PICTURE = 1600
_LEAST_CHARACTERS = 200
_LEFT_OUT = "[{characters:,} characters were left out here to fit the model's window.]"

_encode = msgspec.json.Encoder().encode


class Room(NamedTuple):
    """The budgets of one turn: of the past, of all messages of a request, and of the results of
    one round of tool calls. `fixed_bytes` is what each request carries beside its messages.
    """

    fixed_bytes: int
    history_bytes: int
    messages_bytes: int
    output_characters: int


class Fitting(NamedTuple):
    """The messages of a request and their size in bytes."""

    messages: tuple[Message, ...]
    size: int


class Learned:
    """What is learned of one model while the program runs."""

    def __init__(self) -> None:
        self._bytes_per_token = _BYTES_PER_TOKEN
        self._refused_bytes = 0

    def counted(self, sent_bytes: int, tokens: int) -> None:
        """The model counted `tokens` in a request of that size."""
        if tokens >= _LEAST_LEARNED_TOKENS:
            ratio = max(sent_bytes / tokens, _LEAST_BYTES_PER_TOKEN)
            self._bytes_per_token = min(ratio, _MOST_BYTES_PER_TOKEN)

    def refused(self, sent_bytes: int) -> None:
        """The model said that a request of that size is too long."""
        self._refused_bytes = min(sent_bytes, self._refused_bytes or sent_bytes)

    def tokens(self, sent_bytes: int, media: int) -> int:
        """About how many tokens a request of that size and so many pictures or documents is."""
        return int(sent_bytes / self._bytes_per_token) + media * _TOKENS_PER_PICTURE

    def room(self, card: ModelCard, *, fixed_bytes: int, history_tokens: int) -> Room:
        window = int(card.context_tokens * self._bytes_per_token)
        if self._refused_bytes:
            window = min(window, self._refused_bytes * 9 // 10)
        answer = min(card.max_output_tokens or _ANSWER_TOKENS, _ANSWER_TOKENS)
        reserved = min(int(answer * self._bytes_per_token), window // 4)
        free = max(window - reserved - fixed_bytes, window // 8)
        # Half is for the turn itself: its message, its calls and their results.
        history = min(int(history_tokens * self._bytes_per_token), free // 2)
        return Room(fixed_bytes, history, free, free // 3)


def size(messages: Sequence[Message]) -> int:
    """The bytes of what `messages` hold, as they are stored."""
    try:
        return sum(len(_encode(message.parts)) for message in messages)
    except UnicodeEncodeError:  # half of a surrogate pair
        return len(repr(messages).encode("utf-8", "replace"))


def fitted(
    past: Sequence[Message], past_bytes: int, record: Sequence[Message], most_bytes: int
) -> Fitting:
    """The messages of a request: the past and the record of the turn, or what fits of them.

    The results of earlier rounds give way first, then the past, then the middle of the last
    results. Each gives way as a whole, so that the next round's request begins with the same.
    """
    if (whole := past_bytes + size(record)) <= most_bytes:
        return Fitting((*past, *record), whole)
    last = max((n for n, each in enumerate(record) if each.role == "tool"), default=-1)
    shown = [_without_results(each) if n < last else each for n, each in enumerate(record)]
    if (whole := past_bytes + size(shown)) <= most_bytes:
        return Fitting((*past, *shown), whole)
    if last >= 0 and (over := size(shown) - most_bytes) > 0:
        results = shown[last].parts
        bytes_each = max(size([shown[last]]) - over, 0) // max(len(results), 1)
        parts = tuple(_cut(each, bytes_each) for each in results if isinstance(each, ToolResult))
        shown[last] = msgspec.structs.replace(shown[last], parts=parts)
    return Fitting(tuple(shown), size(shown))


def _without_results(message: Message) -> Message:
    if message.role != "tool":
        return message
    parts = tuple(_cut(each, 0) for each in message.parts if isinstance(each, ToolResult))
    return msgspec.structs.replace(message, parts=parts)


def _cut(result: ToolResult, most_bytes: int) -> ToolResult:
    """The result without the middle of a long text; without pictures where nothing is left."""
    text = result.text
    if len(text) <= _LEAST_CHARACTERS:
        return result
    dense = len(text.encode("utf-8", "replace")) / len(text)
    room = max(int(most_bytes / dense) - 2 * _LEAST_CHARACTERS, 0)
    if room >= len(text):
        return result
    tail = room // 4
    note = _LEFT_OUT.format(characters=len(text) - room)
    ends = (text[: room - tail], note, text[len(text) - tail :])
    outside = any(part.origin is Origin.OUTSIDE for part in result.parts)
    cut = Text("\n".join(filter(None, ends)), Origin.OUTSIDE if outside else result.origin)
    pictures = [part for part in result.parts if isinstance(part, Image)] if room else []
    return msgspec.structs.replace(result, parts=(cut, *pictures))
