"""What the models used and cost, in words."""

from collections.abc import Sequence

from famulus.core.protocols import Spent, Summary

_MOST_ROWS = 10


def usage_text(summary: Summary, session: str) -> str:
    """An answer to `/usage` in Markdown."""
    if not summary.total.calls:
        return "No model was called yet in this time."
    first = summary.by_day[0].name
    here = next((each for each in summary.by_session if each.name == session), Spent())
    lines = [
        f"- since {first}: {amounts(summary.total)}",
        f"- this conversation: {amounts(here)}",
    ]
    for title, rows in (("By day", summary.by_day[::-1]), ("By model", summary.by_model)):
        lines += ["", f"**{title}**", "", *_rows(rows)]
    return "\n".join(lines)


def _rows(rows: Sequence[Spent]) -> list[str]:
    shown = [f"- `{each.name}` {amounts(each)}" for each in rows[:_MOST_ROWS]]
    more = len(rows) - _MOST_ROWS
    return [*shown, f"- and {more} more"] if more > 0 else shown


def amounts(spent: Spent) -> str:
    """`$0.0123, 4 calls, 12,345 tokens in (2,000 cached), 678 out`"""
    cached = f" ({spent.cached_tokens:,} cached)" if spent.cached_tokens else ""
    calls = "1 call" if spent.calls == 1 else f"{spent.calls:,} calls"
    return (
        f"{cost(spent)}, {calls}, "
        f"{spent.input_tokens:,} tokens in{cached}, {spent.output_tokens:,} out"
    )


def cost(spent: Spent) -> str:
    """`$0.0123`, `price unknown`, or `$0.0123 + 2 calls of unknown price`."""
    if not spent.unpriced_calls:
        return dollars(spent.cost_usd)
    if not spent.cost_usd:
        return "price unknown"
    calls = "1 call" if spent.unpriced_calls == 1 else f"{spent.unpriced_calls:,} calls"
    return f"{dollars(spent.cost_usd)} + {calls} of unknown price"


def dollars(cost_usd: float) -> str:
    """With more digits where cents would hide what it is."""
    return f"${cost_usd:,.2f}" if cost_usd >= 1 or not cost_usd else f"${cost_usd:.4f}"
