import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, json

from famulus.core.errors import Invalid
from famulus.gateway.decoding import decode, too_deep


class Shape(Struct):
    text: str


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


values = st.recursive(
    st.text(alphabet='[]{}"\\ a') | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\'), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(values, st.integers(1, 6))
def test_depth_is_that_of_the_value_whatever_its_texts_hold(value, limit):
    assert too_deep(json.encode(value), limit) == (depth(value) > limit)


@pytest.mark.parametrize(
    "data",
    [b'"' * 500_000, b'\\"' * 500_000, b'"\\' * 500_000, b'["' + b"\\" * 999_999, b"[" * 1_000_000],
)
def test_hostile_text_costs_linear_time(data):
    started = time.process_time()
    too_deep(b"[" * 65 + data, 64)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"text": 1}', "`str`"),
        (b"{}", "text"),
        (b"[[[[[]]]]]", "nested more than 4"),
    ],
)
def test_what_is_wrong_is_said(data, words):
    with pytest.raises(Invalid, match=words):
        decode(data, Shape, depth=4)
