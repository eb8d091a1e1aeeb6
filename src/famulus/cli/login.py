"""`famulus login`: a link that logs a browser in."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import click

from famulus.cli.conversation import Gateway, running_gateway
from famulus.cli.options import Options, common
from famulus.core.errors import FamulusError

_SECONDS = 10.0


@click.command()
@common
def command(options: Options) -> None:
    """Print a link that logs a browser in. It works once."""
    gateway = running_gateway(options.home)
    if gateway is None:
        raise FamulusError("The gateway of this home is not running. Start it: famulus serve")
    click.echo(request(gateway, "/api/login-link")["url"])


def request(gateway: Gateway, path: str) -> Any:
    """What the gateway answers to a program of this machine. Raises `FamulusError`."""
    # No proxy of the environment stands between two programs of one machine.
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=_SECONDS)
    headers = {"Authorization": f"Bearer {gateway.token}"}
    try:
        connection.request("POST", path, headers=headers)
        response = connection.getresponse()
        answer = json.load(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FamulusError(
            f"The gateway (process {gateway.pid}) does not answer at {gateway.url}: {error}."
            " Stop it, or start it again."
        ) from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise FamulusError(f"The gateway refused: {answer.get('error', response.status)}")
    return answer
