"""The router's decisions about messages that a person has labelled."""

import time
from typing import NamedTuple

import msgspec

from famulus.models.classify import classify, compiled
from famulus.models.measured import Labelled, measure
from process import HERE

_HELD_OUT = HERE.parent / "tests" / "models" / "data" / "heldout.jsonl"


class Routed(NamedTuple):
    """Microseconds of a decision and the shares, in percent, of what was taken for simple."""

    median: float
    p99: float
    leaked: float
    recognised: float


def decisions(repeats: int) -> Routed:
    """The quickest of `repeats` times counts for each message."""
    rules = compiled()
    messages = [
        msgspec.json.decode(line, type=Labelled) for line in _HELD_OUT.read_bytes().splitlines()
    ]
    times = []
    for message in messages:
        spent = []
        for _ in range(repeats):
            started = time.perf_counter_ns()
            classify(message.text, rules)
            spent.append(time.perf_counter_ns() - started)
        times.append(min(spent) / 1000)
    times.sort()
    told = measure(messages, rules)
    (leaked, hard), (recognised, simple) = told.leaked(), told.recognised()
    return Routed(
        median=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        leaked=100 * leaked / hard,
        recognised=100 * recognised / simple,
    )
