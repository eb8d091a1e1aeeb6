"""What the configuration names, built: models, tools, channels, prompts and the workspace."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from famulus.agent.dispatch import matching
from famulus.agent.prompt import Prompt
from famulus.core import plugins
from famulus.core.clock import Clock
from famulus.core.config import Config
from famulus.core.errors import ConfigError
from famulus.core.folders import workspace_folder
from famulus.core.loading import Loaded
from famulus.core.plugins import Services, Unavailable
from famulus.core.protocols import Channel, Ledger, Tool
from famulus.gateway.gate import OWNED
from famulus.models.found import find_model
from famulus.models.named import Models
from famulus.models.naming import configured_model
from famulus.policy.command import Limits as CommandLimits
from famulus.policy.egress import Door
from famulus.policy.sandbox import find_sandbox
from famulus.state.budget import Budget
from famulus.store.opening import sqlite_path
from famulus.tools import shell

if TYPE_CHECKING:
    import aiohttp


def workspace_of(loaded: Loaded, home: Path) -> Path:
    """Raises `ConfigError` for a workspace that would hold what tools must not touch."""
    config = loaded.config
    kept = {
        "the configuration": loaded.path,
        "the database": sqlite_path(config.storage.url, home),
        "the prompts": home / config.agent.prompts if config.agent.prompts else None,
    }
    there = {what: path.absolute() for what, path in kept.items() if path}
    return workspace_folder(config.agent.workspace, home, kept=there)


def prompts(loaded: Loaded, home: Path) -> Prompt:
    """Raises `ConfigError` for prompts that cannot be used."""
    settings = loaded.config.agent
    if settings.system_prompt and settings.prompts:
        raise ConfigError("stands beside agent.system_prompt. Write that into its base.md instead.")
    return Prompt(
        name=settings.name,
        workspace=workspace_of(loaded, home),
        folder=home / settings.prompts if settings.prompts else None,
        base=settings.system_prompt,
    )


async def build_models(
    loaded: Loaded,
    clock: Clock,
    *,
    session: "Callable[[], aiohttp.ClientSession]",
    budget: Budget | None = None,
) -> Models:
    """The models of a configuration, and one that is found where it names none."""
    named = configured_model(loaded.config)
    pair = loaded.config.router.pair and not loaded.config.router.simple
    return Models(
        loaded.config,
        session=session,
        clock=clock,
        environment=loaded.environment,
        found=None if named else await find_model(loaded.environment, pair=pair),
        budget=budget,
    )


class Tools(NamedTuple):
    """The tools that a model gets, for each of the others why not, and what contains commands:
    a sandbox's name, or nothing.
    """

    offered: list[Tool]
    missing: dict[str, str]
    sandbox: str


async def build_tools(config: Config, clock: Clock, door: Door, ledger: Ledger) -> Tools:
    """The tools that work here and are allowed."""
    settings = config.plugin_settings("tools", "shell", shell.Settings)
    limits = CommandLimits(
        memory=settings.memory,
        processes=settings.processes,
        output=settings.output,
        file=settings.file,
    )
    sandbox, reason = (
        await find_sandbox(settings.sandbox, limits, network=settings.network == "host")
        if settings.enabled
        else (None, "")
    )
    services = Services(
        clock=clock,
        egress=door,
        sandbox=sandbox,
        sandbox_reason=reason,
        tool_output=config.limits.tool_output,
        ledger=ledger,
    )
    tools: list[Tool] = []
    missing: dict[str, str] = {}
    for name, plugin in tool_plugins(config).items():
        section = plugins.section_name(name, plugin)
        settings_of = config.plugin_settings("tools", section, plugins.settings_type(plugin))
        if not getattr(settings_of, "enabled", True):
            missing[name] = f"tools.{section}.enabled is false."
            continue
        try:
            tools.append(plugin.build(settings_of, services))
        except Unavailable as error:
            missing[name] = str(error)
    allow, deny = config.agent.tools_allow, config.agent.tools_deny
    offered = matching(tools, allow, deny)
    for tool in tools:
        if tool not in offered:
            named = bool(matching([tool], allow, ()))
            setting = "tools_deny names it" if named else "tools_allow does not name it"
            missing[tool.name] = f"agent.{setting}."
    return Tools(offered, missing, sandbox.name if sandbox else "")


def tool_plugins(config: Config) -> dict[str, Any]:
    """Ours, and strangers' that are written down: they are code that runs here."""
    own = {name: plugins.find("tools", name) for name in plugins.own_names("tools")}
    sections = {plugins.section_name(name, plugin) for name, plugin in own.items()}
    strangers = (name for name in config.tools if name not in sections)
    return own | {name: plugins.find("tools", name) for name in strangers}


def build_channels(config: Config, clock: Clock) -> list[Channel]:
    """The channels that are written down and enabled."""
    built: list[Channel] = []
    for name in config.channels:
        if name in OWNED:
            continue  # whoever starts the assistant brings them; a section of theirs adds no other
        plugin = plugins.find("channels", name)
        section = config.plugin_settings("channels", name, plugins.settings_type(plugin))
        if getattr(section, "enabled", True) and hasattr(plugin, "build"):
            built.append(plugin.build(section, Services(clock=clock)))
    return built


class Http:
    """The process's one client session for model calls, opened when the first one needs it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> "aiohttp.ClientSession":
        if self._session is None:
            from aiohttp import ClientSession, TCPConnector  # noqa: PLC0415 - 200 ms

            # Streams of many sessions at once go to the same vendor.
            connector = TCPConnector(limit=0, limit_per_host=0)
            self._session = ClientSession(connector=connector, trust_env=False)
            self._stack.push_async_callback(self._session.close)
        return self._session
