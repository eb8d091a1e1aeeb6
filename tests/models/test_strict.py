from typing import Any

import pytest

from famulus.models.strict import is_strict

TEXT = {"type": "string", "description": "A text."}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a=TEXT, b={"type": ["integer", "null"], "minimum": 0}),
        closed(a={"type": "array", "items": closed(b={"enum": ["x"]})}),
        closed(a={"anyOf": [{"type": "null"}, {"$ref": "#/$defs/B"}]}) | {"$defs": {"B": closed()}},
    ],
)
def test_schema_that_is_closed_at_every_level_is_strict(schema: dict[str, Any]) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
        closed(a=TEXT) | {"required": []},
        closed(a=TEXT) | {"additionalProperties": True},
        closed(a=TEXT) | {"anyOf": [closed()]},
        closed(a=TEXT | {"default": "x"}),
        closed(a=TEXT | {"format": "uri"}),
        closed(a={}),
        closed(a={"type": "array", "items": {"type": "object"}}),
        closed(a={"anyOf": [{"type": "object", "properties": {}}]}),
        closed(a={"$ref": "#/$defs/B"}) | {"$defs": {"B": {"type": "object"}}},
        closed(a={"type": ["object", "null"]}),
        closed(a={"type": "array", "items": True}),
        closed(a=closed(b=closed(c=closed(d=closed(e=closed(f=TEXT)))))),
    ],
)
def test_schema_that_leaves_anything_open_is_not(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)
