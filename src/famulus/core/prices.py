"""What a model costs."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from famulus.core.messages import Usage
from famulus.core.settings import Section, doc

_MILLION = 1_000_000


class Price(Section, frozen=True):
    """What a model costs: USD per million tokens, where a setting says nothing else."""

    input: Annotated[float, doc("Input, per million tokens.", ge=0, le=1e6, examples=[3.0])]
    output: Annotated[float, doc("Output, reasoning included.", ge=0, le=1e6, examples=[15.0])]
    cached: (
        Annotated[
            float,
            doc("Input that the vendor had cached; else as `input`.", ge=0, le=1e6, examples=[0.3]),
        ]
        | None
    ) = None
    cache_write: (
        Annotated[
            float,
            doc("Input that the vendor caches; else as `input`.", ge=0, le=1e6, examples=[3.75]),
        ]
        | None
    ) = None
    over_tokens: (
        Annotated[
            int,
            doc(
                "Requests with more input than this cost the `over_` prices.",
                ge=1,
                examples=[200_000],
            ),
        ]
        | None
    ) = None
    over_input: (
        Annotated[float, doc("Input of such a request, all of it.", ge=0, le=1e6, examples=[6.0])]
        | None
    ) = None
    over_output: (
        Annotated[float, doc("Output of such a request.", ge=0, le=1e6, examples=[22.5])] | None
    ) = None
    over_cached: (
        Annotated[float, doc("Cached input of such a request.", ge=0, le=1e6, examples=[0.6])]
        | None
    ) = None
    over_cache_write: (
        Annotated[float, doc("Caching of such a request.", ge=0, le=1e6, examples=[7.5])] | None
    ) = None
    audio_input: (
        Annotated[float, doc("Sound taken in, per million tokens.", ge=0, le=1e6, examples=[32.0])]
        | None
    ) = None
    minute: (
        Annotated[float, doc("Sound taken in, USD per minute.", ge=0, le=1e6, examples=[0.006])]
        | None
    ) = None

    def at(self, input_tokens: int) -> "Price":
        """The price of a request with so much input."""
        if self.over_tokens is None or input_tokens <= self.over_tokens:
            return self
        return Price(
            input=_first(self.over_input, self.input),
            output=_first(self.over_output, self.output),
            cached=self.over_cached if self.over_cached is not None else self.cached,
            cache_write=(
                self.over_cache_write if self.over_cache_write is not None else self.cache_write
            ),
        )

    def usd(self, usage: Usage, *, written_tokens: int = 0) -> float:
        """What one call cost. `written_tokens` of its input went into the vendor's cache; its
        `audio_tokens` were input.
        """
        price = self.at(usage.input_tokens)
        sound = usage.audio_tokens
        plain = max(0, usage.input_tokens - usage.cached_tokens - written_tokens - sound)
        millionths = (
            plain * price.input
            + sound * _first(self.audio_input, price.input)
            + usage.cached_tokens * _first(price.cached, price.input)
            + written_tokens * _first(price.cache_write, price.input)
            + usage.output_tokens * price.output
        )
        return millionths / _MILLION


def find(
    prices: Mapping[str, Price], names: Sequence[str], *, patterns: bool = True
) -> Price | None:
    """The price of a model under one of its names: its own, else that of the longest pattern."""
    for name in names:
        if name in prices:
            return prices[name]
    fits = [each for each in prices if any(fnmatchcase(name, each) for name in names)]
    return prices[max(fits, key=len)] if fits and patterns else None


def _first(price: float | None, other: float) -> float:
    return other if price is None else price
