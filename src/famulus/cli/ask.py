"""`famulus ask TEXT`: one message through the whole pipeline, the reply on standard output."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from famulus.cli.conversation import Reply, conversation
from famulus.cli.options import Options, as_json, common
from famulus.core.errors import Invalid


@click.command()
@click.argument("text", nargs=-1, required=True)
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
    """Ask one question and print the answer. `-` reads the question from standard input."""
    question = sys.stdin.read().rstrip("\r\n") if text == ("-",) else " ".join(text)
    if not question.strip():
        raise Invalid("There is nothing to ask. Give a text, or - and text on standard input.")

    async def ask() -> Reply:
        async with conversation(options) as line:
            return await line.ask(question, session=session, model=model, attach=attach)

    reply = asyncio.run(ask())
    click.echo(_json(reply) if as_json else reply.content)


def _json(reply: Reply) -> str:
    return msgspec.json.encode(
        {
            "reply": reply.content,
            "turn_id": reply.turn_id,
            "session_id": reply.session_id,
            "model": reply.model,
            "failed": reply.failed,
            "usage": reply.usage,
        }
    ).decode()
