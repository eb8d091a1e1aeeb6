"""What is known of the vendors' models without asking: sizes, abilities and prices.

The facts stand in `catalog.json`, which `make catalog` writes from maintained packages. They are
read when the first model is looked up, and all of them can be overridden under `[models]`.
"""

import re
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from famulus.core.prices import Price

_ALIASES = {"openai_responses": "openai", "google": "gemini", "zai": "zhipu", "zhipuai": "zhipu"}
_RELEASED = re.compile(r"[-@]20\d{2}-?[01]\d-?[0-3]\d$")


class Known(Struct, frozen=True):
    """The facts about one model, its vendor's name aside.

    `context_tokens` is 0 and `inputs` empty where the source does not say; `inputs` may hold
    `text`, `image`, `pdf` and `audio`. Without a `price` it is unknown, not free.
    """

    context_tokens: int = 0
    max_output_tokens: int | None = None
    inputs: tuple[str, ...] = ()
    tools: bool = True
    reasoning: bool = False
    price: Price | None = None


class _Catalog(Struct, frozen=True):
    date: str
    sources: tuple[str, ...]
    models: dict[str, dict[str, Known]]


def lookup(provider: str, model_id: str) -> Known | None:
    """The facts about a model of a provider's name or type, or None where there are none.

    The id counts as it is, then without the vendor before it, then without the date of
    release at its end. Nothing that is only similar is ever taken for the same.
    """
    models = _catalog().models.get(_ALIASES.get(provider, provider), {})
    for id_ in (model_id, model_id.removeprefix(f"{provider}/")):
        for candidate in (id_, _RELEASED.sub("", id_)):
            if candidate in models:
                return models[candidate]
    return None


def catalog_date() -> str:
    """The day on which the facts were taken, as `2026-01-31`."""
    return _catalog().date


def catalog_sources() -> tuple[str, ...]:
    """The packages that the facts were taken from, with their versions."""
    return _catalog().sources


@cache
def _catalog() -> _Catalog:
    data = Path(__file__).with_name("catalog.json").read_bytes()
    return msgspec.json.decode(data, type=_Catalog)
