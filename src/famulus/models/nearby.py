"""Whether a server stands in the house."""

from ipaddress import ip_address
from urllib.parse import urlsplit

_PRIVATE_NAMES = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


def is_nearby(url: str) -> bool:
    """Whether an address is this machine's or of a private network. No name is looked up."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        return not ip_address(host).is_global
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_NAMES))
