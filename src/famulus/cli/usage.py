"""`famulus usage`: what the models used and cost."""

import asyncio
from collections.abc import Sequence

import click
import msgspec

from famulus.cli.options import Options, as_json, common
from famulus.core.clock import Clock
from famulus.core.protocols import Spent, Summary
from famulus.core.zones import day_zone
from famulus.gateway.usage import dollars
from famulus.models.catalog import catalog_date
from famulus.state.spending import Spending
from famulus.store.opening import open_database

_BAR_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEAD = ("", "cost", "calls", "input", "cached", "output")


@click.command()
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 3660))
@click.option("--plot", is_flag=True, help="Draw the days instead of listing them.")
@as_json
@common
def command(options: Options, *, days: int, plot: bool, as_json: bool) -> None:
    """Show tokens and cost by day, model and conversation."""
    summary = asyncio.run(_summary(options, days))
    if as_json:
        click.echo(_json(summary))
    elif not summary.total.calls:
        click.echo(f"No model was called in the last {days} days.")
    elif plot:
        click.echo("\n".join(_bars(summary.by_day)))
    else:
        for title, rows in (
            ("day", summary.by_day),
            ("model", summary.by_model),
            ("session", summary.by_session),
            ("reason", summary.by_reason),
        ):
            if not rows:
                continue
            click.echo("\n".join(_table(title, rows)) + "\n")
        click.echo("\n".join(_table("total", [summary.total])[1:]))
        click.echo(f"\nPrices of {catalog_date()}, unless the configuration says others.")
        if unknown := summary.total.unpriced_calls:
            calls = "1 call has" if unknown == 1 else f"{unknown:,} calls have"
            click.echo(f"{calls} no known price and no part in the cost: see [cost.prices].")


async def _summary(options: Options, days: int) -> Summary:
    config = options.load().config
    async with open_database(config.storage.url, options.home) as database:
        ledger = Spending(database, clock=Clock(), timezone=day_zone(config))
        return await ledger.summary(days=days)


def _json(summary: Summary) -> str:
    """`name` is called by what it is in each list."""
    shown = {
        "total": _row(summary.total, ""),
        "by_day": [_row(each, "day") for each in summary.by_day],
        "by_model": [_row(each, "model") for each in summary.by_model],
        "by_session": [_row(each, "session_id") for each in summary.by_session],
        "by_reason": [_row(each, "reason") for each in summary.by_reason],
    }
    return msgspec.json.encode(shown).decode()


def _row(spent: Spent, name: str) -> dict[str, str | int | float]:
    row: dict[str, str | int | float] = msgspec.structs.asdict(spent)
    given = row.pop("name")
    return {name: given, **row} if name else row


def _table(title: str, rows: Sequence[Spent]) -> list[str]:
    cells = [(title, *_HEAD[1:])]
    cells += [
        (
            each.name or title,
            _cost(each),
            f"{each.calls:,}",
            f"{each.input_tokens:,}",
            f"{each.cached_tokens:,}",
            f"{each.output_tokens:,}",
        )
        for each in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cost(spent: Spent) -> str:
    if not spent.unpriced_calls:
        return dollars(spent.cost_usd)
    return f"{dollars(spent.cost_usd)} + ?" if spent.cost_usd else "unknown"


def _bars(rows: Sequence[Spent]) -> list[str]:
    """A bar a day: its cost, or its tokens where nothing cost anything."""
    costs = [each.cost_usd for each in rows]
    free = not any(costs)
    sizes = [float(each.input_tokens + each.output_tokens) for each in rows] if free else costs
    said = [f"{size:,.0f}" for size in sizes] if free else [dollars(size) for size in sizes]
    most, width = max(sizes) or 1.0, max(map(len, said))
    return [
        f"{each.name}  {text:>{width}}  {_bar(size / most)}".rstrip()
        for each, text, size in zip(rows, said, sizes, strict=True)
    ]


def _bar(part: float) -> str:
    whole, eighths = divmod(round(part * _BAR_WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()
