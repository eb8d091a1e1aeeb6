"""The protocols of Famulus. Read this first.

A channel receives and sends, a model answers, a tool acts. What cuts across one of them is a
wrapper with the same protocol. Plugins are found by name (`plugins.py`) and built by `app.py`;
one that holds resources is also an async context manager.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.events import Event
from famulus.core.messages import Image, Inbound, Message, Outbound, Part, Text, Usage
from famulus.core.prices import Price

# ---------------------------------------------------------------- channels


class Accepted(Struct, frozen=True):
    """The message is on disk. `duplicate`: it already was, and is answered once."""

    turn_id: str
    session: str
    duplicate: bool = False


class Deliver(Protocol):
    """Take a message in. Returns after it is on disk; only then acknowledge to the platform.

    Raises a `Refused` kind when the message did not become a turn; its text is for the sender,
    except that of `NotAllowed`, which is for the log: a stranger gets no answer.
    """

    async def __call__(self, inbound: Inbound) -> Accepted: ...


class Channel(Protocol):
    """One way to talk to people. `name` is the file, the section and the session key's start."""

    name: str

    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled, reconnecting with back-off; never return or raise before."""

    async def send(self, outbound: Outbound) -> str:
        """Deliver and return the platform's receipt, an id or an empty string.

        Raises a `ChannelError` kind. May be called again with the same `outbound.id` after a
        crash: a platform that has idempotency keys gets it.
        """


@runtime_checkable
class Watcher(Protocol):
    """A channel that shows a turn while it runs: typing, streaming, tool activity."""

    def watch(self, event: Event) -> None:
        """Called for each event of this channel's turns, in order. Must not block or raise."""


# ---------------------------------------------------------------- models


class ToolSpec(Struct, frozen=True):
    """A tool as a model sees it. `schema` is a JSON Schema object."""

    name: str
    description: str
    schema: dict[str, Any]


class ModelCard(Struct, frozen=True, kw_only=True):
    """What is known of a model. `name` is ours, `id` the vendor's. `tools` are fnmatch patterns
    of the tools it is trusted to use; `local` says that nothing leaves this machine. Without a
    `price` it is unknown, not free. An answer is cut off at `answer_bytes`: text, reasoning and
    arguments together.
    """

    name: str
    id: str
    provider: str
    inputs: tuple[str, ...] = ("text",)
    context_tokens: int = 128_000
    max_output_tokens: int | None = None
    local: bool = False
    tools: tuple[str, ...] = ("*",)
    price: Price | None = None
    answer_bytes: int = 2 * 1024 * 1024


class Caller(Struct, frozen=True, kw_only=True):
    """Who a model call is made for, so that it can be booked. `kind` says what for: `chat`,
    `compaction`, …; `job` is the schedule's, `reason` why the router chose this model.
    """

    person: str = ""
    agent: str = ""
    channel: str = ""
    job: str = ""
    turn_id: str = ""
    kind: str = "chat"
    reason: str = ""


class Request(Struct, frozen=True, kw_only=True):
    """One model call. `system` and `tools` stay the same from turn to turn, so that vendors can
    cache them. `media` holds the bytes of the images and documents in `messages` by their `blob`.
    `session` is an opaque, stable id for vendors that route by it. `max_tokens` bounds the answer
    where the configuration of the model does not, or allows more; 0 leaves it to the vendor.
    Without `may_call` the answer must be words: the tools are still told, as earlier messages may
    hold calls of them.
    """

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    media: Mapping[str, bytes] = {}
    session: str = ""
    caller: Caller = Caller()
    max_tokens: int = 0
    may_call: bool = True


class TextDelta(Struct, frozen=True):
    text: str


class ReasoningDelta(Struct, frozen=True):
    text: str


class Restarted(Struct, frozen=True):
    """What this stream gave so far is void: another attempt or another model starts over."""

    reason: str


class Done(Struct, frozen=True, kw_only=True):
    """The end of a stream. `parts` is the whole answer: reasoning, text and calls in order.
    `route` says why this model answered, when a router chose it; `card` is the `name` of its card.
    `private` says that it was shown something private, so that the answer is private too.
    `cost_stated`: the cost in `usage` is the vendor's own word, also where it is nothing.
    """

    parts: tuple[Part, ...]
    usage: Usage
    reason: Literal["stop", "tool_calls", "length", "refusal"]
    model: str
    route: str = ""
    card: str = ""
    private: bool = False
    cost_stated: bool = False


Chunk = TextDelta | ReasoningDelta | Restarted | Done


class Model(Protocol):
    """`stream` ends with exactly one `Done` and raises only `ModelError` kinds. It keeps nothing
    between calls; closing the iterator or cancelling the task closes the connection.
    """

    card: ModelCard

    def stream(self, request: Request) -> AsyncIterator[Chunk]: ...


class Transcript(Struct, frozen=True):
    """What was heard; `usage.audio_seconds` is how long it was, as far as the vendor said it."""

    text: str
    usage: Usage = Usage()


class Transcriber(Protocol):
    """Turns a recording into text.

    `name` is the file's, for vendors that look at its ending. What is `private` is not sent to
    another machine. Raises `ModelError` kinds.
    """

    async def transcribe(
        self,
        audio: bytes,
        *,
        media_type: str,
        name: str,
        caller: Caller,
        session: str = "",
        private: bool = False,
    ) -> Transcript: ...


class Spent(Struct, frozen=True, kw_only=True):
    """What the calls with the same `name` (a day, a model, a session) used and cost. `cost_usd`
    leaves out the `unpriced_calls`, whose price is not known.
    """

    name: str = ""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0


class Summary(Struct, frozen=True, kw_only=True):
    """Days from the oldest on, the others from the dearest on. `by_reason` says why the router
    chose as it did; what it did not choose is left out.
    """

    total: Spent
    by_day: tuple[Spent, ...]
    by_model: tuple[Spent, ...]
    by_session: tuple[Spent, ...]
    by_reason: tuple[Spent, ...] = ()


class Ledger(Protocol):
    """Where every model call is booked."""

    async def summary(self, *, days: int, person: str = "") -> Summary:
        """The last `days` days, today included; of one person, or of all for an empty one."""


# ---------------------------------------------------------------- tools


class Effect(StrEnum):
    """What a tool does to the world; the policy decides by these, never by a tool's name."""

    READS = "reads"
    WRITES = "writes"
    SENDS = "sends"
    EXECUTES = "executes"
    NETWORK = "network"
    SPENDS = "spends"
    REMEMBERS = "remembers"


class Replay(StrEnum):
    """What may be done when a crash caught a call in the middle.

    SAFE: run it again. IDEMPOTENT: run it again with the same `Context.key`.
    UNSAFE: never; the model is told that the outcome is unknown.
    """

    SAFE = "safe"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


class Context(Struct, frozen=True, kw_only=True):
    """Where a tool call happens. Cancelling the task that runs the call cancels the call, and a
    tool leaves no process behind. `key` is the same when the same call is run again. `timezone` is
    the person's, empty for this machine's. What comes of a `private` call is for local models
    alone, so no more of it is left in the workspace than the call asks for.
    """

    session: str
    person: str
    agent: str
    turn_id: str
    key: str
    workspace: Path
    clock: Clock
    timezone: str = ""
    private: bool = False
    emit: Callable[[Event], None] = lambda event: None


class ToolAnswer(Struct, frozen=True):
    parts: tuple[Text | Image, ...]
    ok: bool = True


class Tool(Protocol):
    """Something a model may do. `call` gets the JSON text of the arguments as the model wrote it,
    or repaired where that is possible, and raises `ToolError` with a text that tells the model what
    to do better.
    """

    name: str
    description: str
    schema: dict[str, Any]
    effects: frozenset[Effect]
    replay: Replay

    async def call(self, context: Context, arguments: str) -> ToolAnswer: ...


class Finished(Struct, frozen=True):
    """A contained command that ended. `output` is standard output and error as they came."""

    exit_code: int
    output: str
    seconds: float
    truncated: bool = False
    stopped_by: Literal["", "timeout", "memory", "processes", "output"] = ""


class Sandbox(Protocol):
    """Runs commands that can touch nothing but the workspace. `network`: whether they reach one.

    Cancelling `run` kills the whole process tree before it returns.
    """

    name: str
    network: bool

    async def run(
        self, command: Sequence[str], *, workspace: Path, timeout_seconds: float
    ) -> Finished: ...


class Fetched(Struct, frozen=True):
    """An HTTP answer that came through the egress door. `url` is the last one after redirects."""

    url: str
    status: int
    media_type: str
    charset: str
    body: bytes
    truncated: bool = False


class Egress(Protocol):
    """The one door for HTTP requests that a tool makes: public addresses only, no surprises.

    Raises `ToolError` saying why a request was refused or failed.
    """

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Fetched: ...
