"""Tells the date and the time."""

import difflib
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from famulus.core import checks
from famulus.core.errors import ToolError
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Replay, Tool
from famulus.core.settings import Section, doc
from famulus.core.tools import tool


class Settings(Section, frozen=True):
    """The clock."""

    enabled: Annotated[bool, doc("Whether the tool is there.")] = True
    timezone: Annotated[
        str,
        doc(
            "IANA name of the zone when none is asked for; empty: yours, as `agent.timezone` says.",
            check=checks.own_time_zone,
        ),
    ] = ""


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    timezone: Annotated[str, doc("IANA name.")] = ""


def build(settings: Settings, services: Services) -> Tool:
    @tool(replay=Replay.SAFE)
    async def current_datetime(context: Context, arguments: Arguments) -> str:
        """The current date and time."""
        return _told(
            context.clock.now(), arguments.timezone or settings.timezone or context.timezone
        )

    return current_datetime


def _told(now: datetime, name: str) -> str:
    there = now.astimezone(_zone(name) if name else None)
    zone = f"{name}, {there:%Z}" if name and name != f"{there:%Z}" else f"{there:%Z}"
    return f"{there:%A}, {there.isoformat(sep=' ', timespec='seconds')} ({zone})"


def _zone(name: str) -> ZoneInfo:
    if name.upper() in ("UTC", "GMT", "Z"):
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ToolError(f"There is no time zone {name!r}.{_nearest(name)}") from None


def _nearest(name: str) -> str:
    """A model says Berlin or America/new york where the name is Europe/Berlin."""
    known = {zone.lower(): zone for zone in available_timezones()}
    wanted = name.strip().lower().replace(" ", "_")
    cities = [zone for zone in known if zone.rsplit("/", 1)[-1] == wanted.rsplit("/", 1)[-1]]
    near = sorted(cities) + difflib.get_close_matches(wanted, known, 3, 0.6)
    unique = list(dict.fromkeys(known[zone] for zone in near))[:3]
    return f" Did you mean {' or '.join(unique)}?" if unique else " Use a name like Europe/Berlin."
