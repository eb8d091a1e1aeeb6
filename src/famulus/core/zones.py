"""The time zone of the person: an IANA name, and times as people read them.

Times are kept in UTC everywhere; this is for what a person or a model is shown.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from famulus.core.config import Config

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_LONGEST = 64
_SAME_AS_UTC = {"Etc/UTC", "Etc/UCT", "Etc/Zulu", "Etc/Universal", "UCT", "Zulu", "Universal"}
_DATABASE = "/zoneinfo/"


def known(name: str) -> str:
    """`name` if there is such a zone, else nothing. It may come from anywhere: a zone's name is
    also the name of a file.
    """
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        return ""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return ""
    return "UTC" if name in _SAME_AS_UTC else name


def machine_zone(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> str:
    """The zone this machine is set to: `TZ`, else `/etc/localtime`, else UTC."""
    if written := environment.get("TZ", "").removeprefix(":"):
        return known(written.rpartition(_DATABASE)[2]) or "UTC"
    try:
        target = str((root / "etc/localtime").readlink())
    except OSError:  # not a link, but a copy of the zone's file
        try:
            return known((root / "etc/timezone").read_text("utf-8").strip()) or "UTC"
        except (OSError, UnicodeError):
            return "UTC"
    return known(target.rpartition(_DATABASE)[2]) or "UTC"


def person_zone(written: str, told: str = "") -> str:
    """The zone of a person: `written` by the owner, else what their browser `told`, else that of
    this machine. Neither of the two may be unknown.
    """
    return written or told or machine_zone()


def day_zone(config: Config) -> str:
    """The zone whose midnights part the days that limits and reports go by."""
    return config.cost.timezone or person_zone(config.agent.timezone)


def minute(at: datetime | float, zone: str) -> str:
    """A time to the minute, with its zone's name."""
    moment = datetime.fromtimestamp(at, UTC) if isinstance(at, float | int) else at
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone}"


def stamp(at: datetime, zone: str) -> str:
    """A time for a model, who must also know the day of the week and what clocks are set to."""
    if zone == "UTC":
        return f"{at.astimezone(UTC):%a %Y-%m-%d %H:%M} UTC"
    there = at.astimezone(ZoneInfo(zone))
    offset = f"{there:%z}"
    return f"{there:%a %Y-%m-%d %H:%M} {offset[:3]}:{offset[3:]} {zone}"
