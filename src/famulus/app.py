"""The composition root: builds every room, wraps what is wrapped, and starts it.

What the configuration names comes from `configured.py`. Nothing here is global, so two assistants
fit in one process.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from famulus.agent.dispatch import Dispatch
from famulus.agent.history import History
from famulus.agent.media import Media
from famulus.agent.prompt import release_templates
from famulus.agent.turn import Agent
from famulus.configured import (
    Http,
    build_channels,
    build_models,
    build_tools,
    prompts,
    workspace_of,
)
from famulus.core.clock import Clock
from famulus.core.config import Config
from famulus.core.events import Event, Notified
from famulus.core.loading import Loaded
from famulus.core.messages import SessionKey
from famulus.core.protocols import Channel, Deliver, Model, Tool, Watcher
from famulus.core.zones import day_zone
from famulus.engine.abandoned import stop_abandoned
from famulus.engine.embedded import Embedded
from famulus.engine.retention import Retention
from famulus.gateway.attachments import Attachments
from famulus.gateway.commands import Slash
from famulus.gateway.delivery import Delivery
from famulus.gateway.erasure import Erasure
from famulus.gateway.gate import OWNED, Gate
from famulus.gateway.supervise import supervise
from famulus.models.named import Models
from famulus.policy.allowed import Allowed
from famulus.policy.egress import Door
from famulus.policy.throttled import Throttled
from famulus.state.blobs import Blobs
from famulus.state.budget import Budget
from famulus.state.carrying import Carrying
from famulus.state.messages import Messages
from famulus.state.people import People
from famulus.state.sessions import Sessions
from famulus.state.spending import Call, Spending
from famulus.store.database import Database
from famulus.store.lock import hold
from famulus.store.opening import open_database, sqlite_path
from famulus.tools import shell, web_fetch

log = logging.getLogger(__name__)

_SENDING_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Assistant:
    """Everything that runs, for those who serve it.

    `missing` tells why a tool is not there, `sandbox` what contains commands; `observers` are
    shown the events of all turns.
    """

    config: Config
    home: Path
    workspace: Path
    clock: Clock
    database: Database
    sessions: Sessions
    messages: Messages
    erasure: Erasure
    retention: Retention
    blobs: Blobs
    model: Model
    models: Models
    tools: Sequence[Tool]
    missing: dict[str, str]
    sandbox: str
    engine: Embedded
    delivery: Delivery
    attachments: Attachments
    gate: Gate
    slash: Slash
    observers: list[Callable[[Event], None]] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    drained: bool = False

    async def drain(self, seconds: float | None = None) -> None:
        """Take nothing more in; give turns time to end and replies time to go out, once."""
        if self.drained:
            return
        self.drained = True
        if seconds is None:
            seconds = self.config.engine.drain_timeout
        ends = self.clock.monotonic() + seconds
        await self.engine.drain(seconds)
        # What was answered at the last moment still goes out.
        await self.delivery.drain(max(ends - self.clock.monotonic(), _SENDING_SECONDS))


@asynccontextmanager
async def assistant(
    loaded: Loaded,
    *,
    home: Path,
    own: Sequence[Channel] = (),
    only: str = "",
) -> AsyncIterator[Assistant]:
    """A running assistant. `own` are channels that the caller drives, such as the terminal.

    With `only` it works for this one of them, for as long as a command lives: other channels stay
    closed, and what is open in their chats, with the timers, waits for a gateway. Raises `Locked`
    while another process is at work here.

    Leaving gives running turns time to end; what does not end resumes at the next start.
    """
    async with AsyncExitStack() as stack:
        app = await _build(stack, loaded, home, own=own, only=only)
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(app.engine.run(resume=not only)),
                group.create_task(app.delivery.run(only)),
                *(() if only else (group.create_task(app.retention.run()),)),
                group.create_task(app.database.check()),
            ]
            receiving = [
                group.create_task(supervise(channel, _deliver(app, channel), clock=app.clock))
                for channel in app.channels.values()
            ]
            try:
                yield app
            finally:
                for task in receiving:
                    task.cancel()
                await app.drain()
                for task in running:
                    task.cancel()


async def _build(
    stack: AsyncExitStack,
    loaded: Loaded,
    home: Path,
    *,
    own: Sequence[Channel],
    only: str,
) -> Assistant:
    config, clock = loaded.config, Clock()
    workspace = workspace_of(loaded, home)
    release_templates(workspace)
    held = None
    if path := sqlite_path(config.storage.url, home):
        held = stack.enter_context(hold(path))
    database = await stack.enter_async_context(
        open_database(
            config.storage.url,
            home,
            timeout_seconds=config.storage.timeout,
            alone=True,
            held=held,
        )
    )
    sessions, blobs = Sessions(database, clock=clock), Blobs(database, clock=clock)
    spending = Spending(database, clock=clock, timezone=day_zone(config))
    budget = Budget(
        database,
        replace(config.cost, timezone=day_zone(config)),
        clock=clock,
        notify=lambda call, text: _notify(emit, call, text),
    )
    if config.cost.enabled:
        await stack.enter_async_context(budget)
    models = await build_models(
        loaded,
        clock,
        session=Http(stack).session,
        budget=budget if config.cost.enabled else None,
    )
    main = models.main()
    messages = Messages(database, keeps=models.keeps)
    media = Media(
        blobs,
        models.transcriber(),
        keeps=models.keeps,
        before_rules=config.transcription.before_rules,
    )

    door = await stack.enter_async_context(
        Door(allow_hosts=config.plugin_settings("tools", "web", web_fetch.Settings).allow_hosts)
    )
    shell_settings = config.plugin_settings("tools", "shell", shell.Settings)
    tools, missing, sandbox = await build_tools(config, clock, door, spending)
    if shell_settings.network == "host":
        log.warning('commands reach the network setting=tools.shell.network value="host"')
    agent = Agent(
        config.agent,
        prompt=prompts(loaded, home),
        history=History(
            sessions=sessions,
            messages=messages,
            blobs=blobs,
            most_messages=config.agent.history_messages,
        ),
        dispatch=Dispatch(
            tools,
            config.agent,
            workspace=workspace,
            clock=clock,
            commands=asyncio.Semaphore(shell_settings.at_once),
            output_characters=config.limits.tool_output,
            local_tools=config.router.local_tools,
        ),
        media=media,
        model=lambda name: models.named(name) if name else main,
        kept=models.kept,
    )

    channels: dict[str, Channel] = {
        channel.name: channel
        for channel in (*own, *(() if only else build_channels(config, clock)))
    }
    watchers = {name: each for name, each in channels.items() if isinstance(each, Watcher)}
    observers: list[Callable[[Event], None]] = []

    def emit(event: Event) -> None:
        for observe in observers:
            observe(event)
        if watcher := watchers.get(event.channel):
            watcher.watch(event)

    delivery = Delivery(database, channels, clock=clock)
    retention = Retention(database, config.storage, clock=clock, workspace=workspace)

    def forget(turns: Collection[str]) -> None:
        engine.forget(turns)
        delivery.forget(turns)

    erasure = Erasure(
        database,
        sessions=sessions,
        messages=messages,
        workspace=workspace,
        clock=clock,
        cancel=lambda session: engine.cancel(session),  # noqa: PLW0108 - it is built below
        forget=forget,
        sweep=retention.sweep,
    )
    slash = Slash(
        agent,
        sessions=sessions,
        messages=messages,
        erasure=erasure,
        ledger=spending,
        workspace=workspace,
        cancel=lambda session: engine.cancel(session),  # noqa: PLW0108 - it is built below
        models=lambda: list(dict.fromkeys([main.card.name, *config.models])),
        check_model=models.doubt,
        compact=lambda call: agent.compact(
            call.session,
            person=call.person,
            channel=call.key.channel,
            at=call.at.timestamp(),
        ),
        timezone=config.agent.timezone,
    )
    if only:
        await stop_abandoned(database, lambda turn: slash.end(turn, "abandoned", ""), clock=clock)
    engine = Embedded(
        Carrying(database, budget),
        slash,
        config.engine,
        clock=clock,
        emit=emit,
        send=delivery.put,
        while_busy=config.agent.while_busy,
    )
    attachments = Attachments(
        blobs, config.limits, workspace=workspace, is_private=media.is_private
    )
    return Assistant(
        config=config,
        home=home,
        workspace=workspace,
        clock=clock,
        database=database,
        sessions=sessions,
        messages=messages,
        erasure=erasure,
        retention=retention,
        blobs=blobs,
        model=main,
        models=models,
        tools=tools,
        missing=missing,
        sandbox=sandbox,
        engine=engine,
        delivery=delivery,
        attachments=attachments,
        gate=Gate(
            engine=engine,
            people=People(database, clock=clock),
            sessions=sessions,
            limits=config.limits,
            check_model=models.resolve,
            kept=attachments.kept,
        ),
        slash=slash,
        observers=observers,
        channels=channels,
    )


def _notify(emit: Callable[[Event], None], call: Call, text: str) -> None:
    """Tell the chat that a call was made for, if there is one."""
    if call.session:
        key = SessionKey.parse(call.session)
        emit(
            Notified(
                turn_id=call.turn_id,
                session=call.session,
                channel=key.channel,
                chat_id=key.chat_id,
                text=text,
            )
        )


def _deliver(app: Assistant, channel: Channel) -> Deliver:
    """What a channel delivers to: allowed, then throttled, then the gate.

    The owner's own channels have asked for the password already.
    """
    limits = app.config.limits
    if channel.name in OWNED:
        most = limits.owner_messages_per_minute
        return Throttled(app.gate, most=most, clock=app.clock) if most else app.gate
    allow = getattr(app.config.channels[channel.name], "allow", ())
    throttled = Throttled(app.gate, most=limits.messages_per_minute, clock=app.clock)
    return Allowed(throttled, allow)
