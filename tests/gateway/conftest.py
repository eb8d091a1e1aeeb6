"""A gateway on a real socket with everything behind it but a model."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from famulus.channels.web import Twin, Web
from famulus.core.clock import Clock
from famulus.core.config import Config, Limits
from famulus.core.config import Engine as EngineSettings
from famulus.core.config import Server as ServerSettings
from famulus.core.errors import FamulusError
from famulus.core.events import Delta, ToolFinished, ToolStarted
from famulus.core.messages import Message, Origin, Text, ToolCall, ToolResult, Usage
from famulus.core.settings import Secret
from famulus.engine.embedded import Embedded
from famulus.engine.turns import Answer, Closing
from famulus.gateway.auth import Auth
from famulus.gateway.commands import Slash
from famulus.gateway.delivery import Delivery
from famulus.gateway.erasure import Erasure
from famulus.gateway.gate import Gate
from famulus.gateway.metrics import Metrics
from famulus.gateway.server import Server
from famulus.state.blobs import Blobs
from famulus.state.logins import Logins, Tokens
from famulus.state.messages import Messages
from famulus.state.people import People
from famulus.state.sessions import Sessions
from famulus.state.spending import Spending
from famulus.store.sqlite import SQLite

PASSWORD = "open sesame"
SECONDS = 10


class Agent:
    """A runner that echoes. `hold` makes turns wait until `go` is set."""

    def __init__(self, sessions, messages):
        self.ran = []
        self.hold = False
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self._sessions = sessions
        self._messages = messages

    async def run(self, turn):
        text = " + ".join(each.text for each in turn.inbounds)
        self.ran.append(text)
        turn.record[:] = [Message("user", turn.inbound.parts)]
        self.started.set()
        if self.hold:
            await self.go.wait()
        where = {
            "turn_id": turn.id,
            "session": turn.session,
            "channel": turn.inbound.channel,
            "chat_id": turn.inbound.chat_id,
        }
        if text == "break":
            raise RuntimeError("a canary")
        if text == "tool":
            turn.emit(ToolStarted(**where, call_id="c1", name="clock", arguments="{}"))
            turn.emit(ToolFinished(**where, call_id="c1", name="clock", ok=True, summary="noon"))
            result = ToolResult("c1", "clock", (Text("noon", Origin.TOOL),))
            call = ToolCall("c1", "clock", "{}")
            turn.record += [Message("assistant", (call,)), Message("tool", (result,))]
        answer = f"echo: {text}"
        turn.emit(Delta(**where, content=answer))
        await turn.finish(self._closing(turn, answer))

    def end(self, turn, ending, detail):
        return self._closing(turn, "Stopped.", quiet=True)

    def _closing(self, turn, text, *, quiet=False):
        parts = (Text(text, Origin.ASSISTANT),)
        usage = Usage(input_tokens=3, output_tokens=2)
        added = self._messages.added(
            [*turn.record, Message("assistant", parts)],
            session=turn.session,
            person=turn.person,
            turn=turn.id,
            at=turn.clock.now().timestamp(),
        )
        answer = Answer(parts=parts, model="mirror", usage=usage, quiet=quiet)
        return Closing(answer=answer, statements=tuple(added))


@dataclass
class Socket:
    """A WebSocket client that waits for the frames a test names."""

    raw: aiohttp.ClientWebSocketResponse
    seen: list = field(default_factory=list)

    async def send(self, kind, **more):
        await self.raw.send_json({"type": kind, **more})

    async def next(self):
        async with asyncio.timeout(SECONDS):
            frame = await self.raw.receive_json()
        self.seen.append(frame)
        return frame

    async def until(self, kind, **wanted):
        while True:
            frame = await self.next()
            if frame["type"] == kind and all(frame.get(k) == v for k, v in wanted.items()):
                return frame

    async def ended(self):
        """The close code, after reading whatever still comes."""
        async with asyncio.timeout(SECONDS):
            while True:
                message = await self.raw.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.seen.append(message.json())
                elif message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                    return self.raw.close_code
                elif message.type is aiohttp.WSMsgType.CLOSE:
                    return message.data

    async def quiet(self):
        """Everything that was on its way when this was called; a ping marks the end."""
        await self.send("ping")
        before = len(self.seen)
        await self.until("pong")
        return self.seen[before:-1]


@dataclass
class House:
    server: Server
    web: Web
    auth: Auth
    agent: Agent
    engine: Embedded
    delivery: Delivery
    database: SQLite
    sessions: Sessions
    messages: Messages
    tokens: Tokens
    stack: AsyncExitStack

    @property
    def url(self):
        return self.server.url

    async def browser(self, *, log_in=True):
        """A client with a cookie jar of its own."""
        client = await self.stack.enter_async_context(
            aiohttp.ClientSession(
                self.url,
                cookie_jar=aiohttp.CookieJar(unsafe=True),
                timeout=aiohttp.ClientTimeout(total=SECONDS),
            )
        )
        if log_in:
            async with client.post("/api/login", json={"token": self.auth.login_token()}) as answer:
                assert answer.status == 200
        return client

    async def connect(self, client=None, query="", **options):
        """A WebSocket client that has been greeted."""
        client = client or await self.browser()
        raw = await client.ws_connect(f"/ws{query}", **options)
        self.stack.push_async_callback(raw.close)
        socket = Socket(raw)
        await socket.until("session_established")
        return socket


@pytest.fixture
def gateway(tmp_path):
    """Makes gateways on the same home, one after another: leaving and making one is a restart."""

    @asynccontextmanager
    async def running(*, password=PASSWORD, limits=None, clock=None, engine=None, **server):
        config = Config(
            server=ServerSettings(port=0, password=Secret(password), **server),
            limits=Limits(**{"messages_per_minute": 1000, **(limits or {})}),
            engine=EngineSettings(**(engine or {})),
        )
        clock = clock or Clock()
        async with AsyncExitStack() as stack:
            house = await _build(stack, config, tmp_path, clock)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            gate = Gate(
                engine=house.engine,
                people=People(house.database, clock=clock),
                sessions=house.sessions,
                limits=config.limits,
            )
            tasks = [
                group.create_task(each)
                for each in (
                    house.engine.run(),
                    house.delivery.run(),
                    house.web.run(gate),
                    Twin("console", house.web).run(gate),
                )
            ]
            await asyncio.sleep(0)
            async with house.server, house.stack:
                house.server.state = "ready"
                yield house
            for task in tasks:
                task.cancel()

    return running


async def _build(stack, config, home, clock):
    database = await stack.enter_async_context(SQLite(home / "famulus.db"))
    sessions, messages = Sessions(database, clock=clock), Messages(database)
    web = Web(clock=clock)
    delivery = Delivery(database, {"web": web, "console": Twin("console", web)}, clock=clock)
    web.on_reachable = delivery.poke
    metrics = Metrics(database, clock=clock)

    def emit(event):
        metrics.observe(event)
        web.watch(event)

    def check_model(name):
        if name != "mirror":
            raise FamulusError(f"There is no model {name!r}.")
        return "A doubt."

    async def compact(call):
        return f"{call.session} of {call.person} is condensed."

    agent = Agent(sessions, messages)
    erasure = Erasure(
        database,
        sessions=sessions,
        messages=messages,
        workspace=home / "workspace",
        clock=clock,
        cancel=lambda session: engine.cancel(session),  # noqa: PLW0108 - made below
        forget=lambda turns: (engine.forget(turns), delivery.forget(turns)),
    )
    slash = Slash(
        agent,
        sessions=sessions,
        messages=messages,
        erasure=erasure,
        ledger=Spending(database, clock=clock, timezone="UTC"),
        workspace=home / "workspace",
        cancel=lambda session: engine.cancel(session),  # noqa: PLW0108 - made below
        models=lambda: ["mirror"],
        check_model=check_model,
        compact=compact,
    )
    engine = Embedded(database, slash, config.engine, clock=clock, emit=emit, send=delivery.put)
    tokens = Tokens(database, clock=clock)
    auth = Auth(
        config.server,
        logins=Logins(database, clock=clock, password=config.server.password),
        tokens=tokens,
        clock=clock,
    )
    server = Server(
        config,
        home=home,
        web=web,
        auth=auth,
        engine=engine,
        sessions=sessions,
        messages=messages,
        erasure=erasure,
        blobs=Blobs(database, clock=clock),
        database=database,
        metrics=metrics,
        clock=clock,
        workspace=home / "workspace",
        commands=slash.describe,
    )
    return House(
        server=server,
        web=web,
        auth=auth,
        agent=agent,
        engine=engine,
        delivery=delivery,
        database=database,
        sessions=sessions,
        messages=messages,
        tokens=tokens,
        stack=AsyncExitStack(),
    )
