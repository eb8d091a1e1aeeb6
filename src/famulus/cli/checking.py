"""What a start would stop at, found without one: no network is used and no database opened."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from famulus.app import tool_plugins
from famulus.core.clock import Clock
from famulus.core.config import Config, Cost
from famulus.core.errors import ConfigError
from famulus.core.loading import Loaded
from famulus.core.toml import KeyPath, dotted
from famulus.core.validation import Written
from famulus.gateway.origin import check_host
from famulus.models.classify import compiled
from famulus.models.named import Models, check_type
from famulus.models.vendors import KeyMissing
from famulus.state.limits import Limits, zone_of
from famulus.store.opening import open_database


def check(loaded: Loaded) -> None:
    """Raise `ConfigError` for the first fault: one line with its place and its key."""
    config, written = loaded.config, loaded.written
    with _at(written, ("server", "host")):
        check_host(config.server)
    with _at(written, ("storage", "url")):
        open_database(config.storage.url, Path())
    _check_cost(config.cost, written)
    _check_models(loaded)
    _check_tools(config, written)


def _check_cost(cost: Cost, written: Written) -> None:
    with _at(written, ("cost", "timezone")):
        zone_of(cost.timezone)
    for scope, limits in cost.limits.items():
        with _at(written, ("cost", "limits", scope)):
            Limits(replace(cost, limits={scope: limits}))


def _check_models(loaded: Loaded) -> None:
    config, written = loaded.config, loaded.written
    for section, provider in config.providers.items():
        with _at(written, ("providers", section, "type")):
            check_type(section, provider)
    models = Models(
        config, session=_no_session, clock=Clock(), environment=loaded.environment, found=None
    )
    # A model that no message goes to needs no key; where one does go to it, `main` asks for it.
    for name in config.models:
        with _at(written, ("models", name)), suppress(KeyMissing):
            models.resolve(name)
    agent, router = config.agent, config.router
    used: dict[KeyPath, str] = {
        ("agent", "model"): agent.model,
        **{("agent", "fallbacks", n): name for n, name in enumerate(agent.fallbacks)},
        ("router", "simple"): router.simple,
        ("router", "complex"): router.complex,
        ("router", "tool"): router.tool,
    }
    for path, name in used.items():
        with _at(written, path):
            if name:
                models.resolve(name)
    spare = "" if config.cost.over_limit == "refuse" else config.cost.over_limit
    for path, name in {("agent", "vision"): agent.vision, ("cost", "over_limit"): spare}.items():
        with _at(written, path), suppress(KeyMissing):
            if name:
                models.resolve(name)
    for number in range(len(router.rules)):
        with _at(written, ("router", "rules", number, "pattern")):
            compiled(router.rules[: number + 1])
    with _at(written, ("transcription", "model")):
        models.transcriber()
    with _at(written, ()):
        models.main()


def _check_tools(config: Config, written: Written) -> None:
    names = list(tool_plugins(config))
    for number, pattern in enumerate(config.agent.tools_allow):
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        near = get_close_matches(pattern, names, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}."
        with _at(written, ("agent", "tools_allow", number)):
            raise ConfigError(f'no tool matches "{pattern}". {hint}')


@contextmanager
def _at(written: Written, path: KeyPath) -> Iterator[None]:
    """Put before an error where the setting stands, and its key unless the error begins so."""
    try:
        yield
    except ConfigError as error:
        key = dotted(path)
        said = str(error) if not key or str(error).startswith(key) else f"{key}: {error}"
        raise ConfigError(f"{written.at(path)}{said}") from None


def _no_session() -> NoReturn:
    raise RuntimeError("a check calls no model")
