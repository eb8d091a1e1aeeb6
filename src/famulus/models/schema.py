"""The JSON Schema of a tool as each vendor takes it.

Ours need no change. A stranger's may hold anything that the standard allows, and one keyword that
a vendor does not know makes it refuse the whole request. Cleaning only ever loosens a schema: what
a vendor no longer checks is checked by the tool, whose error the model is told.

https://platform.openai.com/docs/guides/function-calling
https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
https://ai.google.dev/api/caching#Schema
https://github.com/ollama/ollama/blob/main/api/types.go
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from famulus.core.protocols import ToolSpec

Dialect = Literal["openai", "anthropic", "gemini", "ollama"]
Schema = dict[str, Any]

_DESCRIPTIVE = frozenset(
    {"type", "description", "enum", "items", "properties", "required", "anyOf"}
)
_BOUNDS = frozenset({
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "pattern", "format", "title", "default",
})  # fmt: skip
_WHOLE = _DESCRIPTIVE | _BOUNDS | {
    "oneOf", "const", "additionalProperties", "patternProperties", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "uniqueItems", "examples",
}  # fmt: skip
_KEYWORDS: dict[Dialect, frozenset[str]] = {
    "openai": _WHOLE,
    "anthropic": _WHOLE,
    "gemini": _DESCRIPTIVE | _BOUNDS | {"nullable"},
    "ollama": _DESCRIPTIVE,
}
_FORMATS = frozenset({"date-time", "enum", "int32", "int64", "float", "double"})  # Gemini's
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_MOST_REPEATS = 2  # of a schema inside itself
_MOST_NODES = 2000
_DEEPEST = 32
_MOST_KEPT = 1000


class Schemas:
    """Cleaned schemas, each made once, so that every request has the same bytes."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[int, tuple[ToolSpec, Schema]] = {}

    def __call__(self, tool: ToolSpec) -> Schema:
        known = self._made.get(id(tool))
        if known is None or known[0] is not tool:
            if len(self._made) >= _MOST_KEPT:
                self._made.clear()
            known = self._made[id(tool)] = (tool, cleaned(tool.schema, self._dialect))
        return known[1]


def cleaned(schema: Any, dialect: Dialect) -> Schema:
    """An object's schema without references and with the keywords of `dialect` alone."""
    made = _Cleaning(schema, dialect).whole()
    return made if made != schema else schema


class _Cleaning:
    """One schema on its way. `None` stands for a schema that nothing fits."""

    def __init__(self, root: Any, dialect: Dialect) -> None:
        self._root = root
        self._dialect: Dialect = dialect
        self._keywords = _KEYWORDS[dialect]
        self._plain = dialect in ("gemini", "ollama")
        self._nodes = 0
        self._depth = 0

    def whole(self) -> Schema:
        """Vendors want an object on the outside, with no choice around it."""
        top = self._merged(self._root, ())
        for key in ("anyOf", "oneOf"):
            choices = [each for each in _list(top.pop(key, ())) if isinstance(each, dict)]
            top = _either(top, [self._merged(each, ()) for each in choices])
        top = {key: top[key] for key in top if key not in ("enum", "const", "nullable")}
        made = self._kept(top | {"type": "object"}, ())
        made.pop("nullable", None)
        made.setdefault("properties", {})
        return made

    def node(self, schema: Any, path: tuple[str, ...]) -> Schema | None:
        if schema is False:
            return None
        if not isinstance(schema, dict) or self._nodes > _MOST_NODES or self._depth > _DEEPEST:
            return self._anything()
        self._depth += 1
        try:
            return self._inside(schema, path)
        finally:
            self._depth -= 1

    def _inside(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        path = (*path, *self._references(schema))
        merged = self._merged(schema, path)
        if any(path.count(each) > _MOST_REPEATS for each in path):
            merged = {key: merged[key] for key in ("type", "description") if key in merged}
        return self._kept(merged, path)

    def _anything(self) -> Schema:
        # Gemini has no schema without a type.
        return {"type": "string"} if self._dialect == "gemini" else {}

    def _references(self, schema: Schema) -> Iterator[str]:
        """The references that are followed to know what `schema` is."""
        seen: set[str] = set()
        waiting = [schema]
        while waiting:
            node = waiting.pop()
            waiting += [each for each in _list(node.get("allOf")) if isinstance(each, dict)]
            reference = node.get("$ref")
            if isinstance(reference, str) and reference not in seen:
                seen.add(reference)
                yield reference
                waiting.append(self._found(reference))

    def _found(self, reference: str) -> Schema:
        """What a reference inside the schema leads to; anything for one that leads out of it."""
        node: Any = self._root
        if reference != "#" and not reference.startswith("#/"):
            return {}
        for name in reference[2:].split("/") if reference != "#" else ():
            name = name.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                return {}
        return node if isinstance(node, dict) else {}

    def _merged(self, schema: Any, seen: tuple[str, ...]) -> Schema:
        """`schema` in one piece: with what it refers to and all that must hold at once."""
        self._nodes += 1
        if not isinstance(schema, dict) or self._nodes > _MOST_NODES:
            return {}
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        reference = schema.get("$ref")
        if isinstance(reference, str) and seen.count(reference) <= _MOST_REPEATS:
            merged = _both(self._merged(self._found(reference), (*seen, reference)), merged)
        for each in _list(schema.get("allOf")):
            merged = _both(merged, self._merged(each, seen))
        return merged

    def _kept(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        schema = self._translated(schema)
        kept: Schema = {}
        for key, value in schema.items():
            if key not in self._keywords:
                continue
            made = self._value(key, value, path)
            if made is not None or key == "default":
                kept[key] = made
        if "required" in kept:
            known = kept.get("properties", {})
            names = [each for each in kept["required"] if isinstance(each, str) and each in known]
            kept["required"] = _unique(names)
            if not names and schema["required"]:
                del kept["required"]
        return self._typed(kept)

    def _value(self, key: str, value: Any, path: tuple[str, ...]) -> Any:
        """A keyword's value, or None where it has to go."""
        match key:
            case "properties" | "patternProperties":
                return self._named(value, path)
            case "additionalProperties" if isinstance(value, bool):
                return value
            case "items" | "additionalProperties":
                return self.node(value, path) or self._anything()
            case "anyOf" | "oneOf":
                choices = [self.node(each, path) for each in _list(value)]
                return _unique(each for each in choices if each is not None) or None
        return value if _sound(key, value) else None

    def _named(self, schemas: Any, path: tuple[str, ...]) -> Schema:
        named = schemas.items() if isinstance(schemas, dict) else ()
        made = {name: self.node(each, path) for name, each in named if isinstance(name, str)}
        return {name: each for name, each in made.items() if each is not None}

    def _translated(self, schema: Schema) -> Schema:
        """What some vendors do not know, in words that all of them do."""
        schema = dict(schema)
        tuple_ = schema.get("prefixItems", schema.get("items"))
        if isinstance(tuple_, list):
            rest = [schema[key] for key in ("items", "additionalItems") if key in schema]
            rest = [each for each in rest if isinstance(each, dict)]
            schema["items"] = {"anyOf": [*tuple_, *rest]} if tuple_ else {}
        kinds = schema.get("type")
        if "type" in schema and not _sound("type", kinds):
            del schema["type"]
        if "type" not in schema and (guess := _guess(schema)):
            schema = {"type": guess, **schema}
        if schema.get("type") == "array":
            schema.setdefault("items", {})  # OpenAI refuses an array without
        if schema.pop("nullable", False) is True and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        if self._plain:
            if "oneOf" in schema:
                schema["anyOf"] = [*_list(schema.get("anyOf")), *_list(schema.pop("oneOf"))]
            if "const" in schema:
                schema["enum"] = [schema.pop("const")]
        return schema

    def _typed(self, schema: Schema) -> Schema:
        """Gemini knows one type at a time, choices of text alone, and formats of its own."""
        if self._dialect != "gemini":
            return schema
        if "format" in schema and schema["format"] not in _FORMATS:
            del schema["format"]
        kinds = schema.get("type", ())
        if isinstance(kinds, list):
            others = [each for each in kinds if each != "null"]
            if len(others) < len(kinds):
                schema["nullable"] = True
            schema["type"] = others[0] if others else "string"
            if len(others) > 1:
                del schema["type"]
                schema["anyOf"] = [_of_type(schema, each) for each in others]
        choices = schema.get("enum", ())
        if choices and not all(isinstance(each, str) for each in choices):
            del schema["enum"]
        if "anyOf" in schema:
            named = ("anyOf", "description", "nullable", "title")
            return {key: value for key, value in schema.items() if key in named}
        return {"type": "string", **schema} if "type" not in schema else schema


def _both(first: Schema, second: Schema) -> Schema:
    """What holds when both hold, as far as one schema can say it."""
    merged = first | second
    if "properties" in first and "properties" in second:
        merged["properties"] = _dict(first["properties"]) | _dict(second["properties"])
    if "required" in first and "required" in second:
        merged["required"] = _unique([*_list(first["required"]), *_list(second["required"])])
    return merged


def _either(top: Schema, choices: list[Schema]) -> Schema:
    """An object that has the fields of all choices and needs those that each of them needs."""
    if not choices:
        return top
    properties: Schema = {}
    for each in choices:
        properties |= _dict(each.get("properties"))
    needed = set.intersection(
        *(
            {name for name in _list(each.get("required")) if isinstance(name, str)}
            for each in choices
        )
    )
    closed = {key: value for key, value in top.items() if key != "additionalProperties"}
    return closed | {
        "properties": properties | _dict(top.get("properties")),
        "required": _unique([*_list(top.get("required")), *sorted(needed)]),
    }


def _of_type(schema: Schema, kind: str) -> Schema:
    """The part of a schema of several types that is about one of them."""
    if kind == "array":
        return {"type": kind, "items": schema.get("items", {"type": "string"})}
    if kind == "object":
        return {"type": kind, "properties": schema.get("properties", {})}
    return {"type": kind}


def _sound(key: str, value: Any) -> bool:
    """Whether a keyword has a value of the kind that the standard gives it."""
    match key:
        case "type":
            kinds = value if isinstance(value, list) else [value]
            return bool(kinds) and all(isinstance(each, str) and each in _TYPES for each in kinds)
        case "enum":
            return isinstance(value, list) and bool(value)
        case "required" | "examples":
            return isinstance(value, list)
        case "description" | "title" | "pattern" | "format":
            return isinstance(value, str)
        case "default" | "const":
            return True
        case "uniqueItems" | "nullable":
            return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _guess(schema: Schema) -> str:
    if "properties" in schema:  # whatever it is, it becomes a table
        return "object"
    if "items" in schema:
        return "array"
    choices = schema.get("enum", [schema["const"]] if "const" in schema else ())
    texts = isinstance(choices, list) and choices and all(isinstance(c, str) for c in choices)
    return "string" if texts else ""


def _unique(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for each in values:
        if each not in found:
            found.append(each)
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _dict(value: Any) -> Schema:
    return value if isinstance(value, dict) else {}
