"""Finds the configuration, puts the environment into it and checks it.

A value is taken from `FAMULUS_SECTION__FIELD` in the environment, else from `famulus.toml`, else
from its declaration. `${NAME}` in a text of the file is the variable NAME; `$${` is a plain `${`.
The environment is the real one, then `.env` beside the file, then `.env` in the home folder.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from famulus.core import plugins
from famulus.core.config import Config
from famulus.core.dotenv import read_dotenv
from famulus.core.errors import ConfigError
from famulus.core.settings import Section
from famulus.core.toml import KeyPath, dotted
from famulus.core.validation import (
    NOWHERE,
    EnvironmentText,
    ReferredText,
    Written,
    build,
    unknown,
)

FILE_NAME = "famulus.toml"
PLUGIN_KINDS = {"channels": "a channel", "tools": "a section of tools"}


class Loaded(Struct, frozen=True, kw_only=True):
    """`path` is None where there is no file. `environment` includes what `.env` files say, and
    `written` knows where each setting stands.
    """

    config: Config
    path: Path | None
    environment: Mapping[str, str]
    written: Written = NOWHERE


def load(*, home: Path, config: Path | None, environment: Mapping[str, str]) -> Loaded:
    """The configuration in force. Raises `ConfigError`: one line with the place of the fault.

    `config` is the file that was asked for; without it `./famulus.toml`, then that of `home`.
    """
    path = config or _search(Path(FILE_NAME), home / FILE_NAME)
    text = _read(path) if path else ""
    beside = path.parent if path else Path()
    merged = {**read_dotenv(home / ".env"), **read_dotenv(beside / ".env"), **environment}
    tree = _parse(text, str(path))
    variables = _put_overrides(tree, merged)
    written = Written(str(path or ""), text, variables)
    tree = _expanded(tree, (), merged, written)
    given = {kind: tree.pop(kind, {}) for kind in PLUGIN_KINDS}
    loaded = structs.replace(
        build(Config, tree, (), written),
        **{kind: _plugin_sections(kind, table, written) for kind, table in given.items()},
    )
    return Loaded(config=loaded, path=path, environment=merged, written=written)


def home_path(environment: Mapping[str, str]) -> Path:
    """The home folder: `FAMULUS_HOME`, else `~/.famulus`."""
    return Path(environment.get("FAMULUS_HOME") or "~/.famulus").expanduser()


def home_folder(environment: Mapping[str, str]) -> Path:
    """As `home_path`, and there: made for the owner alone on first use. Raises `ConfigError`."""
    home = home_path(environment).absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The home folder {home} cannot be made: {error.strerror}. "
            "Set FAMULUS_HOME, or give --home, to a folder that you may write."
        ) from None
    return home


def _search(*places: Path) -> Path | None:
    try:
        return next(filter(Path.is_file, places), None)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be looked at: {error.strerror}.") from None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file. Make one with: famulus config example > {path}"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text. Save the file as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).rpartition(" (at ")
        found = re.match(r"line (\d+)", place)
        line = int(found[1]) if found else text.count("\n") + 1
        raise ConfigError(f"{name}:{line}: not valid TOML: {reason}.") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets without end
        raise ConfigError(f"{name}: a number is too long or a list nested too deeply.") from None


def _put_overrides(tree: dict[str, Any], environment: Mapping[str, str]) -> dict[KeyPath, str]:
    """Put `FAMULUS_SECTION__FIELD` into the tree; returns which path came from which variable."""
    variables: dict[KeyPath, str] = {}
    for variable in sorted(environment):
        if not variable.startswith("FAMULUS_") or "__" not in variable:
            continue
        node = tree
        path: KeyPath = ()
        *sections, field = variable.removeprefix("FAMULUS_").lower().split("__")
        for section in sections:
            key = _spelling(node, section)
            path = (*path, key)
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{variable}: {dotted(path)} is a value already, not a section.")
        key = _spelling(node, field)
        node[key] = EnvironmentText(environment[variable])
        variables[(*path, key)] = variable
    return variables


def _spelling(table: dict[str, Any], name: str) -> str:
    """The key that `name` means: variables know neither case nor dots and dashes."""
    return next((key for key in table if re.sub(r"\W", "_", key).lower() == name), name)


_REFERENCE = re.compile(r"(\$?)\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")


def _expanded(value: Any, path: KeyPath, environment: Mapping[str, str], written: Written) -> Any:
    if isinstance(value, dict):
        return {k: _expanded(v, (*path, k), environment, written) for k, v in value.items()}
    if isinstance(value, list):
        return [_expanded(v, (*path, n), environment, written) for n, v in enumerate(value)]
    if not isinstance(value, str) or isinstance(value, EnvironmentText):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        if match[2] is None:
            raise ConfigError(
                f"{written.at(path)}{dotted(path)} has a ${{ without NAME}} after it. "
                "Write $${ for a plain one."
            )
        if match[2] not in environment:
            raise ConfigError(
                f"{written.at(path)}{dotted(path)} refers to ${{{match[2]}}}, which is not set. "
                "Set it in the environment or in .env."
            )
        return environment[match[2]]

    found = _REFERENCE.sub(replacement, value)
    whole = _REFERENCE.fullmatch(value)
    return ReferredText(found) if whole and not whole[1] else found


def _plugin_sections(kind: str, tables: Any, written: Written) -> dict[str, Section]:
    """The settings of each plugin that has a section; only those plugins are imported."""
    if not isinstance(tables, dict):
        raise ConfigError(f"{written.at((kind,))}{kind} must be a section.")
    found = {}
    for name, table in tables.items():
        try:
            section = plugins.section(kind, name)
        except ImportError as error:
            at = written.at((kind, name))
            raise ConfigError(f"{at}{kind}.{name} cannot be loaded: {error}.") from None
        if section is None:
            known = sorted({*plugins.sections(kind), *plugins.foreign_names(kind)})
            raise unknown((kind, name), known, written, PLUGIN_KINDS[kind])
        found[name] = build(section, table, (kind, name), written)
    return found
