"""The commands by name. A command is the object `command` of its module, imported when it runs."""

import importlib
import os
import sys
import traceback

import click

from famulus import __version__
from famulus.cli.options import common_options
from famulus.cli.trouble import sentence
from famulus.core.errors import FamulusError

COMMANDS = {
    "serve": "Run the gateway: channels, web chat and API.",
    "ask": "Ask one question and print the answer.",
    "chat": "Talk in the terminal.",
    "route": "Show which model a message would go to, and why.",
    "sessions": "List and show conversations.",
    "usage": "Show what the models used and cost.",
    "status": "Show what is set up and what is running.",
    "backup": "Save everything in one file, also while it runs.",
    "restore": "Bring back what was saved.",
    "config": "Check and show the configuration.",
    "login": "Print a link that logs a browser in.",
    "tokens": "Make and revoke tokens for programs.",
    "version": "Print the version.",
}


class Program(click.Group):
    """Knows its commands by name and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"famulus.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - only an error pays for it

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Help on a command: famulus COMMAND --help",
)
@common_options
@click.version_option(__version__, message="famulus %(version)s")
def program(**given: object) -> None:
    """A personal AI assistant that runs on your own machine."""


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code. Whatever goes wrong is one line for the user."""
    context: click.Context | None = None
    try:
        with program.make_context("famulus", arguments or ["--help"]) as context:
            program.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the last door: no traceback reaches a user
        _fail(error, debug=bool(context and context.params["debug"]))
        return 1
    return _flushed()


def _flushed() -> int:
    """0, if everything that was printed has arrived."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(error, debug=False)
        return 1
    return 0


def _fail(error: BaseException, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
        return
    # A task group wraps what went wrong in one of its tasks.
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = str(error) if isinstance(error, FamulusError) else sentence(error)
    if not text:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        text = f"famulus: internal error: {what}. Run again with --debug to see where."
    try:
        click.echo(text, err=True)
    except OSError:
        # Nobody can be told; the interpreter's last flush would change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
