"""`famulus tokens create | list | remove`"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import click
import msgspec

from famulus.cli.conversation import running_gateway
from famulus.cli.login import request
from famulus.cli.options import Options, as_json, common, common_options
from famulus.core.clock import Clock
from famulus.state.logins import Token, Tokens
from famulus.store.opening import open_database

T = TypeVar("T")


@click.group()
@common_options
def command(**given: object) -> None:
    """Make and revoke tokens for programs."""


@command.command()
@click.argument("name")
@as_json
@common
def create(options: Options, *, name: str, as_json: bool) -> None:
    """Make a token and print it, this one time."""
    token = _with_tokens(options, lambda tokens: tokens.create(name))
    click.echo(msgspec.json.encode({"name": name, "token": token}) if as_json else token)


@command.command("list")
@as_json
@common
def list_(options: Options, *, as_json: bool) -> None:
    """List the tokens by name; none is shown."""
    tokens = _with_tokens(options, lambda tokens: tokens.all())
    if as_json:
        listed = [
            {"name": each.name, "created": _time(each.created), "used": _time(each.used)}
            for each in tokens
        ]
        click.echo(msgspec.json.encode({"tokens": listed}))
        return
    if not tokens:
        click.echo("There are no tokens. Make one: famulus tokens create NAME")
    for each in tokens:
        click.echo(_line(each))


@command.command()
@click.argument("name")
@common
def remove(options: Options, *, name: str) -> None:
    """Revoke a token, at once."""
    _with_tokens(options, lambda tokens: tokens.remove(name))
    click.echo(f"removed {name}")
    if gateway := running_gateway(options.home):
        # Who reads on with it is still connected.
        request(gateway, "/api/close-ended")


def _with_tokens(options: Options, act: Callable[[Tokens], Awaitable[T]]) -> T:
    async def run() -> T:
        url = options.load().config.storage.url
        async with open_database(url, options.home) as database:
            return await act(Tokens(database, clock=Clock()))

    return asyncio.run(run())


def _line(token: Token) -> str:
    used = f"last used {_time(token.used)}" if token.used else "never used"
    return f"{token.name}  made {_time(token.created)}  {used}"


def _time(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None
