"""`famulus serve`: the gateway with everything behind it."""

import asyncio
import logging
import os
import signal

import click

from famulus.app import assistant
from famulus.channels.web import Twin, Web
from famulus.cli.cautions import cautions
from famulus.cli.checking import check
from famulus.cli.options import Options, common
from famulus.core.clock import Clock
from famulus.core.loading import Loaded
from famulus.core.logs import write_logs
from famulus.core.protocols import Channel
from famulus.gateway.auth import Auth
from famulus.gateway.listening import allow_files
from famulus.gateway.metrics import Metrics
from famulus.gateway.server import Server
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
    allow_files(loaded.config.server.max_clients + _OWN_FILES)
    asyncio.run(_serve(options, loaded))


async def _serve(options: Options, loaded: Loaded) -> None:
    config, clock = loaded.config, Clock()
    write_logs(config.logging.level, config.logging.format)
    for caution in cautions(loaded):
        log.warning("%s", caution)
    stop = asyncio.Event()

    def ask_to_stop() -> None:
        if stop.is_set():
            os._exit(1)  # whoever asks twice does not want to wait; nothing that is on disk is lost
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask_to_stop)
    web = Web(clock=clock)
    own: list[Channel] = [web, Twin("console", web)]
    async with assistant(loaded, home=options.home, own=own) as app:
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
        ) as server:
            server.state = "ready"
            click.echo(f"Famulus is ready: {server.url}")
            if not config.server.password:
                click.echo(f"Open this once to log in: {server.login_link()}")
            simple = app.models.simple
            beside = f"; simple messages: {simple}" if simple else ""
            click.echo(f"Model: {app.model.card.name}{beside}. Ctrl-C ends.")
            await stop.wait()
            click.echo("Famulus is shutting down; what does not end now resumes at the next start.")
            # Whoever waits for an answer is still connected to get it.
            server.state = "draining"
            await app.drain()
