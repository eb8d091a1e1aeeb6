import io
import json
import logging
import sys
import time
from datetime import datetime

import pytest

from famulus.core import logs
from famulus.core.logs import LineFormatter, correlation


def line(message, *args, style="logfmt", **extra):
    record = logging.LogRecord(
        "famulus.engine", logging.INFO, "f.py", 1, message, args, extra.get("exc_info")
    )
    return LineFormatter(style).format(record)


def test_names_in_the_message_become_keys():
    text = line("turn failed turn=%s error=%s seconds=%g", "a:b", 'no "space" left', 1.5)
    assert ' level=info room=engine event="turn failed" turn=a:b ' in text
    assert text.endswith(r'error="no \"space\" left" seconds=1.5')


def test_json_holds_the_same():
    values = json.loads(line("turn failed turn=%s count=%d", "x y", 3, style="json"))
    assert values["event"] == "turn failed"
    assert values["turn"] == "x y"
    assert values["count"] == 3


def test_json_keeps_numbers_and_truth_apart_from_text():
    message = "request seconds=%.4f status=%d duplicate=%s cost=%s size=%s name=%s rate=%s"
    text = line(message, 0.123456, 200, False, 0.5, 10**20, "7", float("nan"), style="json")
    values = json.loads(text, parse_constant=pytest.fail)
    assert (values["seconds"], values["status"], values["duplicate"]) == (0.1235, 200, False)
    assert (values["cost"], values["size"], values["name"], values["rate"]) == (
        0.5,
        10**20,
        "7",
        "nan",
    )


@pytest.mark.parametrize(
    ("zone", "offset"), [("UTC", "+00:00"), ("Asia/Kolkata", "+05:30"), ("America/Lima", "-05:00")]
)
def test_a_time_says_its_zone(monkeypatch, zone, offset):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    logs._second.cache_clear()
    try:
        said = json.loads(line("x", style="json"))["time"]
        assert said.endswith(offset)
        assert abs(datetime.fromisoformat(said).timestamp() - time.time()) < 60
        assert f"time={said[:11]}" in line("x")
    finally:
        monkeypatch.undo()
        time.tzset()
        logs._second.cache_clear()


def test_a_line_stays_one_line_whatever_is_in_it():
    text = line("said text=%s", "a\nb\rlevel=error\x1b[31m c")
    assert "\n" not in text
    assert "\x1b" not in text
    assert text.count(" level=") == 1


@pytest.mark.parametrize(
    ("message", "args", "event"),
    [
        ("plain", (), "plain"),
        ("%s happened", ("it",), "it happened"),
        ("%s happened turn=%s", ("it", "t"), "it happened turn=t"),
        ("100%", (), "100%"),
        ("a dict %(key)s", ({"key": "v"},), "a dict v"),
    ],
)
def test_other_messages_are_the_event(message, args, event):
    assert json.loads(line(message, *args, style="json"))["event"] == event


def test_the_correlation_id_is_on_every_line():
    token = correlation.set("abc123")
    try:
        assert "correlation=abc123" in line("x")
    finally:
        correlation.reset(token)
    assert "correlation" not in line("x")


def test_a_trace_stays_in_its_line():
    try:
        raise ValueError("oops")
    except ValueError:
        text = line("failed turn=%s", "t", exc_info=sys.exc_info())
    assert "\n" not in text
    assert "ValueError: oops" in text


def test_the_formatter_works_through_logging():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("logfmt"))
    log = logging.Logger("famulus.test")
    log.addHandler(handler)
    log.warning("waits seconds=%g", 2)
    assert stream.getvalue().endswith("level=warning room=test event=waits seconds=2\n")
