"""How long a regular expression may take, read off its text.

Python's `re` goes back and tries again, holds the interpreter meanwhile and cannot be stopped, so
a slow pattern is refused when it is read.
"""

import math
import re

_TOKEN = re.compile(
    r"(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\((?:\?[#:=!>]|\?<[=!]|\?P?<\w+>|\?)?)|(?P<close>\))"
    r"|(?P<or>\|)|(?P<repeat>\*|\+|\?|\{\d+\}|\{\d*,\d*\})[?+]?|(?P<other>.)",
    re.DOTALL,
)


def attempts(pattern: str, length: float) -> float:
    """At most how many ways `pattern`, a valid one, has to match from one place in a text of
    `length` characters. Infinite when it grows exponentially, as for `(a+)+`.
    """
    groups: list[tuple[float, float]] = []
    alternatives, sequence, last = 0.0, 1.0, 1.0
    for token in _TOKEN.finditer(pattern):
        if token["repeat"]:
            sequence *= _repeated(token["repeat"], last, length)
            last = 1.0
            continue
        sequence *= last
        last = 1.0
        if token["open"]:
            groups.append((alternatives, sequence))
            alternatives, sequence = 0.0, 1.0
        elif token["or"]:
            alternatives, sequence = alternatives + sequence, 1.0
        elif token["close"] and groups:
            last = alternatives + sequence
            alternatives, sequence = groups.pop()
    return alternatives + sequence * last


def _repeated(repeat: str, ways: float, length: float) -> float:
    """The ways of something that has `ways` by itself, repeated."""
    least, most = {"*": (0.0, math.inf), "+": (1.0, math.inf), "?": (0.0, 1.0)}.get(
        repeat
    ) or _bounds(repeat)
    if math.isinf(most):
        return length if ways <= 1 else math.inf
    try:
        return math.pow(ways, most) * (most - least + 1)
    except OverflowError:
        return math.inf


def _bounds(repeat: str) -> tuple[float, float]:
    least, comma, most = repeat.strip("{}").partition(",")
    if not comma:
        return float(least), float(least)
    return float(least or 0), float(most or math.inf)
