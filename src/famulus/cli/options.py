"""The options that every command takes, before its name or after it."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from famulus.core.loading import Loaded

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Options:
    """What the common options say. `config` is None unless a file was asked for."""

    def __init__(self, *, home: Path | None, config: Path | None, debug: bool) -> None:
        self._environment = os.environ | ({"FAMULUS_HOME": str(home)} if home else {})
        self.config = config
        self.debug = debug

    # Loading costs its imports, which `--help` and wrong usage should not pay.

    @functools.cached_property
    def home(self) -> Path:
        """The home folder, made on first use. Raises `ConfigError`."""
        from famulus.core.loading import home_folder  # noqa: PLC0415

        return home_folder(self._environment)

    @property
    def home_path(self) -> Path:
        """Where the home is, or will be; makes nothing."""
        from famulus.core.loading import home_path  # noqa: PLC0415

        return home_path(self._environment)

    def load(self) -> "Loaded":
        """The configuration in force; makes no folder. Raises `ConfigError`."""
        from famulus.core.loading import load  # noqa: PLC0415

        if (self.home_path / ".restoring").exists():
            from famulus.cli.replacing import finish  # noqa: PLC0415 - hardly ever needed

            if finish(self.home_path.absolute()):
                click.echo("A restore that was cut off is finished now.", err=True)
        return load(home=self.home_path, config=self.config, environment=self._environment)


def common_options(function: CommandT) -> CommandT:
    """Declare the options without using them."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--debug", is_flag=True, help="Show where an error comes from."),
        click.option("--config", type=path, metavar="FILE", help="Use this configuration file."),
        click.option(
            "--home", type=path, metavar="FOLDER", help="Use this folder, not ~/.famulus."
        ),
    ):
        function = option(function)
    return function


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the common options; it gets them as its first argument, an `Options`."""

    @common_options
    @click.pass_context
    @functools.wraps(function)
    def command(context: click.Context, /, **given: Any) -> Any:
        for name in ("home", "config", "debug"):
            given.pop(name)
        home, config, debug = (_nearest(context, name) for name in ("home", "config", "debug"))
        context.find_root().params["debug"] = bool(debug)
        return function(Options(home=home, config=config, debug=bool(debug)), **given)

    return command


def _nearest(context: click.Context | None, name: str) -> Any:
    """An option's value where it stands nearest to the command."""
    while context:
        if value := context.params.get(name):
            return value
        context = context.parent
    return None
