from famulus.core.messages import Usage
from famulus.core.prices import Price, find

CHEAP, DEAR, ANY = (Price(input=n, output=n) for n in (1.0, 2.0, 3.0))


def test_own_name_counts_before_any_pattern_and_the_longest_pattern_first() -> None:
    prices = {"*": ANY, "claude-*": CHEAP, "claude-opus-*": DEAR, "claude-opus-1": CHEAP}
    assert find(prices, ("claude-opus-1",)) is CHEAP
    assert find(prices, ("claude-opus-2",)) is DEAR
    assert find(prices, ("claude-haiku-9",)) is CHEAP
    assert find(prices, ("gpt-1",)) is ANY


def test_any_of_the_names_of_a_model_finds_its_price() -> None:
    prices = {"work/big": DEAR, "big": CHEAP}
    assert find(prices, ("big", "work/big")) is CHEAP
    assert find(prices, ("large", "work/big")) is DEAR
    assert find(prices, ("large",)) is None


def test_patterns_are_left_out_where_they_are_not_meant() -> None:
    assert find({"*": ANY}, ("big",), patterns=False) is None
    assert find({"big": ANY}, ("big",), patterns=False) is ANY


def test_sums_of_costs_gather_no_dust() -> None:
    total = sum((Usage(cost_usd=each) for each in (0.1, 0.2, 0.00013)), Usage())
    assert total.cost_usd == 0.30013
