"""Makes a section of a table, or says in one line which value cannot stay and why.

No error shows a value: it may be a secret, or hold one.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar, get_origin

import msgspec

from famulus.core.checks import check_magnitude, check_unsealed
from famulus.core.errors import ConfigError
from famulus.core.settings import (
    Seconds,
    Secret,
    Section,
    Shape,
    Size,
    Unmeant,
    is_section,
    shape,
    wanted,
)
from famulus.core.toml import KeyPath, dotted, key_lines

SectionT = TypeVar("SectionT", bound=Section)


class EnvironmentText(str):
    """A value from the environment: TOML where that is possible and no text is wanted."""

    __slots__ = ()


class ReferredText(EnvironmentText):
    """The same for a value of the file that is one `${VARIABLE}`; text where anything may stand."""

    __slots__ = ()


class Written:
    """Where the settings were written. `variables` are the paths that the environment set."""

    def __init__(
        self, file: str = "", text: str = "", variables: dict[KeyPath, str] | None = None
    ) -> None:
        self._file = file
        self._text = text
        self._variables = variables or {}

    def at(self, path: KeyPath) -> str:
        """The start of an error about `path`: a variable, or a file and the line."""
        if variable := self.variable(path):
            return f"{variable}: "
        for length in range(len(path), 0, -1):
            if line := self._lines.get(path[:length]):
                return f"{self._file}:{line}: "
        return f"{self._file}: " if self._file else ""

    def has(self, path: KeyPath) -> bool:
        """Whether somebody has written the setting at `path`."""
        return path in self._lines or path in self._variables

    def variable(self, path: KeyPath) -> str:
        """The variable that set `path` or, where the file does not have it, something below."""
        for set_path, variable in self._variables.items():
            if path[: len(set_path)] == set_path:
                return variable
        if not self._variables or path in self._lines:
            return ""
        below = (var for keys, var in self._variables.items() if keys[: len(path)] == path)
        return next(below, "")

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return key_lines(self._text)


NOWHERE = Written()


def build(
    kind: type[SectionT], table: Any, path: KeyPath = (), written: Written = NOWHERE
) -> SectionT:
    """A section from a table that stands at `path`. Raises `ConfigError`."""
    if not isinstance(table, dict):
        raise ConfigError(f"{written.at(path)}{dotted(path)} must be a section.")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    values = {}
    for name, value in table.items():
        if name not in fields:
            raise unknown((*path, name), fields, written)
        values[fields[name].name] = _value(fields[name].type, value, (*path, name), written)
    for name, field in fields.items():
        if field.required and field.name not in values:
            raise ConfigError(f"{written.at(path)}{dotted(path)} needs {name}, which is missing.")
    try:
        return kind(**values)
    except ValueError as error:  # a check of the section's own, in its __post_init__
        raise ConfigError(f"{written.at(path)}{dotted(path)}: {error}") from None


def unknown(
    path: KeyPath, known: Iterable[str], written: Written = NOWHERE, what: str = "a setting"
) -> ConfigError:
    """The error about a name that is not among `known`, with the nearest one that is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only an error pays for it

    name, names = str(path[-1]), sorted(known)
    near = get_close_matches(name.lower(), names, n=1)
    if near:
        variable = environment_name((*path[:-1], near[0]))
        hint = f"Did you mean {variable if written.variable(path) else near[0]}?"
    else:
        hint = f"Known here: {', '.join(names)}." if names else "There is nothing to set here."
    return ConfigError(f"{written.at(path)}{dotted(path)} is not {what}. {hint}")


def environment_name(path: KeyPath) -> str:
    """The variable that sets the field at `path`."""
    return "FAMULUS_" + "__".join(re.sub(r"\W", "_", str(part)) for part in path).upper()


def _value(annotation: Any, value: Any, path: KeyPath, written: Written) -> Any:
    form = shape(annotation)
    if isinstance(value, EnvironmentText):
        value = _from_environment(form, value)
    if is_section(form.type):
        return build(form.type, value, path, written)
    if isinstance(value, dict) and (form.type is Any or get_origin(form.type) is dict):
        item = form.item or Any
        table = {name: _value(item, value[name], (*path, name), written) for name in value}
        return _checked(form, table, path, written)
    if isinstance(value, list) and form.is_list and form.item is not None:
        values = [_value(form.item, each, (*path, n), written) for n, each in enumerate(value)]
        value = tuple(values) if get_origin(form.type) is tuple else values
    try:
        converted = _converted(form, value)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{written.at(path)}{dotted(path)} must be {wanted(annotation)}{_instead(form, value)}."
        ) from None
    return _checked(form, converted, path, written)


def _checked(form: Shape, value: Any, path: KeyPath, written: Written) -> Any:
    try:
        check_magnitude(value)
        check_unsealed(value)
        if form.check:
            form.check(value)
    except Unmeant as error:
        raise ConfigError(f"{written.at(path)}{dotted(path)} {error}") from None
    return value


def _converted(form: Shape, value: Any) -> Any:
    if form.type in {Seconds, Size}:
        value = form.type.parse(value)
        number = float if form.type is Seconds else int
        msgspec.convert(number(value), Annotated[number, msgspec.Meta(**form.bounds)])
        return value
    if form.is_list and form.item is not None:
        plain: Any = get_origin(form.type)
        return msgspec.convert(value, Annotated[plain, msgspec.Meta(**form.bounds)])
    kind = Annotated[form.type, msgspec.Meta(**form.bounds)] if form.bounds else form.type
    return msgspec.convert(value, kind, dec_hook=_decode)


def _decode(kind: Any, value: Any) -> Any:
    if kind in {Seconds, Size}:
        return kind.parse(value)
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"not {wanted(kind)}")


def _from_environment(form: Shape, text: str) -> Any:
    if form.type in {str, Secret} or get_origin(form.type) is Literal:
        return str(text)
    if form.type is Any and isinstance(text, ReferredText):
        return str(text)
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return str(text)
    return document["value"] if len(document) == 1 else str(text)


def _instead(form: Shape, value: Any) -> str:
    if isinstance(value, str):
        return ", not text" if form.type in {bool, int, float} or form.item is not None else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ", not a number" if form.type in {bool, str, Secret} else ""
    names = {bool: "true or false", dict: "a table", list: "a list", tuple: "a list"}
    same = isinstance(value, list | tuple) and form.is_list
    return f", not {names[type(value)]}" if type(value) in names and not same else ""
