"""Logs as logfmt or JSON, one line an event, with the id that ties a message to its reply.

A call names its values in the message: `log.info("accepted turn=%s", turn)`. The names become
keys, so that values are quoted and both formats hold the same.
"""

import json
import logging
import math
import operator
import re
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, TextIO

correlation: ContextVar[str] = ContextVar("correlation", default="")

_PAIR = re.compile(r"\s*\b(\w+)=(%[-#0-9.]*[a-zA-Z])")
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")


class LineFormatter(logging.Formatter):
    def __init__(self, style: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        second, zone = _second(int(record.created))
        pairs: dict[str, Any] = {
            "time": f"{second}.{int(record.msecs):03d}{zone}",
            "level": record.levelname.lower(),
            "room": record.name.removeprefix("famulus."),
        }
        if current := correlation.get():
            pairs["correlation"] = current
        pairs |= _pairs(record, typed=self._json)
        if record.exc_info:
            pairs["trace"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps(pairs, ensure_ascii=False)
        return " ".join(f"{key}={_quoted(value)}" for key, value in pairs.items())


@lru_cache(maxsize=1)
def _second(seconds: int) -> tuple[str, str]:
    """A second as it is called here, and how far that is from UTC: `+01:00`."""
    here = time.localtime(seconds)
    zone = time.strftime("%z", here)
    return time.strftime("%Y-%m-%dT%H:%M:%S", here), f"{zone[:3]}:{zone[3:]}"


def _pairs(record: logging.LogRecord, *, typed: bool) -> dict[str, Any]:
    event, keys, formats = _template(str(record.msg))
    if isinstance(record.args, tuple) and record.args and len(keys) == len(record.args):
        values = zip(keys, formats, record.args, strict=True)
        shown = _typed if typed else operator.mod
        return {"event": event} | {key: shown(form, (value,)) for key, form, value in values}
    return {"event": record.getMessage()}


@lru_cache(maxsize=512)
def _template(message: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    pairs = _PAIR.findall(message)
    event = _PAIR.sub("", message).strip()
    # A bare placeholder in the words would shift the values.
    keys = tuple(key for key, _ in pairs) if "%" not in event else ()
    return event, keys, tuple(form for _, form in pairs)


def _typed(form: str, value: tuple[Any]) -> Any:
    """Numbers and truth stay what they are, with the digits that the form asks for."""
    (plain,) = value
    if isinstance(plain, float) and math.isfinite(plain):
        return float(form % value)
    return plain if isinstance(plain, int) else form % value


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def write_logs(level: str, style: Literal["logfmt", "json"], stream: TextIO = sys.stderr) -> None:
    """Send the logs of the whole process to `stream`."""
    # A third of a line's cost is to find out what our lines do not show.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    lines = logging.StreamHandler(stream)
    lines.setFormatter(LineFormatter(style))
    logging.basicConfig(level=level.upper(), handlers=[lines], force=True)
