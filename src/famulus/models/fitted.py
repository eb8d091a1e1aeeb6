"""An answer no longer than what the prompt leaves of the window."""

from typing import Any

import msgspec

from famulus.core.config import ModelEntry
from famulus.core.protocols import ModelCard, Request

_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
_BYTES_PER_TOKEN = 3
_TOKENS_PER_MEDIUM = 1600
_LEAST_PART = 8  # of the window, for a prompt that is larger than it seems

_encode = msgspec.json.Encoder().encode


def written_bound(entry: ModelEntry) -> int:
    """The longest answer that the configuration lets the vendor give; 0 when it does not say."""
    options = entry.parameters.get("options")
    given = entry.parameters | (options if isinstance(options, dict) else {})
    written = [entry.max_tokens, *(given.get(name) for name in _BOUNDS)]
    return max((most for most in written if isinstance(most, int)), default=0)


def fitted(request: Request, card: ModelCard, bound: int) -> Request:
    """The request with a lower bound than `bound` on its answer where both need the same tokens."""
    least = card.context_tokens // _LEAST_PART
    if bound <= least:
        return request
    left = card.context_tokens - tokens_of(request)
    if bound <= left:
        return request
    most = max(left, least)
    return msgspec.structs.replace(request, max_tokens=min(most, request.max_tokens or most))


def tokens_of(request: Request) -> int:
    """About how many tokens a request is."""
    texts: Any = (request.system, request.messages, request.tools)
    try:
        size = len(_encode(texts))
    except UnicodeEncodeError:  # half of a surrogate pair
        size = len(repr(texts))
    return size // _BYTES_PER_TOKEN + len(request.media) * _TOKENS_PER_MEDIUM


def lowered(body: dict[str, Any], name: str, most: int) -> None:
    """Bound an answer in a body. What is written there already counts where it is less."""
    if most:
        given = body.get(name)
        body[name] = min(given, most) if isinstance(given, int) and given > 0 else most
