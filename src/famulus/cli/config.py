"""`famulus config check | show | example | schema`"""

from typing import Any

import click
import msgspec

from famulus.cli.options import Options, as_json, common, common_options
from famulus.core.describe import effective, example, json_schema
from famulus.core.errors import ConfigError
from famulus.core.toml import document


@click.group()
@common_options
def command(**given: object) -> None:
    """Check and show the configuration."""


@command.command()
@as_json
@common
def check(options: Options, *, as_json: bool) -> None:
    """Say whether the configuration is right, or what is wrong where."""
    # They know all rooms, which takes 300 ms.
    from famulus.cli.cautions import cautions  # noqa: PLC0415
    from famulus.cli.checking import check  # noqa: PLC0415

    path, error = options.config, ""
    doubts: list[str] = []
    try:
        loaded = options.load()
        path = loaded.path
        check(loaded, options.home_path.absolute())
        doubts = cautions(loaded)
    except ConfigError as fault:
        if not as_json:
            raise
        error = str(fault)
    if as_json:
        said = {
            "ok": not error,
            "path": str(path) if path else None,
            "error": error or None,
            "warnings": doubts,
        }
        click.echo(msgspec.json.encode(said))
        click.get_current_context().exit(1 if error else 0)
    for doubt in doubts:
        click.echo(f"warning: {doubt}", err=True)
    click.echo(f"{path} is fine" if path else "no configuration file; defaults are used")


@command.command()
@as_json
@common
def show(options: Options, *, as_json: bool) -> None:
    """Print the settings in force, with secrets masked."""
    settings = effective(options.load().config)
    click.echo(_json(settings) if as_json else document(settings), nl=as_json)


@command.command("example")
@common
def print_example(_options: Options) -> None:
    """Print an annotated famulus.toml with all defaults."""
    click.echo(example(), nl=False)


@command.command()
@common
def schema(_options: Options) -> None:
    """Print the JSON Schema of famulus.toml, for editors."""
    click.echo(_json(json_schema()))


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
