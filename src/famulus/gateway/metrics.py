"""What the gateway counts, as Prometheus text."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from famulus.core import events
from famulus.core.clock import Clock
from famulus.store.database import Database

_PAGE_BYTES = resource.getpagesize()


class _Kind(NamedTuple):
    type: str
    help: str


_KINDS = {
    "famulus_uptime_seconds": _Kind("gauge", "Seconds since the gateway started."),
    "famulus_resident_memory_bytes": _Kind("gauge", "Memory of the process."),
    "famulus_cpu_seconds_total": _Kind("counter", "CPU time of the process."),
    "famulus_http_requests_total": _Kind("counter", "HTTP requests by status."),
    "famulus_websocket_clients": _Kind("gauge", "Connected WebSocket clients."),
    "famulus_turns_started_total": _Kind("counter", "Starts of turns by channel."),
    "famulus_turns_answered_total": _Kind("counter", "Turns that ended, by channel."),
    "famulus_turns_open": _Kind("gauge", "Turns that are not over, by status."),
    "famulus_outbox_open": _Kind("gauge", "Replies that were not delivered yet, by channel."),
    "famulus_messages_taken_total": _Kind("counter", "Messages that turns took up, by channel."),
    "famulus_tool_calls_total": _Kind("counter", "Tool calls by tool and outcome."),
    "famulus_tokens_total": _Kind("counter", "Tokens by model and direction."),
    "famulus_cost_usd_total": _Kind("counter", "Cost of answers by model, in US dollars."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """`observe` takes the events of all turns; `gauges` are read when somebody asks."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self.gauges: dict[str, Callable[[], float]] = {}
        self._database = database
        self._clock = clock
        self._started = clock.monotonic()
        self._counted: dict[str, dict[Labels, float]] = {}

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        values = self._counted.setdefault(name, {})
        key = tuple(labels.items())
        values[key] = values.get(key, 0) + amount

    def observe(self, event: events.Event) -> None:
        match event:
            case events.TurnStarted(channel=channel, answers=answers):
                self.count("famulus_turns_started_total", channel=channel)
                self.count("famulus_messages_taken_total", len(answers), channel=channel)
            case events.ToolFinished(name=name, ok=ok):
                outcome = "ok" if ok else "failed"
                self.count("famulus_tool_calls_total", tool=name, outcome=outcome)
            case events.Answered(channel=channel, outbound=outbound):
                self.count("famulus_turns_answered_total", channel=channel)
                usage, model = outbound.usage, outbound.model
                if model:
                    self.count("famulus_tokens_total", usage.input_tokens, model=model, way="in")
                    self.count("famulus_tokens_total", usage.output_tokens, model=model, way="out")
                    self.count("famulus_cost_usd_total", usage.cost_usd, model=model)

    async def text(self) -> str:
        values = dict(self._counted)
        values["famulus_uptime_seconds"] = {(): self._clock.monotonic() - self._started}
        values["famulus_resident_memory_bytes"] = {(): _resident_bytes()}
        values["famulus_cpu_seconds_total"] = {(): time.process_time()}
        for name, read in self.gauges.items():
            values[name] = {(): read()}
        values["famulus_turns_open"] = await self._grouped(
            "select status as label, count(*) as number from turn"
            " where status in ('waiting', 'running') group by status",
            "status",
        )
        values["famulus_outbox_open"] = await self._grouped(
            "select channel as label, count(*) as number from outbox"
            " where status in ('pending', 'sending') group by channel",
            "channel",
        )
        lines = []
        for name, kind in _KINDS.items():
            lines += [f"# HELP {name} {kind.help}", f"# TYPE {name} {kind.type}"]
            lines += [f"{name}{_labels(key)} {n:.12g}" for key, n in values.get(name, {}).items()]
        return "\n".join(lines) + "\n"

    async def _grouped(self, sql: str, label: str) -> dict[Labels, float]:
        rows = await self._database.fetch(sql)
        return {((label, row["label"]),): row["number"] for row in rows}


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + inner + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _resident_bytes() -> float:
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        # Elsewhere only the peak is known, in kilobytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
