"""`famulus status`: what is set up, what is running, and why something is missing."""

import asyncio
from contextlib import AsyncExitStack
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import Struct

from famulus import __version__
from famulus.cli.conversation import Gateway, running_gateway
from famulus.cli.options import Options, as_json, common
from famulus.configured import Http, build_models, build_tools
from famulus.core.clock import Clock
from famulus.core.errors import ConfigError
from famulus.core.loading import Loaded
from famulus.core.protocols import Effect, Tool
from famulus.core.zones import day_zone
from famulus.gateway.gate import OWNED
from famulus.models.catalog import catalog_date
from famulus.policy.egress import Door
from famulus.policy.sandbox import contained
from famulus.state.spending import Spending
from famulus.store.opening import open_database, sqlite_path

_READY_SECONDS = 2.0


class ToolState(Struct, frozen=True):
    name: str
    available: bool
    reason: str = ""


class GatewayState(Struct, frozen=True):
    running: bool
    url: str = ""
    state: str = ""


class Status(Struct, frozen=True, kw_only=True):
    """What `--json` prints. `error` is what keeps the configuration from being used; then what
    depends on it is empty.
    """

    version: str
    home: str
    config: str
    database: str
    gateway: GatewayState
    models: list[str]
    simple: str
    channels: list[str]
    channels_off: list[str]
    sandbox: str
    prices_date: str
    tools: list[ToolState]
    error: str = ""


@click.command()
@as_json
@common
def command(options: Options, *, as_json: bool) -> None:
    """Show what is set up and what is running."""
    try:
        status = asyncio.run(_status(options, options.load()))
    except ConfigError as error:
        status = _without_configuration(options, str(error))
    if as_json:
        click.echo(msgspec.json.encode(status))
    else:
        _print(status)
        if status.error:
            click.echo(status.error, err=True)
    if status.error:
        click.get_current_context().exit(1)


def _print(status: Status) -> None:
    gateway = "not running (famulus serve)"
    if status.gateway.running:
        gateway = f"{status.gateway.url} ({status.gateway.state})"
    off = [f"{name} (off: channels.{name}.enabled is false)" for name in status.channels_off]
    broken = "cannot be used; see below" if status.error else "none; defaults are used"
    for name, value in (
        ("famulus", status.version),
        ("home", status.home),
        ("config", status.config or broken),
        ("database", status.database),
        ("gateway", gateway),
        ("models", ", ".join(status.models)),
        (
            "simple",
            f"messages go to {status.simple}" if status.simple else "no model of their own",
        ),
        ("channels", ", ".join([*status.channels, *off])),
        ("commands", "" if status.error else contained(status.sandbox)),
        ("prices", f"of {status.prices_date}, unless the configuration says others"),
    ):
        if value and not (status.error and name == "simple"):
            click.echo(f"{name:<10}{value}")
    if status.tools:
        click.echo("tools")
    for tool in status.tools:
        reason = f"  {tool.reason}" if tool.available else f"  not offered: {tool.reason}"
        click.echo(f"  {'✓' if tool.available else '✗'} {tool.name}{reason}".rstrip())


def _gateway(options: Options) -> GatewayState:
    gateway = running_gateway(options.home)
    return _state(gateway) if gateway else GatewayState(running=False)


def _without_configuration(options: Options, error: str) -> Status:
    return Status(
        version=__version__,
        home=str(options.home),
        config="",
        database="",
        gateway=_gateway(options),
        models=[],
        simple="",
        channels=[],
        channels_off=[],
        sandbox="",
        prices_date=catalog_date(),
        tools=[],
        error=error,
    )


async def _status(options: Options, loaded: Loaded) -> Status:
    # It is only built here, and reads nothing, so the database stays closed.
    database = open_database(loaded.config.storage.url, options.home)
    ledger = Spending(database, clock=Clock(), timezone=day_zone(loaded.config))
    models, simple = await _models(loaded)
    tools, missing, sandbox = await build_tools(loaded.config, Clock(), Door(), ledger)
    states = [ToolState(tool.name, available=True, reason=_warning(tool)) for tool in tools]
    given = loaded.config.channels
    off = sorted(name for name, each in given.items() if not getattr(each, "enabled", True))
    states += [ToolState(name, available=False, reason=why) for name, why in missing.items()]
    return Status(
        version=__version__,
        home=str(options.home),
        config=str(loaded.path or ""),
        database=_database(loaded, options),
        gateway=_gateway(options),
        models=models,
        simple=simple,
        channels=sorted({*OWNED, *given} - set(off)),
        channels_off=off,
        sandbox=sandbox,
        prices_date=catalog_date(),
        tools=sorted(states, key=lambda each: each.name),
    )


def _warning(tool: Tool) -> str:
    reaching = {Effect.EXECUTES, Effect.NETWORK} <= tool.effects
    return "its commands reach the network" if reaching else ""


def _state(gateway: Gateway) -> GatewayState:
    """How the gateway feels: `ready`, or why it is not."""
    address = urlsplit(gateway.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=_READY_SECONDS)
    try:
        connection.request("GET", "/ready")
        told = msgspec.json.decode(connection.getresponse().read())
        state = str(told.get("problem") or told["status"])
    except (OSError, HTTPException, ValueError, LookupError, AttributeError):
        state = "it does not answer"
    finally:
        connection.close()
    return GatewayState(running=True, url=gateway.url, state=state)


def _database(loaded: Loaded, options: Options) -> str:
    """The file, or the server without the password that the URL may hold."""
    url = loaded.config.storage.url
    path = sqlite_path(url, options.home)
    if path is not None:
        return str(path)
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


async def _models(loaded: Loaded) -> tuple[list[str], str]:
    """The main model first, then the others that are written down; and who answers the simple."""
    async with AsyncExitStack() as stack:
        models = await build_models(loaded, Clock(), session=Http(stack).session)
        main = models.main().card
    name = main.name if main.name == main.id else f"{main.name} ({main.provider}/{main.id})"
    others = (other for other in loaded.config.models if other != main.name)
    return [name, *others], models.simple
