"""What the declarations say: the example file, the reference, the JSON Schema, the values in force.

After a change of a declaration: python -m famulus.core.describe
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from famulus.core import plugins
from famulus.core.config import Config
from famulus.core.loading import PLUGIN_KINDS
from famulus.core.settings import Seconds, Secret, Section, Size, is_section, shape, wanted
from famulus.core.toml import dotted, written
from famulus.core.validation import environment_name

EXAMPLE_FILE = Path("famulus.example.toml")
REFERENCE_FILE = Path("docs/reference/configuration.md")


class Table(NamedTuple):
    """A section and where it stands. `named`: as often as you like, under names of yours;
    `listed`: as often as you like, in a list.
    """

    path: tuple[str, ...]
    kind: type[Section]
    named: bool = False
    listed: bool = False

    @property
    def doc(self) -> str:
        """The first paragraph of the section's docstring, which is for users."""
        return " ".join((inspect.getdoc(self.kind) or "").partition("\n\n")[0].split())

    @property
    def header(self) -> str:
        return f"[[{dotted(self.path)}]]" if self.listed else f"[{dotted(self.path)}]"

    def fields(self) -> Iterator[msgspec.structs.FieldInfo]:
        """The fields that are values; sections within are tables of their own."""
        for field in msgspec.structs.fields(self.kind):
            form = shape(field.type)
            if not is_section(form.type) and not is_section(form.item):
                yield field


def tables() -> list[Table]:
    """All sections in the order of the file, those of every channel and tool found included."""
    found: list[Table] = []
    for field in msgspec.structs.fields(Config):
        if field.name in PLUGIN_KINDS:
            for name, kind in plugins.sections(field.name, foreign=True).items():
                found.extend(_tables(Table((field.name, name), kind)))
        else:
            found.extend(_below((), field, named=False))
    return found


def _tables(table: Table) -> Iterator[Table]:
    yield table
    for field in msgspec.structs.fields(table.kind):
        yield from _below(table.path, field, named=table.named)


def _below(
    path: tuple[str, ...], field: msgspec.structs.FieldInfo, *, named: bool
) -> Iterator[Table]:
    form = shape(field.type)
    path = (*path, field.encode_name)
    if is_section(form.type):
        yield from _tables(Table(path, form.type, named=named))
    elif is_section(form.item) and form.is_list:
        yield from _tables(Table(path, form.item, named=named, listed=True))
    elif is_section(form.item):
        yield from _tables(Table((*path, "NAME"), form.item, named=True))


def example() -> str:
    """An annotated `famulus.toml` that sets every default and changes nothing."""
    lines = [
        "# The configuration of Famulus. Everything is optional: what stands here is the default.",
        "# ${NAME} in a text is the variable NAME from the environment or from .env.",
        "# Lines that start with # and no space are examples of what has no default.",
    ]
    for table in tables():
        fields = list(table.fields())
        if not fields:
            continue
        off = "#" if table.named or table.listed else ""
        lines += ["", *_comment(table.doc), off + table.header]
        for field in fields:
            form = shape(field.type)
            lines += _comment(f"{form.doc} ({wanted(field.type)})")
            default = _default(field)
            unset = default is None or default is msgspec.NODEFAULT
            value = written(_sample(field.type) if unset else effective(default))
            lines.append(f"{'#' if unset else off}{field.encode_name} = {value}")
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The reference of all settings, in Markdown."""
    lines = [
        "# Configuration",
        "",
        "Every setting of `famulus.toml`. All are optional. A setting is taken from its",
        "environment variable, else from the file, else it has its default. `${VARIABLE}` in a",
        "text of the file is replaced from the environment and `.env`; `$${` is a plain `${`.",
        "",
        "This page is made from the code by `python -m famulus.core.describe`.",
    ]
    for table in tables():
        lines += ["", f"## `{table.header}`", "", table.doc]
        rows = [_row(table, field) for field in table.fields()]
        if rows:
            head = ["Setting", "Value", "Default", "Environment", "What"]
            lines += ["", _cells(head), _cells(["---"] * len(head)), *rows]
    return "\n".join(lines) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `famulus.toml`, for editors."""
    schema = _schema(Config)
    for kind in PLUGIN_KINDS:
        sections = plugins.sections(kind, foreign=True)
        schema["properties"][kind] |= {
            "properties": {name: _schema(section) for name, section in sections.items()},
            "additionalProperties": False,
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "famulus"} | schema


def effective(value: Any) -> Any:
    """A configuration, or a part of it, as TOML's types. Secrets are masked, None is left out."""
    match value:
        case Section():
            fields = msgspec.structs.fields(value)
            values = {field.encode_name: getattr(value, field.name) for field in fields}
            return effective(values)
        case Secret():
            return "***" if value else ""
        case Seconds() | Size():
            return value.written()
        case dict():
            return {name: effective(item) for name, item in value.items() if item is not None}
        case list() | tuple():
            return [effective(item) for item in value]
        case str():
            return _URL_PASSWORD.sub(r"\1***@", value)
        case _:
            return value


# Everything up to the last @, since people forget to escape those within.
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)\S+@")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, 98, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _sample(annotation: Any) -> Any:
    """A value to show for a field that has no default."""
    form = shape(annotation)
    if form.examples:
        return form.examples[0]
    if get_origin(form.type) is Literal:
        return get_args(form.type)[0]
    samples = {bool: True, int: form.bounds.get("ge", 1), float: 1.0, Seconds: "30s", Size: "1MB"}
    return (
        [] if form.is_list else {} if get_origin(form.type) is dict else samples.get(form.type, "")
    )


def _row(table: Table, field: msgspec.structs.FieldInfo) -> str:
    default = _default(field)
    if default is msgspec.NODEFAULT:
        shown = "required"
    elif default is None:
        shown = "not set"
    else:
        shown = f"`{written(effective(default))}`"
    # A list of sections has no names that a variable could be made of.
    variable = "" if table.listed else f"`{environment_name((*table.path, field.encode_name))}`"
    what = shape(field.type).doc
    return _cells([f"`{field.encode_name}`", wanted(field.type), shown, variable, what])


def _cells(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_SCHEMAS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Secret: {"type": "string"},
    Seconds: {"type": ["string", "number"]},
    Size: {"type": ["string", "integer"]},
}
_SCHEMA_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf", "pattern": "pattern",
}  # fmt: skip


def _schema(annotation: Any) -> dict[str, Any]:
    form = shape(annotation)
    schema: dict[str, Any] = {"description": form.doc} if form.doc else {}
    if is_section(form.type):
        fields = msgspec.structs.fields(form.type)
        schema |= {
            "type": "object",
            "description": form.doc or Table((), form.type).doc,
            "properties": {field.encode_name: _field_schema(field) for field in fields},
            "additionalProperties": False,
        }
        if required := [field.encode_name for field in fields if field.required]:
            schema["required"] = required
    elif get_origin(form.type) is Literal:
        schema["enum"] = list(get_args(form.type))
    elif form.is_list:
        schema |= {"type": "array", "items": _schema(form.item)}
    elif get_origin(form.type) is dict:
        schema |= {"type": "object", "additionalProperties": _schema(form.item)}
    else:
        schema |= _SCHEMAS.get(form.type, {})
    lengths = {"array": "Items", "object": "Properties"}.get(str(schema.get("type")), "Length")
    for name, bound in form.bounds.items():
        schema[_SCHEMA_BOUNDS.get(name) or name.removesuffix("_length") + lengths] = bound
    return schema


def _field_schema(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema = _schema(field.type)
    default = _default(field)
    if (
        default is not None
        and default is not msgspec.NODEFAULT
        and not isinstance(default, Section)
    ):
        schema["default"] = effective(default)
    return schema


def main() -> None:
    """Write the example and the reference into the current folder."""
    REFERENCE_FILE.parent.mkdir(parents=True, exist_ok=True)
    EXAMPLE_FILE.write_text(example(), "utf-8")
    REFERENCE_FILE.write_text(reference(), "utf-8")


if __name__ == "__main__":
    main()
