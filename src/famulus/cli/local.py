"""A conversation with an assistant that runs in this very process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from famulus.app import Assistant, assistant
from famulus.channels.console import Console, inbound
from famulus.cli.checking import check_assistant
from famulus.cli.conversation import Reply, Show
from famulus.core.errors import Invalid
from famulus.core.loading import Loaded
from famulus.gateway.incoming import session_key

_STOP_SECONDS = 2.0


@asynccontextmanager
async def local(loaded: Loaded, home: Path, *, show: Show | None) -> AsyncIterator["Local"]:
    check_assistant(loaded, home)
    console = Console(show=show)
    async with assistant(loaded, home=home, own=[console], only=console.name) as app:
        try:
            yield Local(app, console)
        finally:
            # What is not over by now was stopped, and whoever stopped it does not wait.
            await app.drain(0)


class Local:
    """See `Conversation`."""

    place = "this process"

    def __init__(self, app: Assistant, console: Console) -> None:
        self._app = app
        self._console = console
        self._session = ""

    async def ask(
        self, text: str, *, session: str = "", model: str = "", attach: Sequence[Path] = ()
    ) -> Reply:
        if ":" in session and session_key(session).channel != self._console.name:
            # Its replies go to that channel, so whoever waits here would wait for ever.
            raise Invalid(
                f"{session} is not a conversation of the terminal. The gateway can speak there:"
                " start famulus serve and ask again."
            )
        parts = [await self._app.attachments.from_path(path) for path in attach]
        message = inbound(text, session=session, model=model, parts=tuple(parts))
        reply = self._console.expect(message.turn_id)
        try:
            self._session = (await self._app.gate(message)).session
            outbound = await reply
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.stop()
            raise
        return Reply(
            turn_id=outbound.turn_id,
            session_id=outbound.session,
            content=outbound.text,
            message_ids=outbound.answers,
            model=outbound.model,
            usage=outbound.usage,
            failed=outbound.failed,
        )

    async def stop(self) -> None:
        await self._app.engine.cancel(self._session)
