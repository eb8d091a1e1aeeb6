"""The one door to each wire: what a rule keeps on this machine does not pass it to another one."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import msgspec

from famulus.core.errors import ModelError, ModelRejected
from famulus.core.messages import File, Image, Message, Origin, Text, ToolResult
from famulus.core.protocols import Chunk, Done, Model, Request
from famulus.models.streamed import streamed

# They never change: whoever caches a prompt finds the same bytes in each later request.
_KEPT = Text("[This message stays on its owner's machine.]", Origin.TOOL)
_QUESTION = Message("user", (_KEPT,))
_ANSWER = Message(
    "assistant", (Text("[This answer stays on its owner's machine.]", Origin.ASSISTANT),)
)


class Withheld:
    """A wire that is shown what is private only where its model is local.

    To another one a placeholder goes instead, and `ModelRejected` is raised when it is asked
    something private. An answer to somebody who was shown something private is private too.
    `Done.card` and the errors' `model` say which model it was.
    """

    def __init__(self, model: Model) -> None:
        self.card = model.card
        self._model = model

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        private = any(message.private for message in request.messages)
        try:
            if private and not self.card.local:
                request, private = self._without(request), False
            async with streamed(self._model, request) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Done):
                        yield msgspec.structs.replace(chunk, card=self.card.name, private=private)
                    else:
                        yield chunk
        except ModelError as error:
            error.model = self.card.name
            raise

    def _without(self, request: Request) -> Request:
        if asks_privately(request.messages):
            listens = request.caller.kind == "transcription"
            setting = "transcription.model" if listens else "router.simple"
            error = ModelRejected(
                f"A rule keeps this message on this machine, but the model {self.card.name} is "
                f"not local. Set {setting} to a local model."
            )
            error.sent = False
            raise error
        messages = tuple(without_private(request.messages))
        media = _shown(request.media, messages)
        return msgspec.structs.replace(request, messages=messages, media=media)


def asks_privately(messages: Sequence[Message]) -> bool:
    """Whether the turn that comes last was opened by something private."""
    return any(each.private and each.role == "user" for each in turn_of(messages))


def turn_of(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages after the last answer."""
    for at in range(len(messages), 0, -1):
        message = messages[at - 1]
        if message.role == "assistant" and not message.calls:
            return messages[at:]
    return messages


def without_private(messages: Iterable[Message]) -> list[Message]:
    """The conversation with placeholders for what is private; roles take turns as before.

    What the last turn has derived from it is left out, so that the turn is begun again.
    """
    shown: list[Message] = []
    hidden_calls = False
    for message in messages:
        if message.role == "assistant":
            hidden_calls = message.private
        if not message.private and not (message.role == "tool" and hidden_calls):
            shown.append(message)
        elif message.role == "user":
            shown.append(_QUESTION)
        elif message.role == "tool" and not hidden_calls and shown and shown[-1].calls:
            calls = shown[-1].calls
            results = tuple(ToolResult(call.id, call.name, (_KEPT,)) for call in calls)
            shown.append(Message("tool", results))
        elif not (shown and shown[-1].role == "assistant"):
            shown.append(_ANSWER)
    if shown and shown[-1] is _ANSWER:
        shown.pop()
    return shown


def _shown(media: Mapping[str, bytes], messages: Iterable[Message]) -> Mapping[str, bytes]:
    """The pictures and documents of these messages alone."""
    if not media:
        return media
    parts = [part for message in messages for part in message.parts]
    inner = [each for part in parts if isinstance(part, ToolResult) for each in part.parts]
    blobs = {part.blob for part in (*parts, *inner) if isinstance(part, Image | File)}
    return {blob: data for blob, data in media.items() if blob in blobs}
