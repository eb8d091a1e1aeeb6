"""`famulus ask TEXT`: one message through the whole pipeline, the reply on standard output."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from famulus.cli import signals, stdin
from famulus.cli.conversation import Reply, Show, conversation
from famulus.cli.options import Options, as_json, common
from famulus.cli.screen import Screen
from famulus.core.errors import Invalid

_SURROGATE = re.compile("[\ud800-\udfff]")


class _Ask(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = " ".join(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(
                f"{error.format_message()}"
                f" For a question that begins with a dash: famulus ask -- {given}",
                ctx,
            ) from None


@click.command(cls=_Ask)
@click.argument("text", nargs=-1)
@click.option("--session", default="", metavar="KEY", help="Conversation to speak in.")
@click.option("--model", default="", metavar="NAME", help="Model to ask instead of the usual one.")
@click.option(
    "--attach",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A picture or file to send along; may be given several times.",
)
@as_json
@common
def command(
    options: Options,
    *,
    text: tuple[str, ...],
    session: str,
    model: str,
    attach: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Ask one question and print the answer.

    What comes on standard input, through a pipe or where - is given, follows TEXT.
    """
    question = _question(text)
    screen = Screen()

    async def ask(show: Show | None) -> Reply:
        async with conversation(options, show=show) as line:
            return await line.ask(question, session=session, model=model, attach=attach)

    streams = sys.stdout.isatty() and not as_json
    try:
        reply = signals.run(ask(screen.show if streams else None))
    except BaseException:
        with suppress(OSError):  # a terminal that was closed is told nothing
            screen.end()
        raise
    if as_json:
        click.echo(_json(reply))
    elif not reply.failed:
        screen.finish(reply.content)
    else:
        screen.end()
        click.echo(reply.content, err=True)
    if reply.failed:
        click.get_current_context().exit(1)


def _question(text: tuple[str, ...]) -> str:
    """The words, then what is piped in, with an empty line between them."""
    words = " ".join(word for word in text if word != "-")
    piped = stdin.read() if "-" in text or stdin.is_piped() else ""
    if not text and not piped:
        raise click.UsageError('Say what to ask, as in: famulus ask "what is 6*7"')
    question = "\n\n".join(part for part in (words, piped) if part.strip())
    if not question:
        raise Invalid("There is nothing to ask. Give a text, or - and text on standard input.")
    try:
        # Python takes what its locale does not know for bytes that are no text.
        return os.fsencode(question).decode() if _SURROGATE.search(question) else question
    except (UnicodeEncodeError, UnicodeDecodeError):
        raise Invalid("The question is not UTF-8 text. Set the terminal to UTF-8.") from None


def _json(reply: Reply) -> bytes:
    return msgspec.json.encode(
        {
            "reply": reply.content,
            "turn_id": reply.turn_id,
            "session_id": reply.session_id,
            "model": reply.model,
            "failed": reply.failed,
            "usage": reply.usage,
        }
    )
