"""What the limits of `[cost]` say: on whom, for how long, how much."""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from famulus.core.config import Cost, SpendingLimits
from famulus.core.errors import ConfigError
from famulus.core.protocols import Caller
from famulus.core.zones import machine_zone

SCOPES = ("person", "agent", "channel", "job")
UNLIMITED = 2**62
NANO = 1_000_000_000
_WORDS: dict[str, str] = {"day": "daily", "month": "monthly"}


class Used(NamedTuple):
    """What is booked on a limit, and what calls on their way could still cost."""

    cost_nano: int
    tokens: int
    held_nano: int
    held_tokens: int


class Limit(NamedTuple):
    """The most for one `scope` in a day or a month, in billionths of a dollar and in tokens.

    `scope` is empty for everything, else like `person:alice`. `section` is where it is written.
    """

    scope: str
    period: Literal["day", "month"]
    cost_nano: int
    tokens: int
    section: str

    def key(self, day: str) -> tuple[str, str]:
        """The scope and the period that `day`, like `2026-01-31`, is in."""
        return self.scope, day if self.period == "day" else day[:7]

    def refuses(self, used: Used, cost_nano: int, tokens: int) -> bool:
        """Whether a call is too much even if those on their way turn out to cost nothing."""
        return used.cost_nano + cost_nano > self.cost_nano or used.tokens + tokens > self.tokens

    def refusal(self, used: Used, cost_nano: int, tokens: int, frees: str) -> str:
        """Why a call was not made, and what the user can do."""
        word = _WORDS[self.period]
        if used.cost_nano + cost_nano > self.cost_nano:
            setting = f"{word}_limit_usd"
            most, left = usd(self.cost_nano), self.cost_nano - used.cost_nano
            spent, rest, call = f"{usd(used.cost_nano)} spent", usd(max(0, left)), usd(cost_nano)
            alone = cost_nano > self.cost_nano
        else:
            setting = f"{word}_limit_tokens"
            most, left = f"{self.tokens:,} tokens", self.tokens - used.tokens
            spent, rest, call = f"{used.tokens:,} used", f"{left:,}", f"{tokens:,} tokens"
            alone = tokens > self.tokens
        free = setting.endswith("tokens")
        verb, cheaper = (
            ("take", "") if free else ("cost", ", or choose a cheaper model with /model")
        )
        what = f"The {word} limit of {most}{self._whose()}"
        advice = f"Raise {self.section}.{setting}"
        if alone:
            return (
                f"{what} is too small for this call, which could {verb} {call}. {advice}, or "
                f"lower the max_tokens of the model{cheaper}."
            )
        state = (
            f"has {rest} left ({spent}), and this call could {verb} up to {call}"
            if left > 0
            else f"is used up ({spent})"
        )
        return f"{what} {state}. It frees {frees}. {advice}{cheaper}."

    def warning(self, cost_nano: int, tokens: int, percent: int) -> str:
        """What is used; under `percent` of the limit, also why that is told already."""
        word = _WORDS[self.period]
        if cost_nano * self.tokens >= tokens * self.cost_nano:
            part, most, now = cost_nano / self.cost_nano, usd(self.cost_nano), usd(cost_nano)
        else:
            part, most, now = tokens / self.tokens, f"{self.tokens:,} tokens", f"{tokens:,}"
        early = part * 100 < percent
        rest = " What is left may be too little for a call like the last one." if early else ""
        return f"{part:.0%} of the {word} limit of {most}{self._whose()} is used ({now}).{rest}"

    def _whose(self) -> str:
        kind, _, name = self.scope.partition(":")
        return f" for the {kind} {name}" if kind else ""


class Limits:
    """All limits, and the calendar they go by. Raises `ConfigError`."""

    def __init__(self, settings: Cost) -> None:
        self.zone = zone_of(settings.timezone)
        self._by_scope = {"": _limits("", settings, "cost")}
        for scope, limits in settings.limits.items():
            kind, _, name = scope.partition(":")
            section = f'cost.limits."{scope}"'
            if kind not in SCOPES or not name:
                raise ConfigError(
                    f"{section} is for nobody. Name it like "
                    + ", ".join(f'"{each}:NAME"' for each in SCOPES)
                    + "."
                )
            self._by_scope[scope] = _limits(scope, limits, section)
        self._any = any(self._by_scope.values())

    def on(self, caller: Caller) -> tuple[Limit, ...]:
        """The limits that a call for `caller` must keep, always in the same order."""
        if not self._any:
            return ()
        found = self._by_scope[""]
        for kind in SCOPES:
            found += self._by_scope.get(f"{kind}:{getattr(caller, kind)}", ())
        return found

    def day(self, now: datetime) -> str:
        return now.astimezone(self.zone).date().isoformat()

    def frees(self, limit: Limit, now: datetime) -> str:
        """When the limit's next period begins."""
        today = now.astimezone(self.zone).date()
        if limit.period == "day":
            first, on = today + timedelta(days=1), ""
        else:
            first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
            on = f"on {first} "
        midnight = datetime(first.year, first.month, first.day, tzinfo=self.zone)
        return f"{on}at {midnight:%H:%M %Z}"


def _limits(scope: str, settings: SpendingLimits, section: str) -> tuple[Limit, ...]:
    written: tuple[tuple[Literal["day", "month"], float, int], ...] = (
        ("day", settings.daily_limit_usd, settings.daily_limit_tokens),
        ("month", settings.monthly_limit_usd, settings.monthly_limit_tokens),
    )
    return tuple(
        Limit(scope, period, round(most * NANO) or UNLIMITED, tokens or UNLIMITED, section)
        for period, most, tokens in written
        if most or tokens
    )


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name; this machine's for an empty one. Raises `ConfigError`."""
    try:
        return ZoneInfo(name or machine_zone())
    except (LookupError, ValueError, OSError):
        raise ConfigError(
            f"cost.timezone is {name!r}, which is no time zone. Use a name like Europe/Berlin."
        ) from None


def usd(cost_nano: int) -> str:
    """Dollars and cents, with more digits where there would be none: `$1.00`, `$0.0004`."""
    if cost_nano == 0 or cost_nano >= 10_000_000:
        return f"${cost_nano / NANO:,.2f}"
    return f"${cost_nano / NANO:.2g}" if cost_nano >= 100_000 else f"${cost_nano / NANO:.6f}"
