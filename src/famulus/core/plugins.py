"""Plugins are found by name: a module of ours, or an entry point of another package.

A plugin is a module (or any object) with `build(settings, services)` and, when it can be
configured, a `Settings` section. `SECTION` names the section where that is not the plugin's name,
so that several plugins can share one. The group of the entry points is `famulus.channels`,
`famulus.tools` or `famulus.models`.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.errors import ConfigError
from famulus.core.protocols import Egress, Ledger, Sandbox
from famulus.core.settings import Section


class NoSettings(Section, frozen=True):
    """The section of a plugin that has nothing to configure."""


class Services(Struct, frozen=True, kw_only=True):
    """What a plugin may be built from. `sandbox` is None where nothing can contain a command,
    and then `sandbox_reason` says why.
    """

    clock: Clock
    egress: Egress | None = None
    sandbox: Sandbox | None = None
    sandbox_reason: str = ""
    tool_output: int = 4000
    ledger: Ledger | None = None


class Unavailable(Exception):
    """Raised by `build` when this machine lacks something; the text says what and how to mend."""


def find(kind: str, name: str) -> Any:
    """The plugin `name` of `kind` (`channels`, `tools` or `models`), ours before others'."""
    module = f"famulus.{kind}.{name}"
    if name.isidentifier() and importlib.util.find_spec(module):
        return importlib.import_module(module)
    for entry in _entry_points(kind):
        if entry.name == name:
            return entry.load()
    raise ConfigError(f"{kind}.{name}: there is no such plugin. Known: {', '.join(names(kind))}.")


def own_names(kind: str) -> list[str]:
    """The names of our own plugins of `kind`, sorted."""
    package = importlib.import_module(f"famulus.{kind}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def names(kind: str) -> list[str]:
    """The names of all plugins of `kind`, sorted."""
    return sorted({*own_names(kind), *foreign_names(kind)})


def foreign_names(kind: str) -> list[str]:
    """The names of other packages' plugins of `kind`. None of them is imported."""
    return sorted(entry.name for entry in _entry_points(kind))


def section_name(name: str, plugin: Any) -> str:
    """What the section of the plugin `name` is called."""
    section: str = getattr(plugin, "SECTION", name)
    return section


def sections(kind: str, *, foreign: bool = False) -> dict[str, type[Section]]:
    """The sections of our own plugins of `kind` by name; with `foreign`, which imports them, also
    those of others.
    """
    plugins = {name: find(kind, name) for name in (names if foreign else own_names)(kind)}
    found = {section_name(name, each): settings_type(each) for name, each in plugins.items()}
    return dict(sorted(found.items()))


def section(kind: str, name: str) -> type[Section] | None:
    """The section `name` of `kind`; None if there is none. A stranger's plugin is code that runs
    here, so it is imported only for the section that names it.
    """
    if name not in own_names(kind) and name not in names(kind):
        return sections(kind).get(name)
    plugin = find(kind, name)
    return settings_type(plugin) if section_name(name, plugin) == name else None


def settings_type(plugin: Any) -> type[Section]:
    """The section that configures `plugin`."""
    section: type[Section] = getattr(plugin, "Settings", NoSettings)
    return section


def _entry_points(kind: str) -> Iterator[Any]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that most starts save

    yield from entry_points(group=f"famulus.{kind}")
