"""`famulus sessions list | show | search | rename | delete`"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import click
import msgspec

from famulus.cli.conversation import running_gateway
from famulus.cli.options import Options, as_json, common, common_options
from famulus.core.clock import Clock
from famulus.core.errors import FamulusError, Invalid, StoreUnavailable
from famulus.core.messages import SessionKey
from famulus.core.zones import minute, person_zone
from famulus.gateway.erasure import Erasure
from famulus.gateway.history import history
from famulus.gateway.incoming import session_key
from famulus.state.messages import Messages
from famulus.state.people import OWNER
from famulus.state.sessions import Session, Sessions
from famulus.store.database import Database
from famulus.store.lock import hold
from famulus.store.opening import open_database, sqlite_path

T = TypeVar("T")

_SHOWN = 10_000


class Kept(NamedTuple):
    database: Database
    sessions: Sessions
    messages: Messages


@click.group()
@common_options
def command(**given: object) -> None:
    """List and show conversations."""


@command.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@as_json
@common
def list_(options: Options, *, limit: int, as_json: bool) -> None:
    """List conversations, the one used last first."""
    sessions = _with_kept(options, lambda kept: kept.sessions.all(limit=limit))
    zone = _zone(options)
    if as_json:
        _print({"sessions": [_described(each) for each in sessions]})
        return
    if not sessions:
        click.echo('There are no conversations yet. Begin one: famulus ask "hello"')
    for each in sessions:
        title = each.title or "untitled"
        click.echo(f"{each.key}  {minute(each.updated, zone)}  {each.messages:>4}  {title}")


@command.command()
@click.argument("session")
@click.option("--limit", default=_SHOWN, type=click.IntRange(1), help="Only the last messages.")
@as_json
@common
def show(options: Options, *, session: str, limit: int, as_json: bool) -> None:
    """Print the messages of SESSION, a whole key or CHANNEL:CHAT for its current conversation."""

    async def read(kept: Kept) -> tuple[Session, list[dict[str, Any]]]:
        found = await kept.sessions.get(await _key(kept, session))
        return found, await history(kept.database, kept.messages, found.key, limit=limit)

    found, entries = _with_kept(options, read)
    zone = _zone(options)
    if as_json:
        _print({**_described(found), "messages": entries})
        return
    for entry in entries:
        when = minute(datetime.fromisoformat(entry["time"]), zone)
        click.secho(f"{entry['role']}, {when}", bold=True)
        for tool in entry.get("tools", ()):
            click.echo(f"  {tool['name']} {tool['arguments']}")
        click.echo(f"{entry['content']}\n")


@command.command()
@click.argument("text")
@click.option("--session", default="", help="Only in this conversation.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1))
@as_json
@common
def search(options: Options, *, text: str, session: str, limit: int, as_json: bool) -> None:
    """Find messages with the words of TEXT, best first."""

    async def find(kept: Kept) -> list[dict[str, Any]]:
        key = await _key(kept, session) if session else ""
        return [
            {
                "session_id": said.session,
                "role": said.message.role,
                "content": said.message.text,
                "time": _time(said.at),
                "score": score,
            }
            for said, score in await kept.messages.search(text, limit=limit, session=key)
        ]

    results = _with_kept(options, find)
    if as_json:
        _print({"results": results})
        return
    zone = _zone(options)
    for each in results:
        when = minute(datetime.fromisoformat(each["time"]), zone)
        line = " ".join(each["content"].split())[:200]
        click.echo(f"{each['session_id']}  {when}  {each['role']}: {line}")


@command.command()
@click.argument("session")
@click.argument("title")
@common
def rename(options: Options, *, session: str, title: str) -> None:
    """Give SESSION a title."""

    async def act(kept: Kept) -> str:
        key = await _key(kept, session)
        await kept.sessions.rename(key, title)
        return key

    click.echo(f"{_with_kept(options, act)} is called {title}")


@command.command()
@click.argument("session")
@common
def delete(options: Options, *, session: str) -> None:
    """Delete SESSION and its messages."""
    if running_gateway(options.home):
        raise FamulusError(
            "The gateway is running and may be writing to that conversation."
            " Send /delete there, or stop the gateway first."
        )

    async def act(kept: Kept) -> str:
        key = (await kept.sessions.get(await _key(kept, session))).key
        erasure = Erasure(
            kept.database,
            sessions=kept.sessions,
            messages=kept.messages,
            workspace=workspace,
            clock=Clock(),
        )
        await erasure.delete(SessionKey.parse(key))
        try:
            await kept.database.sweep()
        except StoreUnavailable as error:
            click.echo(f"{error} The gateway overwrites it when it runs.", err=True)
        return key

    from famulus.configured import workspace_of  # noqa: PLC0415 - it imports many rooms

    loaded = options.load()
    workspace = workspace_of(loaded, options.home)
    path = sqlite_path(loaded.config.storage.url, options.home)
    with hold(path) if path else nullcontext():
        deleted = _with_kept(options, act)
    click.echo(f"deleted {deleted}")


async def _key(kept: Kept, session: str) -> str:
    key = session_key(session)
    if key.dialog_id:
        return str(key)
    if not await kept.sessions.of_chat(key.channel, key.chat_id, archived=True):
        raise Invalid(f"There is no conversation in {session}. See: famulus sessions list")
    return str(await kept.sessions.current(key.channel, key.chat_id, OWNER))


def _with_kept(options: Options, act: Callable[[Kept], Awaitable[T]]) -> T:
    async def run() -> T:
        url = options.load().config.storage.url
        async with open_database(url, options.home) as database:
            kept = Kept(database, Sessions(database, clock=Clock()), Messages(database))
            return await act(kept)

    return asyncio.run(run())


def _zone(options: Options) -> str:
    """The zone that times are shown in."""
    return person_zone(options.load().config.agent.timezone)


def _described(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.key,
        "title": session.title,
        "person": session.person,
        "model": session.model,
        "archived": session.archived,
        "created": _time(session.created),
        "updated": _time(session.updated),
        "message_count": session.messages,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _print(value: object) -> None:
    click.echo(msgspec.json.encode(value))
