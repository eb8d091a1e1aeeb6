"""Tells what the models used and cost."""

from typing import Annotated

import msgspec

from famulus.core.plugins import Services, Unavailable
from famulus.core.protocols import Context, Effect, Replay, Spent, Tool
from famulus.core.settings import Section, doc
from famulus.core.tools import tool

_OWNER = "owner"
_MOST_MODELS = 20
_MOST_DAYS = 366


class Settings(Section, frozen=True):
    """What model calls cost, told by the assistant."""

    enabled: Annotated[bool, doc("Whether the tool is there.")] = True


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    days: Annotated[int, msgspec.Meta(ge=1)] = 30


def build(settings: Settings, services: Services) -> Tool:
    ledger = services.ledger
    if ledger is None:
        raise Unavailable("Nothing is booked here.")

    @tool(effects=(Effect.READS,), replay=Replay.SAFE)
    async def cost_summary(context: Context, arguments: Arguments) -> str:
        """Your model calls and their cost."""
        person = "" if context.person == _OWNER else context.person
        summary = await ledger.summary(days=min(arguments.days, _MOST_DAYS), person=person)
        if not summary.total.calls:
            return f"No model was called in the last {arguments.days} days."
        rows = [_row("total", summary.total)]
        rows += [_row(each.name, each) for each in summary.by_day]
        rows += [_row(each.name, each) for each in summary.by_model[:_MOST_MODELS]]
        head = "name usd calls input_tokens cached_tokens output_tokens"
        if summary.total.unpriced_calls:
            head += " calls_of_unknown_price_not_in_usd"
        return "\n".join([head, *rows])

    return cost_summary


def _row(name: str, spent: Spent) -> str:
    unknown = spent.unpriced_calls
    usd = "unknown" if unknown and not spent.cost_usd else f"{spent.cost_usd:.6f}"
    return (
        f"{name} {usd} {spent.calls} {spent.input_tokens} {spent.cached_tokens}"
        f" {spent.output_tokens}{f' {unknown}' if unknown else ''}"
    )
