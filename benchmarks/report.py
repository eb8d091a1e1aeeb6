"""The figures for people: a table for the terminal, a page for the documentation, a plot."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from figures import Figure

_COLUMNS = ("figure", "unit", "goal", "measured", "bare", "ratio", "ok")

_PAGE = """# Figures

Measured by `make bench` with the program as it is shipped, over `POST /api/chat`, with everything
durable on disk, against a model server that answers at once unless a row says otherwise. *Bare* is
the least that could do the same, in the same run: a plain aiohttp server that asks the same model
once per message (twice for the tool), keeps its chats in memory and stores nothing; for starting,
Python itself or one request with aiohttp; for the search, a scan without an index; for a request to
a vendor, a POST of the same bytes whose answer is read and not looked at. Model server and client
are processes of their own, whose CPU does not count. Memory hardly changes from
run to run; CPU times follow the machine's speed, which moved up to twofold here, so read them
beside *bare*.

The router decides about the labelled messages of `tests/models/data/heldout.jsonl`; of five times
for each message the quickest counts. The share recognised flatters: [Routing](routing.md) says why.
The cached share is what OpenAI and Anthropic would read from their prompt caches by their published
rules if nothing expired in between. The small window is one of 4,096 tokens; a request counts as
refused when a third of its bytes is more than that.

Machine: {machine}. Command:

```
make bench ARGS="--markdown docs/benchmarks.md --plot docs/images/long-chat.svg"
```

{table}

{misses}

A turn of *hello* is one model call and three transactions, two of them synced to the disk; a tool
turn has two model calls and five transactions. The installed size is without Python and bytecode.

![Milliseconds of each turn of a chat, the quickest of seven chats](images/long-chat.svg)
"""


def table(figures: Sequence[Figure]) -> str:
    rows = [_COLUMNS, *map(_cells, figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(figures: Sequence[Figure]) -> str:
    """The page of the documentation."""
    rows = [_COLUMNS, ("---", "---", *["---:"] * 4, "---"), *map(_cells, figures)]
    missed = [
        f"*{figure.name}* ({_number(figure.measured)} {figure.unit})"
        for figure in figures
        if figure.ok is False
    ]
    misses = (
        f"Not reached in this run: {', '.join(missed)}." if missed else "Every goal was reached."
    )
    return _PAGE.format(
        machine=_machine(),
        table="\n".join(f"| {' | '.join(row)} |" for row in rows),
        misses=misses,
    )


def plot(latencies: Mapping[str, Sequence[float]]) -> str:
    """Milliseconds by turn as an SVG, one line for each name."""
    width, height, left, bottom = 640, 260, 44, 34
    most = max(max(each) for each in latencies.values()) * 1.05
    longest = max(len(each) for each in latencies.values())
    colours = ("#2563eb", "#9ca3af", "#d97706")

    def at(turn: int, value: float) -> str:
        x = left + (width - left - 20) * turn / longest
        y = (height - bottom) * (1 - value / most)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#6b7280">',
        f'<path d="M{at(0, most)} L{at(0, 0)} L{at(longest, 0)}" stroke="#9ca3af" fill="none"/>',
    ]
    for value in (most / 4, most / 2, most * 3 / 4):
        x, y = at(0, value).split(",")
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end">{value:.1f}</text>')
    for turn in range(50, longest + 1, 50):
        x, y = at(turn, 0).split(",")
        parts.append(f'<text x="{x}" y="{height - 18}" text-anchor="middle">{turn}</text>')
    parts.append(
        f'<text x="{width / 2}" y="{height - 3}" text-anchor="middle">turn of a chat</text>'
    )
    parts.append(f'<text x="{left + 4}" y="12">ms</text>')
    for (name, values), colour in zip(latencies.items(), colours, strict=False):
        line = " ".join(at(turn, value) for turn, value in enumerate(values))
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        x, y = at(len(values) - 1, max(values[-len(values) // 10 :])).split(",")
        parts.append(
            f'<text x="{x}" y="{max(float(y) - 8, 12):.1f}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cells(figure: Figure) -> tuple[str, ...]:
    bare = "–" if figure.bare is None else _number(figure.bare)
    ratio = f"{figure.measured / figure.bare:.2f}" if figure.bare else "–"
    goal = "–" if figure.goal is None else f"{'≥' if figure.more else '≤'} {_number(figure.goal)}"
    measured = _number(figure.measured)
    ok = {True: "yes", False: "NO", None: "–"}[figure.ok]
    return (figure.name, figure.unit, goal, measured, bare, ratio, ok)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.1f}".removesuffix(".0") if value >= 1 else f"{value:.2f}".rstrip("0").rstrip(".")
    )


def _machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{cpu}, {os.cpu_count()} cores, Linux, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
