"""What a start would stop at, found without one: nobody is called and no database opened.

Each start makes the same check, so that its words are the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from famulus.agent.deferred import FIND, USE
from famulus.configured import prompts, tool_plugins, workspace_of
from famulus.core import plugins
from famulus.core.clock import Clock
from famulus.core.config import Config, Limits
from famulus.core.errors import ConfigError
from famulus.core.loading import Loaded
from famulus.core.toml import KeyPath, dotted
from famulus.core.validation import Written
from famulus.gateway.listening import check_address, check_host, check_trust
from famulus.models import vendors
from famulus.models.classify import compiled
from famulus.models.named import Models
from famulus.models.naming import check_type
from famulus.models.vendors import KeyMissing
from famulus.policy.allowed import allowed_id
from famulus.state.limits import Limits as SpendingLimits
from famulus.store.opening import open_database, sqlite_path


def check(loaded: Loaded, home: Path) -> None:
    """Raise `ConfigError` for the first fault: one line with its place and its key."""
    server, written = loaded.config.server, loaded.written
    with _at(written, ("server", "host")):
        check_host(server)
        check_address(server)
    with _at(written, ("server", "trust_loopback")):
        check_trust(server)
        _check_commands(loaded.config)
    check_assistant(loaded, home)


def _check_commands(config: Config) -> None:
    """Commands that reach this machine's network are among those whom `trust_loopback` lets in."""
    shell = config.tools.get("shell")
    if config.server.trust_loopback and shell and shell.enabled and shell.network == "host":
        raise ConfigError(
            "server.trust_loopback lets in every program of this machine, and with"
            ' tools.shell.network = "host" so it does the commands of a model, which would speak'
            " as you. Remove one of the two."
        )


def check_assistant(loaded: Loaded, home: Path) -> None:
    """The same for an assistant without a gateway."""
    config, written = loaded.config, loaded.written
    with _at(written, ("storage", "url")):
        open_database(config.storage.url, home)
        _check_folder(config.storage.url, home)
    _check_limits(config.limits, written)
    _check_cost(config, written)
    _check_models(loaded)
    _check_tools(config, written)
    _check_channels(config, written)
    with _at(written, ("agent", "workspace")):
        workspace_of(loaded, home)
    with _at(written, ("agent", "prompts")):
        prompts(loaded, home)


def _check_folder(url: str, home: Path) -> None:
    path = sqlite_path(url, home)
    if path is None:
        return
    if path.is_dir():
        raise ConfigError("names a folder. Write the path of a file: sqlite:////full/path.db")
    if path.parent != home and not path.parent.is_dir():
        raise ConfigError(f"the folder {path.parent} is not there. Make it, or name another one.")


def _check_limits(limits: Limits, written: Written) -> None:
    """A limit that a smaller one makes void."""
    for small, large, what in (
        ("message", "body", "no message of that size could be posted"),
        ("message", "frame", "the web chat could not send a message of that size"),
        ("upload", "body", "no file of that size could be sent"),
    ):
        if getattr(limits, small) > getattr(limits, large):
            with _at(written, _first(written, ("limits", small), ("limits", large))):
                raise ConfigError(
                    f"limits.{small} is larger than limits.{large}, so {what}."
                    f" Raise limits.{large} or lower limits.{small}."
                )


def _check_channels(config: Config, written: Written) -> None:
    for name, settings in config.channels.items():
        for number, entry in enumerate(getattr(settings, "allow", ())):
            with _at(written, ("channels", name, "allow", number)):
                allowed_id(entry)


def _check_cost(config: Config, written: Written) -> None:
    there = {
        "agent": [config.agent.name],
        "channel": sorted({*config.channels, *plugins.own_names("channels")}),
    }
    for scope, limits in config.cost.limits.items():
        kind, _, name = scope.partition(":")
        with _at(written, ("cost", "limits", scope)):
            SpendingLimits(replace(config.cost, limits={scope: limits}))
            if kind in there and name not in there[kind]:
                raise ConfigError(
                    f'there is no {kind} "{name}", so this limit would never hold.'
                    f" {_hint(name, there[kind])}"
                )


def _check_models(loaded: Loaded) -> None:
    config, written = loaded.config, loaded.written
    for section, provider in config.providers.items():
        with _at(written, ("providers", section, "type")):
            check_type(section, provider)
    models = Models(
        config, session=_no_session, clock=Clock(), environment=loaded.environment, found=None
    )
    for vendor in vendors.VENDORS:
        vendors.provider_from(vendor, loaded.environment)
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
    """A pattern that no tool matches: what it should allow is not there, or what it should forbid
    is allowed.
    """
    names = [*tool_plugins(config), FIND, USE]
    lists: dict[KeyPath, Sequence[str]] = {
        ("agent", "tools_allow"): config.agent.tools_allow,
        ("agent", "tools_deny"): config.agent.tools_deny,
        ("router", "local_tools"): config.router.local_tools,
        **{("models", name, "tools"): entry.tools for name, entry in config.models.items()},
    }
    for path, patterns in lists.items():
        for number, pattern in enumerate(patterns):
            if any(fnmatchcase(name, pattern) for name in names):
                continue
            with _at(written, (*path, number)):
                raise ConfigError(f'no tool matches "{pattern}". {_hint(pattern, names)}')


def _hint(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    verb = "is" if len(known) == 1 else "are"
    return f"Did you mean {near[0]}?" if near else f"There {verb} {', '.join(known)}."


def _first(written: Written, *paths: KeyPath) -> KeyPath:
    """The first of the settings that somebody has written."""
    return next((path for path in paths if written.has(path)), paths[0])


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
