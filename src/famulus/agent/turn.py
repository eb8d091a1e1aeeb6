"""One turn of the agent: the hot path.

opening ─► model ─► calls? ─► tools, side by side ─┐
             ▲                                     │
             └──────────── results ◄───────────────┘
           no calls ─► answer, history and outbox in one transaction
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from famulus.agent.allowance import Allowance
from famulus.agent.compaction import Compaction
from famulus.agent.dispatch import Dispatch, Repeats, failed
from famulus.agent.history import History, Window
from famulus.agent.media import Media, Unheard
from famulus.agent.prompt import Prompt, opening
from famulus.agent.recalled import Opening, as_run, recalled
from famulus.agent.room import Learned, Room, fitted
from famulus.core.errors import ConfigError, ContextOverflow, ModelError, OverLimit
from famulus.core.events import Delta
from famulus.core.main_agent import Agent as Settings
from famulus.core.messages import (
    Inbound,
    Message,
    Note,
    Origin,
    Text,
    ToolCall,
    Usage,
    text_of,
)
from famulus.core.protocols import Caller, Done, Model, Request, Restarted, TextDelta
from famulus.engine.turns import Answer, Closing, Ending, Turn
from famulus.state.sessions import Session

log = logging.getLogger(__name__)

Limit = Literal["rounds", "repeats", "allowance", "length"]

_LIMIT_NOTES: dict[Limit, str] = {
    "rounds": "[No more tool calls are possible in this turn. Answer now with what is known.]",
    "repeats": "[The same calls keep giving the same outcome. Answer now with what is known.]",
    "allowance": "[This turn has used nearly all it may. Answer now with what is known.]",
    "length": "",
}
_LIMIT_ANSWERS: dict[Limit, str] = {
    "rounds": "I stopped after {rounds} rounds of tool calls without coming to an end.",
    "repeats": "I stopped because the same tool calls kept giving the same outcome.",
    "allowance": "I came to an end early: one turn may use no more than {allowance}.",
    "length": "The answer was cut off because it reached the model's longest output.",
}
_ENDINGS: dict[Ending, str] = {
    "stopped": "Stopped.",
    "given_up": "I could not finish this: it failed {detail} in a row. Please try it another way.",
    "outdated": "I was updated in the middle of this and cannot safely go on with it. "
    "Some of it may be done already; please check before you ask again.",
    "abandoned": "Stopped: the command that asked this was killed. Some of it may be done already;"
    " please check before you ask again.",
}


@dataclass(slots=True)
class _Talk:
    """What a turn goes on with: who answers, how much fits, what is shown, what all calls of it
    and the last one cost. `past` is the part of the window that this model is shown.
    """

    model: Model
    room: Room
    window: Window
    past: Window
    usage: Usage
    last: Usage


class Agent:
    """The `Runner` of conversations."""

    def __init__(
        self,
        settings: Settings,
        *,
        prompt: Prompt,
        history: History,
        dispatch: Dispatch,
        media: Media,
        model: Callable[[str], Model],
        kept: Callable[[str], Model],
    ) -> None:
        """`model` gives the model for a name, the agent's own for an empty one; `kept` the one for
        a private turn where that name is chosen.
        """
        self._settings = settings
        self._prompt = prompt
        self._history = history
        self._dispatch = dispatch
        self._media = media
        self._model = model
        self._kept = kept
        self._compaction = Compaction(settings, history)
        self._allowance = Allowance(settings)
        self._learned: dict[str, Learned] = defaultdict(Learned)

    async def run(self, turn: Turn) -> None:
        try:
            async with asyncio.timeout(self._settings.turn_timeout) as clock:
                answer, window = await self._converse(turn)
        except (OverLimit, Unheard) as error:
            answer, window = _early(turn, str(error)), None
        except (ModelError, ConfigError) as error:
            log.warning("no model answered turn=%s error=%s", turn.id, error)
            answer, window = _early(turn, f"I could not get an answer from a model. {error}"), None
        except TimeoutError:
            if not clock.expired():
                raise
            limit = self._settings.turn_timeout
            answer = _early(turn, f"I stopped: this took longer than {limit:g} seconds.")
            window = None
        await turn.finish(self._close(turn, answer, window))

    async def _converse(self, turn: Turn) -> tuple[Answer, Window]:
        talk = await self._begin(turn)
        repeats = Repeats(self._settings.max_repeats)
        limit: Limit | None = None
        for rounds_left in reversed(range(self._settings.max_tool_rounds + 1)):
            if steered := await turn.steered():
                await self._hear(turn, talk, self._opening(steered))
            done = await turn.step(
                "model",
                Done,
                lambda _: self._ask(turn, talk, may_call=not limit),  # noqa: B023 - awaited here
                last=_ends if limit is None else _always,
            )
            talk.last = done.usage
            talk.usage += done.usage
            _note(turn, Message("assistant", as_run(done.parts), done.private))
            calls = turn.record[-1].calls
            if not calls or limit:
                break
            results = await self._dispatch.round(
                turn, calls, repeats, most_characters=talk.room.output_characters
            )
            _note(turn, Message("tool", tuple(results), turn.record[-1].private))
            if rounds_left == 1:
                limit = "rounds"
            elif all(repeats.exhausted(call) for call in calls):
                limit = "repeats"
            elif self._allowance.ends(talk.usage, talk.last):
                limit = "allowance"
            if limit:
                _note(turn, Message("user", (Note(_LIMIT_NOTES[limit]),)))
        if done.reason == "length":
            limit = limit or "length"
        return self._answer(done, talk.usage, limit), talk.window

    async def _begin(self, turn: Turn) -> _Talk:
        """Freeze what the turn starts from, and put its message at the head of the record."""
        session = await self._history.session(turn.session)
        model = self._model(_chosen(turn, session))
        room = self._room(model, turn.inbound.channel)
        window = await self._history.window(session, room.history_bytes)
        start = await turn.freeze("opening", Opening, lambda: self._open(turn, window))
        window = window.since(start.window_start)
        talk = _Talk(model, room, window, window, Usage(), Usage())
        turn.record[:] = [start.message]
        if start.compacts:
            talk.window, talk.usage = await self._compaction.of_turn(
                turn, window, model, room, self._caller(turn)
            )
            talk.past = talk.window
        turn.record.clear()
        await self._hear(turn, talk, start.message)
        return talk

    async def _hear(self, turn: Turn, talk: _Talk, message: Message) -> None:
        """Add a user message to the record, with what its recordings and files say. From one that
        is private on, a local model has the turn, and the window is as large as it was.
        """
        private = _is_private(turn)
        if private:
            message = replace(message, private=True)
        read = await self._media.read(turn, message, self._caller(turn))
        _note(turn, read.message)
        talk.usage += read.usage
        if read.message.private and not private:
            talk.model = self._kept(_chosen(turn, talk.window.session))
            talk.room = self._room(talk.model, turn.inbound.channel)
            talk.past = talk.window.within(talk.room.history_bytes)

    async def _open(self, turn: Turn, window: Window) -> Opening:
        compacts = self._settings.compaction and bool(window.before)
        return Opening(self._opening(turn.inbounds), window.start, compacts)

    def _opening(self, inbounds: Sequence[Inbound]) -> Message:
        return opening(inbounds, self._settings.timezone)

    def _room(self, model: Model, channel: str) -> Room:
        system = self._prompt.system(channel)
        return self._learned[model.card.name].room(
            model.card,
            fixed_bytes=len(system.encode("utf-8", "replace")) + self._dispatch.size,
            history_tokens=self._settings.history_tokens,
        )

    async def compact(self, key: str, *, person: str, channel: str, at: float) -> str:
        """Condense a session up to its last question, now. The text says what came of it."""
        session = await self._history.session(key)
        model = self._model(session.model)
        room = self._room(model, channel)
        window = await self._history.window(session, room.history_bytes)
        caller = Caller(person=person, agent=self._settings.name, channel=channel)
        return await self._compaction.now(window, model, room, caller, at)

    async def _ask(self, turn: Turn, talk: _Talk, *, may_call: bool) -> Done:
        """One model call, shown while it comes. What the model finds too long is tried once more
        with half of it. Raises `OverLimit` when the turn may not use as much.
        """
        model, past, past_bytes = talk.model, talk.past.messages, talk.past.size
        learned = self._learned[model.card.name]
        messages, shown_bytes = fitted(past, past_bytes, turn.record, talk.room.messages_bytes)
        sent_bytes = talk.room.fixed_bytes + shown_bytes
        request = await self._request(turn, model, messages)
        bound = self._allowance.answer_tokens(
            talk.usage, talk.last, learned.tokens(sent_bytes, len(request.media)), model.card
        )
        request = replace(request, may_call=may_call, max_tokens=bound)
        try:
            done = await self._stream(turn, model, request, again=len(turn.record) > 1)
        except ContextOverflow as error:
            # Not always the model that was asked: another one may have answered in its place.
            self._learned[error.model or model.card.name].refused(sent_bytes)
            most_bytes = shown_bytes - sent_bytes // 2
            less, less_bytes = fitted(past, past_bytes, turn.record, most_bytes)
            if less_bytes >= shown_bytes:
                raise
            log.warning("too long, so less is shown turn=%s error=%s", turn.id, error)
            shorter = await self._request(turn, model, less)
            request = replace(request, messages=shorter.messages, media=shorter.media)
            return await self._stream(turn, model, request, again=True)
        if not request.media:
            counting = self._learned[done.card or model.card.name]
            counting.counted(sent_bytes, done.usage.input_tokens)
        return done

    async def _request(self, turn: Turn, model: Model, messages: tuple[Message, ...]) -> Request:
        return Request(
            system=self._prompt.system(turn.inbound.channel),
            messages=messages,
            tools=self._dispatch.specs,
            media=await self._history.media(messages, documents="pdf" in model.card.inputs),
            session=turn.session,
            caller=self._caller(turn),
        )

    async def _stream(self, turn: Turn, model: Model, request: Request, *, again: bool) -> Done:
        restarted = again
        shown: list[str] = []
        try:
            async for chunk in model.stream(request):
                match chunk:
                    case TextDelta(text):
                        turn.emit(_delta(turn, text, restarted=restarted))
                        restarted = False
                        shown.append(text)
                    case Restarted():
                        turn.emit(_delta(turn, "", restarted=True))
                        shown.clear()
                    case Done():
                        return chunk
        except (asyncio.CancelledError, ModelError):
            # Whoever has read it finds it again, and the model knows what it has said.
            if text := "".join(shown).strip():
                # Nobody says whether it was a local model that was shown something private.
                private = any(each.private for each in request.messages)
                _note(turn, Message("assistant", (Text(text, Origin.ASSISTANT),), private))
            raise
        raise AssertionError(f"{model.card.name} ended its stream without Done")

    def _caller(self, turn: Turn) -> Caller:
        return Caller(
            person=turn.person,
            agent=self._settings.name,
            channel=turn.inbound.channel,
            turn_id=turn.id,
        )

    def _answer(self, done: Done, usage: Usage, limit: Limit | None) -> Answer:
        text = text_of(done.parts).strip()
        nothing = not text
        if limit:
            said = _LIMIT_ANSWERS[limit].format(
                rounds=self._settings.max_tool_rounds, allowance=self._allowance
            )
            text = f"{text}\n\n({said})" if text else said
        elif not text:
            refused = done.reason == "refusal"
            text = (
                "The model declined to answer this."
                if refused
                else "The model gave an empty answer. Please try again, or say it differently."
            )
        return Answer(
            parts=(Text(text, Origin.ASSISTANT),), model=done.model, usage=usage, failed=nothing
        )

    def end(self, turn: Turn, ending: Ending, detail: str) -> Closing:
        turn.record[:] = turn.record or recalled(turn, self._opening)
        said = _ENDINGS[ending].format(detail=detail)
        answer = _early(turn, said, quiet=ending == "stopped")
        return self._close(turn, answer, None)

    def _close(self, turn: Turn, answer: Answer, window: Window | None) -> Closing:
        """Round off the record, so that the next prompt finds a whole conversation."""
        record = turn.record or [self._opening(turn.inbounds)]
        last = record[-1]
        said = Message("assistant", answer.parts, any(each.private for each in record))
        if last.calls:
            lost = [
                failed(call, "The turn ended before the outcome was noted.") for call in last.calls
            ]
            record = [*record, Message("tool", tuple(lost), last.private), said]
        elif last.role != "assistant":
            record = [*record, said]
        elif last.text.strip() != answer.text:
            record = [*record[:-1], said]
        return Closing(answer=answer, statements=tuple(self._history.added(turn, record, window)))


def _chosen(turn: Turn, session: Session) -> str:
    return turn.inbound.model or session.model


def _is_private(turn: Turn) -> bool:
    return any(each.private and each.role == "user" for each in turn.record)


def _note(turn: Turn, message: Message) -> None:
    """Add to the record; what is said in a private turn is private."""
    private = message.private or _is_private(turn)
    turn.record.append(replace(message, private=private))


def _ends(done: Done) -> bool:
    return not any(isinstance(part, ToolCall) for part in done.parts)


def _always(done: Done) -> bool:
    return True


def _early(turn: Turn, reason: str, *, quiet: bool = False) -> Answer:
    """The answer of a turn that ended before its end: what was shown last, and the reason."""
    spoken = (each.text.strip() for each in reversed(turn.record) if each.role == "assistant")
    text = "\n\n".join(filter(None, (next(filter(None, spoken), ""), reason)))
    return Answer(parts=(Text(text, Origin.ASSISTANT),), quiet=quiet, failed=True)


def _delta(turn: Turn, text: str, *, restarted: bool) -> Delta:
    return Delta(
        turn_id=turn.id,
        session=turn.session,
        channel=turn.inbound.channel,
        chat_id=turn.inbound.chat_id,
        content=text,
        restarted=restarted,
    )
