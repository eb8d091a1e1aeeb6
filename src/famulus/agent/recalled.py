"""What the journal says of a turn that ends without another run."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from famulus.agent.dispatch import LOST, UNKNOWN, failed
from famulus.agent.media import Listened
from famulus.core.messages import Inbound, Message, Part, ToolCall, ToolResult
from famulus.core.protocols import Done
from famulus.core.repair import arguments_of
from famulus.engine.journal import decode
from famulus.engine.turns import Turn


class Opening(Struct, frozen=True):
    """What a turn starts from, frozen so that every run of it sees the same."""

    message: Message
    window_start: int
    compacts: bool = False


def recalled(turn: Turn, opening: Callable[[Sequence[Inbound]], Message]) -> list[Message]:
    """What earlier runs of `turn` have said and done, as its record would hold it. Empty where
    there is nothing, or where another version wrote it. `opening` makes a message of inbound ones.
    """
    try:
        record = list(_said(turn, opening))
        private = any(each.private for each in record) or _heard_private(turn)
    except (msgspec.MsgspecError, UnicodeError):
        return []
    return [replace(each, private=private) for each in record]


def as_run(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """An answer whose calls have the arguments they are run with: what a model sees of its calls
    later is what it learns from.
    """
    return tuple(
        replace(part, arguments=arguments_of(part.arguments))
        if isinstance(part, ToolCall)
        else part
        for part in parts
    )


def _said(turn: Turn, opening: Callable[[Sequence[Inbound]], Message]) -> Iterator[Message]:
    for number, step in sorted(turn.recorded.items()):
        match step.name:
            case "opening":
                yield decode(step.payload, Opening).message
            case "steered":
                yield opening(decode(step.payload, list[Inbound]))
            case "model":
                done = decode(step.payload, Done)
                answer = Message("assistant", as_run(done.parts), done.private)
                yield answer
                results = tuple(_results(turn, answer.calls, number + 1))
                if any(result.text != LOST for result in results):
                    yield Message("tool", results)


def _results(turn: Turn, calls: Sequence[ToolCall], first: int) -> Iterator[ToolResult]:
    """The outcomes of calls, whose steps have the numbers from `first` on."""
    for number, call in enumerate(calls, start=first):
        step = turn.recorded.get(number)
        if step is None or not step.name.startswith("tool:"):
            yield failed(call, LOST)
        elif not step.known:
            yield failed(call, UNKNOWN)
        else:
            yield decode(step.payload, ToolResult)


def _heard_private(turn: Turn) -> bool:
    """Whether a recording of the message said what must stay here."""
    return any(
        decode(step.payload, Listened).private
        for step in turn.recorded.values()
        if step.name == "transcribe"
    )
