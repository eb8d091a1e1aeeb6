import contextlib
import time
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.errors import ToolError
from famulus.testing.check_tool import ToolContract, services
from famulus.tools.calculator import Settings, build, calculate


class TestCalculator(ToolContract):
    example = '{"expression": "6 * 7"}'

    @pytest.fixture
    def tool(self):
        return build(Settings(), services())


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("17.5% of 230", "40.25"),
        ("100 - 15%", "99.85"),
        ("10 % 3", "1"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("-2**2", "-4"),
        ("2**-1", "0.5"),
        ("2^3^2", "512"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("1/3", "≈ 0.3333333333333333333333333333"),
        ("1/3*3", "≈ 1"),
        ("2**200", str(2**200)),
        ("factorial(20)", "2432902008176640000"),
        ("factorial(1000)", "≈ 4.023872600770937735437024339e+2567"),
        ("round(2.675, 2)", "2.68"),
        ("round(2.5)", "3"),
        ("sqrt(2)", "≈ 1.414213562373095048801688724"),
        ("sin(pi/6)", "≈ 0.5"),
        ("sin(pi)", "≈ 0"),
        ("cos(pi)", "≈ -1"),
        ("tan(pi/4)", "≈ 1"),
        ("4*atan(1)", "≈ 3.141592653589793238462643383"),
        ("degrees(acos(0.5))", "≈ 60"),
        ("ln(e)", "≈ 1"),
        ("log(8, 2)", "≈ 3"),
        ("log10(1000)", "3"),
        ("mean(1, 2, 3, 4)", "2.5"),
        ("median(3, 1, 2)", "2"),
        ("stdev(2, 4, 4, 4, 5, 5, 7, 9)", "≈ 2.138089935299395077476427847"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("comb(49, 6)", "13983816"),
        ("2**10000", "≈ 1.995063116880758384883742163e+3010"),
        ("7 // 3 + 0.5", "2.5"),
    ],
)
def test_values(expression, value):
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("1/0", "Division by zero"),
        ("sqrt(-1)", "no real value"),
        ("9**9**9", "more than 10,000 digits"),
        ("factorial(10**9)", "whole number"),
        ("comb(10**9, 10**8)", "whole number"),
        ("2 +", "Unfinished"),
        ("", "Unfinished"),
        ("5 5", "Unexpected '5'"),
        ("__import__('os')", "not arithmetic"),
        ("foo(1)", "'foo' is not known. Known: abs"),
        ("(1", "')' is missing"),
        ("log(8)", "log takes 2 numbers, not 1"),
        ("(" * 60 + "1" + ")" * 60, "nested deeper"),
        ("1" * 2000, "longer than 1000"),
        ("10**500 % 7", "more digits than"),
    ],
)
def test_what_cannot_be_worked_out_is_refused_at_once(expression, complaint):
    started = time.process_time()
    with pytest.raises(ToolError, match=complaint.replace("(", r"\(").replace(")", r"\)")):
        calculate(expression)
    assert time.process_time() - started < 0.5


@given(st.decimals(-(10**9), 10**9, places=6), st.decimals(-(10**9), 10**9, places=6))
def test_sums_differences_and_products_of_decimals_are_exact(a, b):
    with localcontext() as precision:
        precision.prec = 100
        for sign, value in (("+", a + b), ("-", a - b), ("*", a * b)):
            assert Decimal(calculate(f"({a}) {sign} ({b})")) == value


@given(st.text("0123456789.+-*/%^(), episnqrtof", max_size=40))
def test_any_text_is_a_number_or_an_error_for_the_model(expression):
    with contextlib.suppress(ToolError):
        assert Decimal(calculate(expression).removeprefix("≈ ")).is_finite()


def test_precision_and_length_are_settings():
    assert calculate("2**2000", Settings(digits=1000)) == str(2**2000)
    assert calculate("1/3", Settings(rounded_digits=5)) == "≈ 0.33333"
    with pytest.raises(ToolError, match="longer than 10 characters"):
        calculate("1+1+1+1+1+1", Settings(longest=10))
