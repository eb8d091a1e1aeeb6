"""Slash commands: what a user can do to sessions without asking the model.

Each is a row of `COMMANDS`; help, completion and documentation are made from it.
"""

import asyncio
import difflib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from famulus.core import workspace as files
from famulus.core.errors import FamulusError, Invalid
from famulus.core.events import CommandExecuted
from famulus.core.messages import Origin, SessionKey, Text
from famulus.core.protocols import Ledger
from famulus.core.zones import minute, person_zone
from famulus.engine.turns import Answer, Closing, Ending, Runner, Stopped, Turn
from famulus.gateway.erasure import Erasure
from famulus.gateway.history import exchanged
from famulus.gateway.usage import usage_text
from famulus.state.messages import Messages
from famulus.state.people import OWNER
from famulus.state.sessions import Session, Sessions

_DUMPED = 10_000
_LISTED = 20
_USAGE_DAYS = 30
_MOST_DAYS = 3660
_LONGEST_TITLE = 200
_UNSAFE = re.compile(r"[^\w\-]+")


class Told(Struct, frozen=True):
    """What the user is told, and the session and title of the chat from now on. `failed`: it only
    says why nothing was done.
    """

    text: str
    current: str
    title: str = ""
    failed: bool = False


class Call(NamedTuple):
    """A command on its way. `argument` is what stands behind its name, `dialog` the number of the
    conversation that it may make, `zone` the person's.
    """

    key: SessionKey
    person: str
    argument: str
    at: datetime
    dialog: str
    turn: str
    zone: str

    @property
    def session(self) -> str:
        return str(self.key)


class Slash:
    """A `Runner` that does the turns of command lanes itself and leaves the others to `inner`.

    `cancel` stops a session's turns. `models` are the names that `/model` offers, and
    `check_model` raises FamulusError for a name that no model can have, and gives what speaks
    against one that may have none. `compact` condenses the beginning of a conversation and says
    what came of it. `timezone` is the one that the owner wrote, or empty.
    """

    def __init__(
        self,
        inner: Runner,
        *,
        sessions: Sessions,
        messages: Messages,
        erasure: Erasure,
        ledger: Ledger,
        workspace: Path,
        cancel: Callable[[str], Awaitable[Stopped]],
        models: Callable[[], Sequence[str]],
        check_model: Callable[[str], str],
        compact: Callable[[Call], Awaitable[str]],
        timezone: str = "",
    ) -> None:
        self._inner = inner
        self._sessions = sessions
        self._messages = messages
        self._erasure = erasure
        self._ledger = ledger
        self._workspace = workspace
        self._cancel = cancel
        self._models = models
        self._check_model = check_model
        self._compact = compact
        self._timezone = timezone

    async def run(self, turn: Turn) -> None:
        if not turn.lane.startswith("!"):
            await self._inner.run(turn)
            return
        name, argument = parse(turn.inbound.text)
        key = SessionKey.parse(turn.session)
        # On disk before it is used: after a crash the command makes the same one, not another.
        dialog = await turn.step("dialog", str, lambda _: self._dialog(name, key))
        zone = person_zone(self._timezone, turn.inbound.timezone)
        call = Call(key, turn.person, argument, turn.inbound.at, dialog, turn.id, zone)
        told = await turn.step("command", Told, lambda _: self._do(name, call))
        if name in _BY_NAME:
            turn.emit(
                CommandExecuted(
                    turn_id=turn.id,
                    session=turn.session,
                    channel=turn.inbound.channel,
                    chat_id=turn.inbound.chat_id,
                    command=_BY_NAME[name].name,
                    current=told.current,
                    title=told.title,
                    answers=(turn.inbound.message_id,),
                )
            )
        answer = Answer(parts=(Text(told.text, Origin.ASSISTANT),), failed=told.failed)
        await turn.finish(Closing(answer=answer))

    @staticmethod
    def describe() -> Sequence[dict[str, str]]:
        """The commands for clients that complete them."""
        return [
            {"name": each.name, "usage": each.usage, "description": each.description}
            for each in COMMANDS
        ]

    def end(self, turn: Turn, ending: Ending, detail: str) -> Closing:
        if not turn.lane.startswith("!"):
            return self._inner.end(turn, ending, detail)
        text = "This command could not be done. Please try it again."
        return Closing(answer=Answer(parts=(Text(text, Origin.ASSISTANT),), failed=True))

    async def _dialog(self, name: str, key: SessionKey) -> str:
        return await self._sessions.next_dialog(key.channel, key.chat_id) if name == "new" else ""

    async def _do(self, name: str, call: Call) -> Told:
        command = _BY_NAME.get(name)
        if command is None:
            return Told(_hint(name), call.session, failed=True)
        try:
            return await command.run(self, call)
        except FamulusError as error:
            return Told(str(error), call.session, failed=True)

    # ------------------------------------------------------------ the commands

    async def new(self, call: Call) -> Told:
        title = _title(call.argument)
        key = SessionKey(call.key.channel, call.key.chat_id, call.dialog)
        await self._sessions.ensure(key, call.person, title=title)
        await self._sessions.switch(key)
        named = f" “{title}”" if title else ""
        return Told(f"New conversation {key.dialog_id}{named}.", str(key), title)

    async def sessions(self, call: Call) -> Told:
        found = await self._sessions.of_chat(call.key.channel, call.key.chat_id)
        if not found:
            return Told("There are no conversations here yet.", call.session)
        lines = ["Conversations of this chat, the one used last first:", ""]
        for each in found[:_LISTED]:
            here = " ← you are here" if each.key == call.session else ""
            lines.append(f"- `{_dialog(each)}` {each.title or 'untitled'}, {_count(each)}{here}")
        if len(found) > _LISTED:
            lines.append(f"- and {len(found) - _LISTED} more")
        lines += ["", "Go to one with `/switch <dialog_id>`."]
        return Told("\n".join(lines), call.session)

    async def switch(self, call: Call) -> Told:
        prefix = f"{call.key.channel}:{call.key.chat_id}:"
        dialog = call.argument.removeprefix(prefix)
        if not dialog:
            raise Invalid("Which one? `/switch <dialog_id>`; `/sessions` lists them.")
        session = await self._sessions.find(prefix + dialog)
        if session is None:
            raise Invalid(
                f"There is no conversation {dialog[:100]!r} here. `/sessions` lists them."
            )
        await self._sessions.switch(SessionKey(call.key.channel, call.key.chat_id, dialog))
        return Told(
            f"You are in conversation {dialog}: {session.title or 'untitled'}.",
            session.key,
            session.title,
        )

    async def rename(self, call: Call) -> Told:
        title = _title(call.argument)
        if not title:
            raise Invalid("What shall it be called? `/rename <title>`")
        await self._sessions.rename(call.session, title)
        return Told(f"This conversation is called “{title}” now.", call.session, title)

    async def delete(self, call: Call) -> Told:
        await self._erasure.delete(call.key, sparing=call.turn)
        left = await self._sessions.of_chat(call.key.channel, call.key.chat_id)
        if left:
            key = SessionKey.parse(left[0].key)
            await self._sessions.switch(key)
            return Told(
                f"Conversation {call.key.dialog_id} is deleted. You are in"
                f" {key.dialog_id} now: {left[0].title or 'untitled'}.",
                left[0].key,
                left[0].title,
            )
        key = await self._sessions.create(call.key.channel, call.key.chat_id, call.person)
        return Told(
            f"Conversation {call.key.dialog_id} is deleted. You are in a new one.", str(key)
        )

    async def info(self, call: Call) -> Told:
        session = await self._sessions.get(call.session)
        return Told(
            "\n".join(
                [
                    f"- conversation: `{session.key}`",
                    f"- title: {session.title or 'untitled'}",
                    f"- model: {session.model or 'the default'}",
                    f"- messages: {session.messages}",
                    f"- began: {minute(session.created, call.zone)}",
                    f"- last used: {minute(session.updated, call.zone)}",
                ]
            ),
            call.session,
            session.title,
        )

    async def dump(self, call: Call) -> Told:
        said = await self._messages.latest(call.session, _DUMPED)
        # The workspace is read by tools, and so by models elsewhere. The title, too, may be the
        # words of a private message.
        entries = exchanged([each for each in said if not each.message.private])
        hidden = sum(each.message.private for each in said)
        left_out = (
            f" {hidden} private messages are left out, as models can read this file:"
            f" `famulus sessions show {call.session}` shows them."
        )
        if not entries:
            nothing = "There is nothing to save yet." + (left_out if hidden else "")
            return Told(nothing, call.session)
        lines = [f"# {call.session}", ""]
        for entry in entries:
            who = "You" if entry["role"] == "user" else "Famulus"
            when = minute(datetime.fromisoformat(entry["time"]), call.zone)
            lines += [f"## {who}, {when}", "", entry["content"], ""]
            lines += [f"- `{tool['name']}` {tool['arguments']}" for tool in entry.get("tools", ())]
        name = _UNSAFE.sub("_", call.session)[:100]
        path = f"dumps/{name}-{call.at:%Y%m%d-%H%M%S}.md"
        content = "\n".join(lines).encode("utf-8", "replace")
        await asyncio.to_thread(files.write_bytes, self._workspace, path, content)
        saved = f"Saved as `{path}` in the workspace ({self._workspace})."
        return Told(saved + (left_out if hidden else ""), call.session)

    async def stop(self, call: Call) -> Told:
        stopped = await self._cancel(call.session)
        if not stopped.running:
            return Told("Nothing is running here.", call.session)
        waiting = f" {stopped.waiting} waiting messages are dropped." if stopped.waiting else ""
        return Told(f"Stopped.{waiting}", call.session)

    async def model(self, call: Call) -> Told:
        session = await self._sessions.get(call.session)
        if not call.argument:
            now = session.model or "the default"
            offered = ", ".join(f"`{name}`" for name in self._models()) or "none by name"
            return Told(
                f"The model here is {now}. Configured: {offered}."
                " Change it with `/model <name>`, go back with `/model default`.",
                call.session,
            )
        model = "" if call.argument == "default" else call.argument
        doubt = self._check_model(model) if model else ""
        await self._sessions.set_model(call.session, model)
        used = f"This conversation uses {model or 'the default model'} now."
        return Told(f"{used} {doubt}".strip(), call.session)

    async def compact(self, call: Call) -> Told:
        return Told(await self._compact(call), call.session)

    async def usage(self, call: Call) -> Told:
        person = "" if call.person == OWNER else call.person
        days = _days(call.argument)
        if not days:
            return Told(
                f"`{call.argument[:50]}` is no number of days. Write 1 to {_MOST_DAYS}, such as"
                f" `/usage 7`; `/usage` alone shows the last {_USAGE_DAYS}.",
                call.session,
            )
        summary = await self._ledger.summary(days=days, person=person)
        return Told(usage_text(summary, call.session), call.session)

    async def help(self, call: Call) -> Told:
        rows = [f"- `/{each.usage}` {each.description}" for each in COMMANDS]
        return Told("\n".join(["What you can type here:", "", *rows]), call.session)


class Command(NamedTuple):
    name: str
    usage: str
    description: str
    run: Callable[[Slash, Call], Awaitable[Told]]


COMMANDS = (
    Command("new", "new [title]", "begins a new conversation", Slash.new),
    Command("sessions", "sessions", "lists the conversations of this chat", Slash.sessions),
    Command("switch", "switch <dialog_id>", "goes to another conversation", Slash.switch),
    Command("rename", "rename <title>", "gives this conversation a title", Slash.rename),
    Command("delete", "delete", "deletes this conversation and its messages", Slash.delete),
    Command("info", "info", "shows facts about this conversation", Slash.info),
    Command("dump", "dump", "saves this conversation as Markdown", Slash.dump),
    Command("stop", "stop", "stops what is running and drops what waits", Slash.stop),
    Command("model", "model [name]", "shows or changes the model here", Slash.model),
    Command(
        "compact", "compact", "condenses all but the last exchange to a summary", Slash.compact
    ),
    Command("usage", "usage [days]", "shows what the models used and cost", Slash.usage),
    Command("help", "help", "shows this list, as does `/?`", Slash.help),
)
_BY_NAME = {each.name: each for each in COMMANDS}
_BY_NAME["?"] = _BY_NAME["help"]


def parse(text: str) -> tuple[str, str]:
    """`/Name@bot argument` as the name and its argument."""
    word, *rest = text.strip().removeprefix("/").split(maxsplit=1)
    # In groups Telegram adds the name of the bot that is meant.
    return word.partition("@")[0].lower(), rest[0] if rest else ""


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    meant = f" Did you mean /{near[0]}?" if near else ""
    return f"There is no command /{name[:50]}.{meant} /help lists all of them."


def _days(text: str) -> int:
    """The days that `/usage` is asked for; 0 for what is no number of days."""
    if not text:
        return _USAGE_DAYS
    days = int(text) if text.isdecimal() and len(text) < 10 else 0
    return days if days <= _MOST_DAYS else 0


def _title(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_TITLE]


def _dialog(session: Session) -> str:
    return session.key.rpartition(":")[2]


def _count(session: Session) -> str:
    return "1 message" if session.messages == 1 else f"{session.messages} messages"
