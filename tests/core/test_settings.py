import pickle
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.settings import Seconds, Secret, Size, doc, shape, wanted


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("2 d", 172800), ("1.5H", 5400), (7, 7)],
)
def test_a_duration_is_a_number_or_amounts_with_units(text: object, seconds: float) -> None:
    assert Seconds.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "5", "5x", "-5s", "1h-3m", -1, True, None, float("nan"), 10**400, "9" * 400 + "d"],
)
def test_what_is_not_a_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        Seconds.parse(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16KB", 16000),
        ("5MiB", 5 * 2**20),
        ("1.5 gb", 1_500_000_000),
        ("12", 12),
        ("3b", 3),
        (0, 0),
    ],
)
def test_a_size_is_a_number_of_bytes_or_an_amount_with_a_unit(text: object, number: int) -> None:
    assert Size.parse(text) == number


@pytest.mark.parametrize("text", ["", "KB", "5K", "5iB", "-5KB", -5, True, 1.5e9, "1e3"])
def test_what_is_not_a_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        Size.parse(text)


@given(st.floats(0, 1e12) | st.integers(0, 10**12))
def test_a_written_duration_parses_to_the_same_number(number: float) -> None:
    assert Seconds.parse(Seconds(number).written()) == number


@given(st.integers(0, 2**80), st.sampled_from([1, 1000, 1024, 10**6, 2**20, 10**9, 2**30]))
def test_a_written_size_parses_to_the_same_number(number: int, unit: int) -> None:
    assert Size.parse(Size(number * unit).written()) == number * unit


@given(st.text(min_size=1).filter(lambda text: text not in "Secret('***')"))
def test_a_secret_shows_itself_only_when_asked(value: str) -> None:
    secret = Secret(value)
    assert repr(secret) == str(secret) == f"{secret}" == "Secret('***')"
    assert secret.reveal() == value
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_two_secrets_are_equal_by_value_and_an_empty_one_is_false() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret()


def test_a_field_keeps_its_words_and_bounds_wherever_none_is_allowed() -> None:
    inside = shape(Annotated[int, doc("How many.", ge=1)] | None)
    outside = shape(Annotated[int | None, doc("How many.", ge=1)])
    assert inside == outside
    assert (inside.type, inside.doc, inside.bounds, inside.optional) == (
        int,
        "How many.",
        {"ge": 1},
        True,
    )


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (bool, "true or false"),
        (Annotated[int, doc("", ge=0, le=9)], "a whole number, 0 to 9"),
        (Annotated[float, doc("", gt=0)] | None, "a number, more than 0"),
        (Annotated[str, doc("", min_length=1)], "text, at least 1 long"),
        (Literal["a", "b", "c"], '"a", "b" or "c"'),
        (tuple[str, ...], "a list of text"),
        (dict[str, Secret], "a table of secret text"),
        (dict[str, Any], "a table of any value"),
        (Seconds, 'a duration like 30, "30s", "10m" or "1h30m"'),
    ],
)
def test_what_a_field_wants_is_said_in_words(annotation: Any, text: str) -> None:
    assert wanted(annotation) == text
