"""`famulus version`"""

import json

import click

from famulus import __version__
from famulus.cli.options import Options, as_json, common


@click.command()
@as_json
@common
def command(_options: Options, *, as_json: bool) -> None:
    """Print the version."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"famulus {__version__}")
