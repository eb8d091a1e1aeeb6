"""Any schema that a tool can bring becomes one that the vendor takes."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from famulus.core.plugins import find, own_names, settings_type
from famulus.core.protocols import ToolSpec
from famulus.models.schema import _KEYWORDS, Schemas, cleaned
from famulus.models.strict import is_strict
from famulus.policy.command import Limits
from famulus.policy.plain import Plain
from famulus.testing.check_tool import services

DIALECTS = ("openai", "anthropic", "gemini", "ollama")
TEXT = {"type": "string"}


def of(schema, **root):
    """A tool's schema with one argument."""
    return {"type": "object", "properties": {"x": schema}, "required": ["x"], **root}


def only(schema, dialect, **root):
    return cleaned(of(schema, **root), dialect)["properties"].get("x")


TREE = {
    "type": "object",
    "properties": {"name": TEXT, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
}
LAUGHS = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 9 + [TEXT]} for n in range(9)}

# A shape, and what becomes of it for OpenAI and for Gemini (None: the argument is gone).
SHAPES = [
    (True, {}, TEXT),
    (False, None, None),
    ({}, {}, TEXT),
    ("nonsense", {}, TEXT),
    (TEXT | {"description": "d"}, TEXT | {"description": "d"}, TEXT | {"description": "d"}),
    ({"anyOf": [TEXT, {"type": "null"}]}, ..., {"anyOf": [TEXT, {"type": "null"}]}),
    ({"oneOf": [TEXT, {"type": "integer"}]}, ..., {"anyOf": [TEXT, {"type": "integer"}]}),
    ({"anyOf": [False, TEXT, TEXT]}, {"anyOf": [TEXT]}, {"anyOf": [TEXT]}),
    (
        {"allOf": [{"type": "object", "properties": {"a": TEXT}}, {"properties": {"b": TEXT}}]},
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
    ),
    ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}, ...),
    ({"enum": [1, 2]}, {"enum": [1, 2]}, TEXT),
    ({"enum": []}, {}, TEXT),
    ({"const": "a"}, {"type": "string", "const": "a"}, {"type": "string", "enum": ["a"]}),
    ({"const": 1}, {"const": 1}, TEXT),
    ({"type": ["string", "null"]}, ..., TEXT | {"nullable": True}),
    ({"type": "string", "nullable": True}, {"type": ["string", "null"]}, ...),
    (
        {"type": ["string", "integer", "array"], "items": TEXT},
        ...,
        {"anyOf": [TEXT, {"type": "integer"}, {"type": "array", "items": TEXT}]},
    ),
    ({"type": "any"}, {}, TEXT),
    ({"type": "array"}, {"type": "array", "items": {}}, {"type": "array", "items": TEXT}),
    ({"type": "array", "items": True}, {"type": "array", "items": {}}, ...),
    (
        {"type": "array", "items": [TEXT, {"type": "integer"}], "additionalItems": False},
        {"type": "array", "items": {"anyOf": [TEXT, {"type": "integer"}]}},
        {"type": "array", "items": {"anyOf": [TEXT, {"type": "integer"}]}},
    ),
    (
        {"type": "array", "prefixItems": [TEXT], "items": {"type": "integer"}},
        {"type": "array", "items": {"anyOf": [TEXT, {"type": "integer"}]}},
        ...,
    ),
    (
        {"type": "object", "additionalProperties": TEXT},
        ...,
        {"type": "object"},
    ),
    (
        {"type": "object", "patternProperties": {"^a": {"$ref": "#/$defs/t"}}},
        {"type": "object", "patternProperties": {"^a": TEXT}},
        {"type": "object"},
    ),
    ({"$ref": "#/$defs/t"}, TEXT, TEXT),
    ({"$ref": "#/$defs/t", "description": "d"}, TEXT | {"description": "d"}, ...),
    ({"$ref": "#/definitions/deep"}, {"type": "array", "items": TEXT}, ...),
    ({"$ref": "#/$defs/nowhere"}, {}, TEXT),
    ({"$ref": "https://example.com/schema"}, {}, TEXT),
    ({"$ref": "#/$defs/loop"}, {}, TEXT),
    ({"type": "string", "format": "email"}, ..., TEXT),
    ({"type": "string", "format": "date-time"}, ..., ...),
    ({"type": "integer", "exclusiveMinimum": 0}, ..., {"type": "integer"}),
    (
        {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        {"type": "integer", "minimum": 0},
        ...,
    ),
    ({"type": "string", "x-mine": 1, "$comment": "c", "not": {}}, TEXT, TEXT),
    ({"type": "object", "properties": {"a": TEXT}, "required": ["a", "b", "a"]}, ..., ...),
    ({"if": {}, "then": {}, "dependentRequired": {}, "type": "string"}, TEXT, TEXT),
]
DEFS = {
    "$defs": {"t": TEXT, "loop": {"$ref": "#/$defs/loop"}},
    "definitions": {"deep": {"type": "array", "items": {"$ref": "#/$defs/t"}}},
}


@pytest.mark.parametrize(("shape", "openai", "gemini"), SHAPES, ids=[str(s[0]) for s in SHAPES])
def test_each_shape_becomes_one_that_the_vendor_takes(shape, openai, gemini):
    for dialect in DIALECTS:
        check(cleaned(of(shape, **DEFS), dialect), dialect)
    if openai is not ...:
        assert only(shape, "openai", **DEFS) == openai
        assert only(shape, "anthropic", **DEFS) == openai
    if gemini is not ...:
        assert only(shape, "gemini", **DEFS) == gemini


def check(schema, dialect):
    """What every vendor wants, all the way down."""
    assert schema["type"] == "object"
    assert not schema.keys() & {"anyOf", "oneOf", "allOf", "enum", "const", "not"}
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        assert isinstance(node, dict)
        assert node.keys() <= _KEYWORDS[dialect]
        kinds = node.get("type", ())
        if dialect == "gemini":
            assert isinstance(kinds, str) or "anyOf" in node
            assert all(isinstance(each, str) for each in node.get("enum", ()))
        if kinds == "array":
            assert isinstance(node["items"], dict)
        properties = node.get("properties", {})
        assert set(node.get("required", ())) <= set(properties)
        assert node.get("anyOf", True)
        waiting += [*properties.values(), *node.get("anyOf", ()), *node.get("oneOf", ())]
        waiting += node.get("patternProperties", {}).values()
        waiting += [node[key] for key in ("items", "additionalProperties") if key in node]
        waiting = [each for each in waiting if not isinstance(each, bool)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_schema_inside_itself_comes_to_an_end(dialect):
    schema = {"type": "object", "properties": {"root": {"$ref": "#/$defs/tree"}}}
    made = cleaned(schema | {"$defs": {"tree": TREE}}, dialect)
    check(made, dialect)
    assert 2 <= json.dumps(made).count('"children"') <= 4


@pytest.mark.parametrize("dialect", DIALECTS)
def test_references_that_multiply_come_to_an_end(dialect):
    started = time.process_time()
    made = cleaned(of({"$ref": "#/$defs/a0"}, **{"$defs": LAUGHS | {"a9": TEXT}}), dialect)
    check(made, dialect)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_schema_that_is_very_deep_is_cut(dialect):
    schema = TEXT
    for _ in range(400):
        schema = {"type": "array", "items": schema}
    check(cleaned(of(schema), dialect), dialect)


def test_a_choice_on_the_outside_becomes_one_object():
    schema = {
        "anyOf": [
            {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]},
            {"type": "object", "properties": {"a": TEXT, "c": TEXT}, "required": ["a"]},
        ]
    }
    for dialect in DIALECTS:
        made = cleaned(schema, dialect)
        assert made["properties"] == {"a": TEXT, "b": TEXT, "c": TEXT}
        assert made["required"] == ["a"]
        check(made, dialect)


@pytest.mark.parametrize("schema", [{}, True, None, [], {"type": "string"}, {"properties": 3}])
def test_a_tool_without_arguments_has_an_object_without_fields(schema):
    assert cleaned(schema, "openai") == {"type": "object", "properties": {}}


@pytest.mark.parametrize("name", own_names("tools"))
def test_our_own_schemas_need_no_change(name):
    module = find("tools", name)
    given = services(egress=object(), sandbox=Plain("none", Limits()), ledger=object())
    schema = module.build(settings_type(module)(), given).schema
    assert schema["properties"] or name == "current_datetime"
    assert cleaned(schema, "openai") is schema
    assert cleaned(schema, "anthropic") is schema


def test_a_cleaned_schema_is_strict_where_its_references_were_the_only_hindrance():
    field = {"$ref": "#/$defs/t", "description": "d"}
    schema = of(field, additionalProperties=False, **{"$defs": {"t": TEXT}, "$schema": "x"})
    assert not is_strict(schema)
    assert is_strict(cleaned(schema, "openai"))


def test_a_schema_is_cleaned_once():
    schemas = Schemas("gemini")
    spec = ToolSpec("a", "", of({"const": "b"}))
    assert schemas(spec) is schemas(spec)
    assert schemas(ToolSpec("a", "", of({"const": "c"}))) != schemas(spec)


KEYS = st.sampled_from(
    [
        *("type", "properties", "required", "items", "prefixItems", "anyOf", "oneOf", "allOf"),
        *("enum", "const", "$ref", "$defs", "nullable", "format", "default", "not", "minimum"),
        *("additionalProperties", "patternProperties", "description"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(["object", "array", "string", "null", "#", "#/$defs/a", "#/properties/a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.just("a"), inner, max_size=4)
    ),
    max_leaves=30,
)


@example(schema={"required": [[]]}, dialect="openai")
@given(schema=VALUES, dialect=st.sampled_from(DIALECTS))
@example(schema={"additionalProperties": {"properties": None}}, dialect="openai")
@example(schema={"nullable": True}, dialect="openai")
def test_whatever_stands_in_a_schema_the_result_is_sound_and_stays_as_it_is(schema, dialect):
    made = cleaned(schema, dialect)
    check(made, dialect)
    json.dumps(made)
    if dialect != "gemini":
        assert cleaned(made, dialect) == made
