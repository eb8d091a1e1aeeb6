"""Where the gateway may listen."""

import errno
import ipaddress
import resource
import socket
from typing import Any

from famulus.core.config import Server as Settings
from famulus.core.errors import ConfigError


def check_host(settings: Settings) -> None:
    """Raise `ConfigError` for an address that others can reach without a password."""
    if not settings.password and not is_loopback(settings.host):
        raise ConfigError(
            f"server.host is {settings.host}, which others can reach, but there is no"
            ' server.password. Set WEBCHAT_PASSWORD and password = "${WEBCHAT_PASSWORD}",'
            ' or listen on "127.0.0.1".'
        )


def check_trust(settings: Settings) -> None:
    """Raise `ConfigError` where those whom `trust_loopback` lets in may come from anywhere."""
    if settings.trust_loopback and settings.public_url:
        raise ConfigError(
            "server.trust_loopback lets in whoever comes from this machine, and what stands before"
            " the gateway at server.public_url comes from there too. Remove one of the two."
        )


def check_address(settings: Settings) -> None:
    """Raise `ConfigError` for an address that is none of this machine's. A port that is in use is
    none of the configuration's faults: the gateway itself may be running. Asks a name server only
    where `host` is a name.
    """
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise unusable(settings, error) from None
    faults = [_fault(*each) for each in found]
    # A name may stand for an address of a family that this machine does not have.
    if faults and all(faults):
        raise unusable(settings, next(filter(None, faults)))


def _fault(family: int, kind: int, protocol: int, _: str, address: Any) -> OSError | None:
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return None if error.errno == errno.EADDRINUSE else error
    return None


def unusable(settings: Settings, error: OSError) -> ConfigError:
    """Why nobody can listen there, and what to change."""
    host, port = settings.host, settings.port
    if isinstance(error, socket.gaierror):
        return ConfigError(
            f"server.host is {host}, a name that cannot be found here."
            ' Write an address of this machine, such as "127.0.0.1" or "0.0.0.0".'
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"server.host is {host}, which is no address of this machine."
            ' Write one that is, such as "127.0.0.1", or "0.0.0.0" for all of them.'
        )
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"server.port {port} of {host} is used by another program."
            " Stop that program, or set another port."
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            f"server.port is {port}, which only the system's administrator may use."
            " Set one from 1024 up."
        )
    said = (error.strerror or str(error)).rstrip(".")
    return ConfigError(f"server.host {host} port {port} cannot be used: {said}. Set another one.")


def allow_files(wanted: int) -> int:
    """Raise the number of files and sockets that this process may open, as far as it may; how many
    of those wanted there are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def is_loopback(name: str) -> bool:
    """Whether a host name or address stays on this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
