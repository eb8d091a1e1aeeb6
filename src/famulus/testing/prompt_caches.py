"""What vendors would read from their prompt caches, told from the bodies of the requests.

Nothing expires here, and four bytes count as a token.
"""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

_BLOCK_TOKENS = 128
_LEAST_CACHED_TOKENS = 1024
_BYTES_PER_TOKEN = 4
_REACH = 20


class OpenAICache:
    """Blocks of 128 tokens from the beginning on, none below 1024."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self.tokens = self.cached = 0

    def read(self, raw: bytes) -> None:
        """Count the body of one request of Chat Completions."""
        prompt = openai_prompt(raw)
        size = _BLOCK_TOKENS * _BYTES_PER_TOKEN
        ends = range(size, len(prompt) + 1, size)
        blocks = [sha256(prompt[:end]).digest() for end in ends]
        hits = next((n for n, each in enumerate(blocks) if each not in self._known), len(blocks))
        self._known.update(blocks)
        tokens = hits * _BLOCK_TOKENS
        self.tokens += len(prompt) // _BYTES_PER_TOKEN
        self.cached += tokens if tokens >= _LEAST_CACHED_TOKENS else 0

    @property
    def share(self) -> float:
        """What part of all input tokens was cached, 0 to 1."""
        return self.cached / self.tokens


class AnthropicCache:
    """What ends at a mark is kept; a request finds what one before it marked, at most 20 blocks
    before one of its own marks.
    """

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self.tokens = self.cached = 0
        self.most_marks = 0

    def read(self, raw: bytes) -> None:
        """Count the body of one request of Messages."""
        body = json.loads(raw)
        blocks = [*body.get("tools", ()), *body["system"]]
        blocks += [block for each in body["messages"] for block in each["content"]]
        marks = [n for n, block in enumerate(blocks) if "cache_control" in block]
        self.most_marks = max(self.most_marks, len(marks))
        texts = [json.dumps(_unmarked(dict(block))).encode() for block in blocks]
        ends, digest = [], sha256()
        for text in texts:
            digest.update(text)
            ends.append(digest.digest())
        reach = {n for mark in marks for n in range(max(mark - _REACH + 1, 0), mark + 1)}
        found = max((n for n in reach if ends[n] in self._known), default=-1)
        self._known.update(ends[mark] for mark in marks)
        self.tokens += sum(map(len, texts)) // _BYTES_PER_TOKEN
        self.cached += sum(map(len, texts[: found + 1])) // _BYTES_PER_TOKEN

    @property
    def share(self) -> float:
        """What part of all input tokens was cached, 0 to 1."""
        return self.cached / self.tokens


def openai_prompt(raw: bytes) -> bytes:
    """A body of Chat Completions as the vendor puts it before the model, without its end."""
    body = json.loads(raw)
    return _joined(body.get("tools"), body["messages"])


def anthropic_prompt(raw: bytes) -> bytes:
    """A body of Messages as the vendor puts it before the model, without its end and its marks."""
    body = json.loads(raw, object_hook=_unmarked)
    pieces = [
        {"role": each["role"], "block": b} for each in body["messages"] for b in each["content"]
    ]
    return _joined(body.get("tools"), body["system"], pieces)


def _unmarked(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("cache_control", None)
    return value


def _joined(*parts: Iterable[Any] | None) -> bytes:
    """Lists one after the other, without the bracket that changes when one goes on."""
    return b"".join(json.dumps(each).encode() for part in parts for each in part or ())
