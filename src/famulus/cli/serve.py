"""`famulus serve`: the gateway with everything behind it."""

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import click
from msgspec.structs import replace

from famulus.app import Assistant, assistant
from famulus.channels.web import Twin, Web
from famulus.cli import signals
from famulus.cli.cautions import cautions
from famulus.cli.checking import check
from famulus.cli.conversation import GATEWAY_FILE, running_gateway, when_free
from famulus.cli.options import Options, common
from famulus.core.clock import Clock
from famulus.core.config import Config
from famulus.core.errors import Locked, StoreError
from famulus.core.loading import Loaded
from famulus.core.logs import write_logs
from famulus.core.protocols import Channel
from famulus.gateway.auth import Auth
from famulus.gateway.listening import allow_files
from famulus.gateway.metrics import Metrics
from famulus.gateway.server import Server
from famulus.policy.sandbox import contained
from famulus.state.logins import Logins, Tokens

log = logging.getLogger(__name__)


# Beside its clients: model calls, commands, databases, logs.
_OWN_FILES = 1024


@click.command()
@common
def command(options: Options) -> None:
    """Run the gateway: channels, web chat and API. Ctrl-C or SIGTERM ends it; nothing is lost."""
    loaded = options.load()
    check(loaded, options.home)
    asyncio.run(_serve(options, loaded))


async def _serve(options: Options, loaded: Loaded) -> None:
    write_logs(loaded.config.logging.level, loaded.config.logging.format)
    config, clock = _with_files(loaded.config), Clock()
    for caution in cautions(loaded):
        log.warning("%s", caution)
    stop, server_file = asyncio.Event(), options.home / GATEWAY_FILE
    web = Web(clock=clock)
    own: list[Channel] = [web, Twin("console", web)]

    async def enter(stack: AsyncExitStack) -> Assistant:
        try:
            return await stack.enter_async_context(assistant(loaded, home=options.home, own=own))
        except Locked as error:
            if running_gateway(options.home):
                raise StoreError(str(error)) from None  # it will not be over in a moment
            raise

    async with AsyncExitStack() as stack:
        app = await when_free(lambda: enter(stack))
        # Before this nothing runs that could be drained, and a signal may do what it always does.
        _on_signals(stop, server_file)
        web.on_reachable = app.delivery.poke
        metrics = Metrics(app.database, clock=clock)
        app.observers.append(metrics.observe)
        auth = Auth(
            config.server,
            logins=Logins(app.database, clock=clock, password=config.server.password),
            tokens=Tokens(app.database, clock=clock),
            clock=clock,
        )
        async with Server(
            config,
            home=options.home,
            web=web,
            auth=auth,
            engine=app.engine,
            sessions=app.sessions,
            messages=app.messages,
            erasure=app.erasure,
            blobs=app.blobs,
            database=app.database,
            metrics=metrics,
            clock=clock,
            workspace=app.workspace,
            commands=app.slash.describe,
            model=app.model.card.name,
        ) as server:
            server.state = "ready"
            _say(f"Famulus is ready: {server.url}")
            if not config.server.password:
                _say(f"Open this once to log in: {server.login_link()}")
            simple = app.models.simple
            beside = f"; simple messages: {simple}" if simple else ""
            _say(f"Model: {app.model.card.name}{beside}. {contained(app.sandbox)} Ctrl-C ends.")
            await stop.wait()
            _say("Famulus is shutting down; what does not end now resumes at the next start.")
            # Whoever waits for an answer is still connected to get it.
            server.state = "draining"
            await app.drain()


def _with_files(config: Config) -> Config:
    """With no more clients than there are files for. A client that could not be taken for want of
    one would keep the gateway from all its work.
    """
    wanted = config.server.max_clients
    files = allow_files(wanted + _OWN_FILES)
    most = max(files // 2, files - _OWN_FILES)
    if most >= wanted:
        return config
    log.warning(
        "too few files for server.max_clients, see ulimit -n clients=%d files=%d", most, files
    )
    return replace(config, server=replace(config.server, max_clients=most))


def _on_signals(stop: asyncio.Event, gateway_file: Path) -> None:
    """A terminal that is closed ends the gateway as `SIGTERM` does, unless it was started with
    `nohup`. A signal that nobody meant for us must not kill it.
    """
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        if stop.is_set():
            # Whoever asks twice does not want to wait; nothing that is on disk is lost.
            gateway_file.unlink(missing_ok=True)
            os._exit(1)
        stop.set()

    for number in signals.wanted(*signals.ENDING, signal.SIGQUIT):
        loop.add_signal_handler(number, ask_to_stop)
    for number in signals.wanted(signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, log.info, "ignored signal=%s", number.name)


def _say(text: str) -> None:
    """Print, unless nobody can be told: that is no reason to end."""
    with suppress(OSError):
        click.echo(text)
