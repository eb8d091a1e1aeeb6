"""Books each call to a vendor before it is made, and again when it is known what it cost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from famulus.core.config import ModelEntry
from famulus.core.errors import ModelError, OverLimit
from famulus.core.messages import File, Image, Part, ToolCall, ToolResult, Usage
from famulus.core.prices import Price
from famulus.core.protocols import Chunk, Done, Model, ReasoningDelta, Request, TextDelta
from famulus.core.toml import key
from famulus.models.fitted import written_bound
from famulus.models.streamed import streamed
from famulus.state.budget import Bound, Budget, Held
from famulus.state.limits import NANO, UNLIMITED, Limit
from famulus.state.spending import UNKNOWN, Bill, Call

# No token of the vocabularies in use is shorter than a byte of UTF-8. What the vendors put around
# a prompt is less than our JSON around it, but for what they add once.
_MOST_ADDED_TOKENS = 500
_MOST_TOKENS_PER_PICTURE = 5000
_MOST_TOKENS_PER_DOCUMENT_BYTE = 2  # a page is sent as text and as a picture
# Real texts have three or four bytes a token, and no language or code as little as two.
_LIKELY_BYTES_PER_TOKEN = 2
_LIKELY_TOKENS_PER_PICTURE = 1600
# The lowest rates that speech is recorded at: Opus at 6 kbit/s, telephone sound in a WAV file.
_LEAST_BYTES_PER_SECOND = 750
_LEAST_WAV_BYTES_PER_SECOND = 8000

_encode = msgspec.json.Encoder().encode


class Budgeted:
    """One wire, each of whose calls is booked. It stands inside of what calls a model again.

    Where a limit holds, the most that the call can cost is booked first, and `OverLimit` is raised
    when that is too much; an answer gets a bound on its length then, if `entry` sets none. Beside
    the `ModelError` kinds it lets through what the database raises before a call. `assumed` is the
    price of a model that has none, as long as its vendor does not state what a call cost.
    """

    def __init__(
        self, model: Model, entry: ModelEntry, budget: Budget, *, assumed: Price | None = None
    ) -> None:
        self.card = model.card
        self._model = model
        self._budget = budget
        known = model.card.price
        self._price = known or assumed
        self._assumed = known is None and assumed is not None
        self._unpriced = self._price is None and not model.card.local
        self._price_text = UNKNOWN if self._unpriced else _written(known)
        self._own_bound = written_bound(entry)
        most = budget.settings.max_tokens
        self._bound = self._own_bound or min(most, model.card.max_output_tokens or most)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        call = self._call(request)
        held = None
        if limits := self._budget.limits(request.caller):
            held = await self._hold(request, call, limits)
            if not self._own_bound:
                most = min(self._bound, request.max_tokens or self._bound)
                request = msgspec.structs.replace(request, max_tokens=most)
        bill: Bill | None = None
        received = 0
        outcome, free = "failed", False
        try:
            async with streamed(self._model, request) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, TextDelta | ReasoningDelta):
                        received += len(chunk.text.encode("utf-8", "replace"))
                    elif isinstance(chunk, Done):
                        bill = self._bill(chunk, request, received)
                        self._book(call, bill, held)
                        yield self._priced(chunk, bill)
                        return
                    yield chunk
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        except ModelError as error:
            free = not received and (error.status >= 400 or not error.sent)
            raise
        finally:
            if bill is None:
                usage = Usage() if free else _likely(request, received)
                cost = self._cost_nano(usage)
                bill = Bill(usage=usage, cost_nano=cost, outcome=outcome, estimated=not free)
                self._book(call, bill, held)

    def _call(self, request: Request) -> Call:
        caller = request.caller
        return Call(
            provider=self.card.provider,
            model=self.card.id,
            price=self._price_text,
            session=request.session,
            turn_id=caller.turn_id,
            person=caller.person,
            agent=caller.agent,
            channel=caller.channel,
            job=caller.job,
            kind=caller.kind,
            reason=caller.reason,
        )

    async def _hold(self, request: Request, call: Call, limits: tuple[Limit, ...]) -> Held:
        settings = self._budget.settings
        if (
            self._unpriced
            and not settings.allow_unknown_price
            and any(each.cost_nano < UNLIMITED for each in limits)
        ):
            raise OverLimit(
                f"A limit in USD holds, and what {self.card.id} costs is not known. Write "
                f"under [cost.prices] its price per million tokens, such as {key(self.card.id)} = "
                "{ input = 3.0, output = 15.0 }, or under [cost] allow_unknown_price = true."
            )
        size = _size(request)
        documents = size.document_bytes * _MOST_TOKENS_PER_DOCUMENT_BYTE
        input_tokens = (
            size.text_bytes
            + _MOST_ADDED_TOKENS
            + size.pictures * _MOST_TOKENS_PER_PICTURE
            + min(documents, self.card.context_tokens)
        )
        usage = Usage(
            input_tokens=input_tokens,
            output_tokens=self._bound,
            audio_seconds=size.sound_seconds,
        )
        cached = msgspec.structs.replace(usage, cache_write_tokens=input_tokens)
        cost = max(self._cost_nano(usage), self._cost_nano(cached))
        return await self._budget.hold(call, Bound(cost, input_tokens, self._bound), limits)

    def _bill(self, done: Done, request: Request, received: int) -> Bill:
        """What an answer cost. Some servers do not say what it used, or not all of it."""
        usage = done.usage
        received += sum(len(part.arguments) for part in done.parts if isinstance(part, ToolCall))
        counted = usage.input_tokens and (usage.output_tokens or not received)
        estimated = not (counted or usage.audio_seconds)
        if estimated:
            likely = _likely(request, received)
            usage = msgspec.structs.replace(
                usage,
                input_tokens=usage.input_tokens or likely.input_tokens,
                output_tokens=usage.output_tokens or likely.output_tokens,
                audio_seconds=0.0 if usage.input_tokens else likely.audio_seconds,
            )
        cost = 0 if done.cost_stated and not usage.cost_usd else self._cost_nano(usage)
        estimated = estimated or (self._assumed and not (usage.cost_usd or done.cost_stated))
        return Bill(usage=usage, cost_nano=cost, outcome="ok", estimated=estimated)

    def _priced(self, done: Done, bill: Bill) -> Done:
        unknown = self._unpriced and not bill.cost_nano
        usage = msgspec.structs.replace(
            bill.usage, cost_usd=bill.cost_nano / NANO, unpriced_calls=int(unknown)
        )
        return msgspec.structs.replace(done, usage=usage)

    def _cost_nano(self, usage: Usage) -> int:
        """A cost that the vendor states counts for more than any table of prices."""
        if usage.cost_usd > 0:
            return round(usage.cost_usd * NANO)
        if self._price is None:
            return 0
        cost_usd = self._price.usd(usage, written_tokens=usage.cache_write_tokens)
        if usage.audio_seconds and not usage.audio_tokens:
            cost_usd += usage.audio_seconds / 60 * (self._price.minute or 0.0)
        return round(cost_usd * NANO)

    def _book(self, call: Call, bill: Bill, held: Held | None) -> None:
        if held:
            self._budget.settle(held, call, bill)
        else:
            self._budget.book(call, bill)


def _likely(request: Request, received: int) -> Usage:
    """What a call that nobody counted used, rather too much than too little."""
    size = _size(request)
    return Usage(
        input_tokens=(
            (size.text_bytes + size.document_bytes) // _LIKELY_BYTES_PER_TOKEN
            + size.pictures * _LIKELY_TOKENS_PER_PICTURE
        ),
        output_tokens=received // _LIKELY_BYTES_PER_TOKEN,
        audio_seconds=size.sound_seconds,
    )


class _Size(NamedTuple):
    """How much a request holds. `sound_seconds` is the longest that its recordings can be."""

    text_bytes: int
    pictures: int = 0
    document_bytes: int = 0
    sound_seconds: float = 0.0


def _size(request: Request) -> _Size:
    texts: Any = (request.system, request.messages, request.tools)
    try:
        text_bytes = len(_encode(texts))
    except UnicodeEncodeError:  # half of a surrogate pair
        text_bytes = len(repr(texts).encode("utf-8", "replace"))
    if not request.media:
        return _Size(text_bytes)
    parts: list[Part] = [part for message in request.messages for part in message.parts]
    parts += [each for part in parts if isinstance(part, ToolResult) for each in part.parts]
    pictures = document_bytes = 0
    sound_seconds = 0.0
    for part in parts:
        match part:
            case Image():
                pictures += 1
            case File(blob=blob, media_type="application/pdf"):
                document_bytes += len(request.media.get(blob, b""))
            case File(blob=blob, media_type=kind):
                least = _LEAST_WAV_BYTES_PER_SECOND if "wav" in kind else _LEAST_BYTES_PER_SECOND
                sound_seconds += len(request.media.get(blob, b"")) / least
    return _Size(text_bytes, pictures, document_bytes, sound_seconds)


def _written(price: Price | None) -> str:
    if price is None:
        return ""
    given = {name: each for name, each in msgspec.structs.asdict(price).items() if each is not None}
    return _encode(given).decode()
