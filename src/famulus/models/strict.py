"""Which tool schemas OpenAI takes in strict mode, where the arguments always fit the schema.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from typing import Any

_KEYWORDS = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const",
    "description", "title", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "$ref", "$defs",
})  # fmt: skip
_DEEPEST = 5


def is_strict(schema: dict[str, Any]) -> bool:
    """Whether `schema` may be sent with `"strict": true`: an object whose fields are all required
    and no others allowed, at every level, and no keyword that the vendor does not know.
    """
    return schema.get("type") == "object" and "anyOf" not in schema and _fits(schema, _DEEPEST)


def _fits(schema: Any, levels: int) -> bool:
    if not isinstance(schema, dict) or levels < 0 or not schema.keys() <= _KEYWORDS:
        return False
    properties = schema.get("properties", {})
    kinds = schema.get("type", ())
    if kinds == "object" or "object" in kinds or properties:
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties):
            return False
    elif not kinds and not schema.keys() & {"anyOf", "$ref", "enum", "const"}:
        return False  # "anything" is not a strict type
    below = [*properties.values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    if "items" in schema:
        below.append(schema["items"])
    return all(_fits(part, levels - 1) for part in below)
