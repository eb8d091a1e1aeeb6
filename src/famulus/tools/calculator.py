"""Works out arithmetic in exact decimals.

A result that is exact is shown in full; any other is rounded, and says so with a `≈`.
"""

import contextlib
import decimal
import math
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import (
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import Annotated

import msgspec

from famulus.core.errors import ToolError
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Replay, Tool
from famulus.core.settings import Section, doc
from famulus.core.tools import tool

_DIGITS = 400
_DEEPEST = 50
_SMALLEST = 28  # zeros before the first digit that are still written out
_PRECISION = decimal.Context(
    prec=_DIGITS, Emax=9999, Emin=-9999, traps=[DivisionByZero, InvalidOperation, Overflow]
)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
_E = Decimal("2.71828182845904523536028747135266249775724709369995957496696762772407663035354759")


class Settings(Section, frozen=True):
    """Exact arithmetic."""

    enabled: Annotated[bool, doc("Whether the tool is there.")] = True
    digits: Annotated[
        int, doc("Digits that are calculated with, and shown of an exact result.", ge=50, le=4000)
    ] = _DIGITS
    rounded_digits: Annotated[
        int, doc("Digits shown of a result that is not exact.", ge=1, le=50)
    ] = 28
    longest: Annotated[int, doc("Characters of an expression.", ge=1, le=10_000)] = 1000


_DEFAULT = Settings()


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    expression: str


def build(settings: Settings, services: Services) -> Tool:
    @tool(replay=Replay.SAFE)
    async def calculator(context: Context, arguments: Arguments) -> str:
        """Exact arithmetic: + - * / // % **, 5% of x, sqrt, ln, sin, round, mean, stdev…"""
        return calculate(arguments.expression, settings)

    return calculator


def calculate(expression: str, settings: Settings = _DEFAULT) -> str:
    """The value of `expression`. Raises `ToolError` saying what is wrong with it."""
    if len(expression) > settings.longest:
        raise ToolError(f"The expression is longer than {settings.longest} characters. Split it.")
    with localcontext(_PRECISION) as precision:
        precision.prec = settings.digits
        try:
            value = _Parser(expression).value()
            if not precision.flags[Inexact]:
                return _shown(value, settings.digits)
            return f"≈ {_rounded_to(value, settings.rounded_digits)}"
        except DivisionByZero:
            raise ToolError("Division by zero.") from None
        except Overflow:
            raise ToolError("The result has more than 10,000 digits.") from None
        except InvalidOperation:
            raise ToolError("That has no real value, like 0/0 or sqrt(-1).") from None


def _rounded_to(value: Decimal, digits: int) -> str:
    return _shown(decimal.Context(prec=digits, rounding=ROUND_HALF_UP).plus(value), digits)


def _shown(value: Decimal, longest: int) -> str:
    value = value.normalize()
    if not value:
        return "0"
    return f"{value:f}" if -_SMALLEST < value.adjusted() < longest else f"{value:e}"


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|//|[-+*/%^(),×÷−·]))"
)
_SPELLINGS = {"^": "**", "×": "*", "·": "*", "÷": "/", "−": "-"}


class _Parser:
    """Precedence climbing. What each rule returns is the value of what it has read."""

    def __init__(self, expression: str) -> None:
        self._tokens = _tokens(expression)
        self._at = 0
        self._depth = 0

    def value(self) -> Decimal:
        value = self._sum()
        if self._at < len(self._tokens):
            raise ToolError(f"Unexpected {self._tokens[self._at]!r} in the expression.")
        return value

    def _sum(self) -> Decimal:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ToolError(f"The expression is nested deeper than {_DEEPEST} levels.")
        value = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = value + other if sign == "+" else value - other
        self._depth -= 1
        return value

    def _product(self) -> Decimal:
        value = self._signed()
        while sign := self._take("*", "/", "//", "%", "of"):
            other = self._signed()
            if sign in ("*", "of"):
                value = value * other
            elif sign == "/":
                value = value / other
            else:
                whole = _whole_quotient(value, other)
                value = whole if sign == "//" else value - other * whole
        return value

    def _signed(self) -> Decimal:
        minus = False
        while sign := self._take("+", "-"):
            minus ^= sign == "-"
        value = self._power()
        return -value if minus else +value

    def _power(self) -> Decimal:
        value = self._percent()
        exponents = [value]
        while self._take("**"):
            minus = bool(self._take("-"))
            exponent = self._percent()
            exponents.append(-exponent if minus else exponent)
        value = exponents.pop()
        while exponents:
            value = exponents.pop() ** value
        return value

    def _percent(self) -> Decimal:
        value = self._operand()
        # `10 % 3` is a remainder; with nothing to divide by, the sign means hundredths.
        while self._peek() == "%" and not _begins_operand(self._peek(1)):
            self._at += 1
            value = value / 100
        return value

    def _operand(self) -> Decimal:
        if self._take("("):
            value = self._sum()
            self._expect(")")
            return value
        token = self._peek()
        self._at += 1
        if token[:1].isdigit() or token[:1] == ".":
            return +Decimal(token)
        if token in _CONSTANTS:
            return _rounded(_CONSTANTS[token])
        if token in _FUNCTIONS:
            return self._call(token)
        known = ", ".join(sorted([*_CONSTANTS, *_FUNCTIONS]))
        if token[:1].isalpha():
            raise ToolError(f"{token!r} is not known. Known: {known}.")
        raise ToolError(f"A number is missing before {token!r}." if token else "Unfinished.")

    def _call(self, name: str) -> Decimal:
        self._expect("(")
        values: list[Decimal] = []
        if not self._take(")"):
            values.append(self._sum())
            while self._take(","):
                values.append(self._sum())
            self._expect(")")
        function, least, most = _FUNCTIONS[name]
        if not least <= len(values) <= most:
            wanted = f"{least}" if least == most else f"{least} or more"
            raise ToolError(f"{name} takes {wanted} numbers, not {len(values)}.")
        return +function(values)

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if token not in wanted:
            return ""
        self._at += 1
        return token

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ToolError(f"{sign!r} is missing before {self._peek() or 'the end'!r}.")


def _begins_operand(word: str) -> bool:
    return word != "of" and (word[:1].isalnum() or word[:1] in tuple(".("))


def _tokens(expression: str) -> list[str]:
    tokens = []
    at, text = 0, expression.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise ToolError(f"{text[at:].strip()[:20]!r} is not arithmetic.")
        token = match[match.lastgroup or 0]
        tokens.append(_SPELLINGS.get(token, token.lower()))
        at = match.end()
    return tokens


def _integer(value: Decimal, *, most: int = 10**_DIGITS) -> int:
    if value != value.to_integral_value() or abs(value) > most:
        raise ToolError(
            f"{_rounded_to(value, _SMALLEST)} is not a whole number of a size I can take."
        )
    return int(value)


def _round(values: Sequence[Decimal]) -> Decimal:
    places = _integer(values[1], most=_DIGITS) if len(values) > 1 else 0
    with _rounding_is_meant():
        return values[0].quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, Decimal()) / len(values)


def _median(values: Sequence[Decimal]) -> Decimal:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else _mean(ordered[middle - 1 : middle + 1])


def _variance(values: Sequence[Decimal]) -> Decimal:
    """Of a sample, so divided by one less than its size."""
    mean = _mean(values)
    return sum(((value - mean) ** 2 for value in values), Decimal()) / (len(values) - 1)


def _whole_quotient(value: Decimal, other: Decimal) -> Decimal:
    with _rounding_is_meant():
        whole = (value / other).to_integral_value(ROUND_FLOOR)
    if whole.adjusted() >= decimal.getcontext().prec - 1:
        raise ToolError("The quotient has more digits than are calculated with.")
    return whole


@contextlib.contextmanager
def _rounding_is_meant() -> Iterator[None]:
    """What is rounded in it makes a result no less exact."""
    flags = decimal.getcontext().flags
    inexact = flags[Inexact]
    yield
    flags[Inexact] = inexact


def _rounded(value: Decimal) -> Decimal:
    """`value`, where decimal does not know that it is not exact."""
    decimal.getcontext().flags[Inexact] = True
    return value


def _sine(x: Decimal) -> Decimal:
    """By its series, after taking off whole turns: the digits of pi bound the angle."""
    if abs(x) > 10**30:
        raise ToolError("The angle is too large. Take off whole turns of 2*pi first.")
    with localcontext(_PRECISION) as precision:
        precision.prec = 80
        x -= 2 * _PI * (x / (2 * _PI)).to_integral_value()
        term = total = x
        for n in range(2, 120, 2):
            term *= -x * x / (n * (n + 1))
            total += term
    return _rounded(Decimal() if abs(total) < Decimal("1e-45") else total)


def _cosine(x: Decimal) -> Decimal:
    return _sine(x + _PI / 2)


def _arctangent(x: Decimal) -> Decimal:
    with localcontext(_PRECISION) as precision:
        precision.prec = 80
        halvings = 6
        for _ in range(halvings):
            x = x / (1 + (1 + x * x).sqrt())
        power = total = x
        for n in range(3, 70, 2):
            power *= -x * x
            total += power / n
    return _rounded(total * 2**halvings)


def _arcsine(x: Decimal) -> Decimal:
    if abs(x) == 1:
        return _rounded(_PI / 2 * x)
    return _arctangent(x / (1 - x * x).sqrt())


def _whole(function: Callable[..., int], most: int) -> Callable[[Sequence[Decimal]], Decimal]:
    def apply(values: Sequence[Decimal]) -> Decimal:
        try:
            return Decimal(function(*(_integer(value, most=most) for value in values)))
        except ValueError:
            raise ToolError("This function takes whole numbers from 0.") from None

    return apply


def _of_one(function: Callable[[Decimal], Decimal]) -> Callable[[Sequence[Decimal]], Decimal]:
    return lambda values: function(values[0])


_ANY = 10**6
_CONSTANTS = {"pi": _PI, "π": _PI, "e": _E}
# What it does, and the least and the most numbers it takes.
_FUNCTIONS: dict[str, tuple[Callable[[Sequence[Decimal]], Decimal], int, int]] = {
    "abs": (_of_one(abs), 1, 1),
    "acos": (_of_one(lambda x: _PI / 2 - _arcsine(x)), 1, 1),
    "asin": (_of_one(_arcsine), 1, 1),
    "atan": (_of_one(_arctangent), 1, 1),
    "ceil": (_of_one(lambda x: x.to_integral_value("ROUND_CEILING")), 1, 1),
    "comb": (_whole(math.comb, 3000), 2, 2),
    "cos": (_of_one(_cosine), 1, 1),
    "degrees": (_of_one(lambda x: x * 180 / _PI), 1, 1),
    "exp": (_of_one(Decimal.exp), 1, 1),
    "factorial": (_whole(math.factorial, 3000), 1, 1),
    "floor": (_of_one(lambda x: x.to_integral_value(ROUND_FLOOR)), 1, 1),
    "gcd": (_whole(math.gcd, 10**_DIGITS), 1, _ANY),
    "lcm": (_whole(math.lcm, 10**20), 1, _ANY),
    "ln": (_of_one(Decimal.ln), 1, 1),
    "log": (lambda values: values[0].ln() / values[1].ln(), 2, 2),
    "log10": (_of_one(Decimal.log10), 1, 1),
    "log2": (_of_one(lambda x: x.ln() / Decimal(2).ln()), 1, 1),
    "max": (max, 1, _ANY),
    "mean": (_mean, 1, _ANY),
    "median": (_median, 1, _ANY),
    "min": (min, 1, _ANY),
    "perm": (_whole(math.perm, 3000), 1, 2),
    "radians": (_of_one(lambda x: x * _PI / 180), 1, 1),
    "round": (_round, 1, 2),
    "sin": (_of_one(_sine), 1, 1),
    "sqrt": (_of_one(Decimal.sqrt), 1, 1),
    "stdev": (lambda values: _variance(values).sqrt(), 2, _ANY),
    "sum": (lambda values: sum(values, Decimal()), 1, _ANY),
    "tan": (_of_one(lambda x: _sine(x) / _cosine(x)), 1, 1),
    "variance": (_variance, 2, _ANY),
}
