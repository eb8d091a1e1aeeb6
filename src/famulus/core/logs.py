"""Logs as logfmt or JSON, one line an event, with the id that ties a message to its reply.

A call names its values in the message: `log.info("accepted turn=%s", turn)`. The names become
keys, so that values are quoted and both formats hold the same.
"""

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Literal, TextIO

correlation: ContextVar[str] = ContextVar("correlation", default="")

_PAIR = re.compile(r"\s*\b(\w+)=(%[-#0-9.]*[a-zA-Z])")
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")


class LineFormatter(logging.Formatter):
    def __init__(self, style: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        pairs = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "room": record.name.removeprefix("famulus."),
        }
        if current := correlation.get():
            pairs["correlation"] = current
        pairs |= _pairs(record)
        if record.exc_info:
            pairs["trace"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps(pairs, ensure_ascii=False)
        return " ".join(f"{key}={_quoted(value)}" for key, value in pairs.items())


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def _pairs(record: logging.LogRecord) -> dict[str, str]:
    event, keys, formats = _template(str(record.msg))
    if isinstance(record.args, tuple) and record.args and len(keys) == len(record.args):
        values = zip(keys, formats, record.args, strict=True)
        return {"event": event} | {key: form % (value,) for key, form, value in values}
    return {"event": record.getMessage()}


@lru_cache(maxsize=512)
def _template(message: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    pairs = _PAIR.findall(message)
    event = _PAIR.sub("", message).strip()
    # A bare placeholder in the words would shift the values.
    keys = tuple(key for key, _ in pairs) if "%" not in event else ()
    return event, keys, tuple(form for _, form in pairs)


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
