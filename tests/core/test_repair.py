"""Arguments that are nearly JSON are read as they were meant; others are left to the tool."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.repair import arguments_of


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", {}),
        ("  \n", {}),
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ("{'a': 'it\"s'}", {"a": 'it"s'}),
        ("{'a': 'it\\'s'}", {"a": "it's"}),
        ('{a: "b"}', {"a": "b"}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}', {"a": 1}),
        ('{"a": {"b": [1, 2', {"a": {"b": [1, 2]}}),
        ('{"a": "b"', {"a": "b"}),
        ("{'a': True, 'b': None, 'c': False}", {"a": True, "b": None, "c": False}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("\"{'a': 1}\"", {"a": 1}),
        ('{"a": "two\nlines\tand a tab"}', {"a": "two\nlines\tand a tab"}),
        (r'{"path": "C:\data", "word": "\d+"}', {"path": r"C:\data", "word": r"\d+"}),
        ('{"a": "\\u00e4\\ud83d\\ude00",}', {"a": "ä😀"}),
        ('{"a": 1} // done', {"a": 1}),
        ('{"a": 1_000, "b": +2, "c": .5, "d": -1.5e3,}', {"a": 1000, "b": 2, "c": 0.5, "d": -1500}),
    ],
)
def test_what_was_meant_is_read(written, meant):
    assert json.loads(arguments_of(written)) == meant


@pytest.mark.parametrize(
    "written",
    [
        "{not json",
        "[1, 2]",
        "7",
        '"text"',
        '{"a": "cut in the mid',
        '{"a": }',
        '{"a"',
        '{"a": 1} {"b": 2}',
        '{"a": nan}',
        '{"a": 1 "b": 2}',
        '{"a": "\\ud83d"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "x" * 300_000,
    ],
)
def test_what_is_unclear_stays_as_it_is(written):
    assert arguments_of(written) == written


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=5)


@given(OBJECTS)
def test_json_is_not_touched(value):
    text = json.dumps(value)
    assert arguments_of(text) == text


@given(OBJECTS)
def test_python_is_read_as_json(value):
    assert json.loads(arguments_of(repr(value))) == value


@given(OBJECTS, st.integers(0, 3))
def test_missing_brackets_at_the_end_are_added(value, missing):
    text = json.dumps({"a": {"b": [value, 1]}})
    assert json.loads(arguments_of(text[: len(text) - missing])) == json.loads(text)


@given(OBJECTS)
def test_what_was_encoded_twice_is_decoded_twice(value):
    text = json.dumps(json.dumps(value))
    assert json.loads(arguments_of(text)) == value


@given(st.text(max_size=200))
def test_any_text_is_an_object_or_stays_as_it_is(text):
    repaired = arguments_of(text)
    assert repaired == text or isinstance(json.loads(repaired), dict)


@given(st.text(alphabet="{}[]'\",: \\\n`aTn1-.u/", max_size=60))
def test_text_that_looks_like_json_is_an_object_or_stays_as_it_is(text):
    repaired = arguments_of(text)
    assert repaired == text or isinstance(json.loads(repaired), dict)
