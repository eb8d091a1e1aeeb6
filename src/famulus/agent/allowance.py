"""What one turn may use: `agent.turn_tokens` and `agent.turn_cost_usd`."""

from famulus.core.errors import OverLimit
from famulus.core.main_agent import Agent as Settings
from famulus.core.messages import Usage
from famulus.core.protocols import ModelCard
from famulus.core.toml import key

_LEAST_ANSWER_TOKENS = 64
_UNKNOWN = (
    "A turn may cost ${most:g} (agent.turn_cost_usd), and what {model} costs is not known. Write "
    "under [cost.prices] its price per million tokens, such as {key} = {{ input = 3.0, "
    "output = 15.0 }}, or set agent.turn_cost_usd to 0."
)


class Allowance:
    """The limits of one turn on tokens and cost, each of them 0 for none."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = settings.turn_tokens
        self._cost = settings.turn_cost_usd

    def ends(self, spent: Usage, last: Usage) -> bool:
        """Whether the next call is for the answer, as there is no room for another one behind it.
        It has more to read than the `last` one, so it gets the room of two.

        Told by what is in the journal alone: a turn that resumes goes the same way.
        """
        tokens = _tokens(spent) + 3 * _tokens(last)
        cost = spent.cost_usd + 3 * last.cost_usd
        return bool((self._tokens and tokens > self._tokens) or (self._cost and cost > self._cost))

    def answer_tokens(self, spent: Usage, last: Usage, input_tokens: int, card: ModelCard) -> int:
        """How long the answer to `input_tokens` may be; 0 where nothing bounds it.

        Raises `OverLimit` when the call could not be made within what is left.
        """
        bounds = []
        if self._tokens:
            bounds.append(self._tokens - _tokens(spent) - input_tokens)
            if bounds[-1] < _LEAST_ANSWER_TOKENS:
                raise OverLimit(
                    f"I stopped here: this turn has used {_tokens(spent):,} tokens, the next step "
                    f"takes about {input_tokens + _LEAST_ANSWER_TOKENS:,} more, and "
                    f"agent.turn_tokens is {self._tokens:,}."
                )
        if self._cost and not card.local:
            bounds.append(self._affordable(spent, last, input_tokens, card))
        return min(filter(None, bounds), default=0)

    def _affordable(self, spent: Usage, last: Usage, input_tokens: int, card: ModelCard) -> int:
        """The output tokens that the rest of the money is for; 0 where they are not priced."""
        price = card.price.at(input_tokens) if card.price else None
        if price is None and _tokens(last) and not last.cost_usd:
            raise OverLimit(_UNKNOWN.format(most=self._cost, model=card.id, key=key(card.id)))
        least = _LEAST_ANSWER_TOKENS if price else 0
        cost = (
            price.usd(Usage(input_tokens=input_tokens, output_tokens=least))
            if price
            else last.cost_usd  # the vendor tells it, but only afterwards
        )
        left = self._cost - spent.cost_usd - cost
        if left < 0:
            raise OverLimit(
                f"I stopped here: this turn has cost ${spent.cost_usd:.4f}, the next step takes "
                f"about ${cost:.4f} more, and agent.turn_cost_usd is {self._cost:g}."
            )
        if price is None or not price.output:
            return 0
        return least + int(left / price.output * 1_000_000)

    def __str__(self) -> str:
        tokens = f"{self._tokens:,} tokens (agent.turn_tokens)" if self._tokens else ""
        cost = f"${self._cost:g} (agent.turn_cost_usd)" if self._cost else ""
        return " and ".join(filter(None, (tokens, cost)))


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
