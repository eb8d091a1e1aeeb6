"""Which addresses of the internet a tool may dial.

What is not plainly public is refused: the registries of special addresses (RFC 6890 and its
successors), what cloud providers put inside their networks, and every IPv6 form that carries an
IPv4 address which is refused itself. The lists are ours, because what Python's `ipaddress` calls
global changes with its version and lets several of these through.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_REFUSED_V4 = {
    IPv4Network(network): reason
    for network, reason in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "a provider's inner network",
        "127.0.0.0/8": "this machine",
        "168.63.129.16/32": "a cloud's metadata service",
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "reserved for documentation",
        "192.31.196.0/24": "reserved",
        "192.52.193.0/24": "reserved",
        "192.88.99.0/24": "reserved",
        "192.168.0.0/16": "private",
        "192.175.48.0/24": "reserved",
        "198.18.0.0/15": "reserved for tests",
        "198.51.100.0/24": "reserved for documentation",
        "203.0.113.0/24": "reserved for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}
_PUBLIC_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = {
    IPv6Network(network): reason
    for network, reason in {
        "2001::/23": "reserved",  # Teredo is in it
        "2001:db8::/32": "reserved for documentation",
        "2620:4f:8000::/48": "reserved",
        "3fff::/20": "reserved for documentation",
    }.items()
}
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
# ISATAP puts the IPv4 address into the lower half, after this or with the universal bit set.
_ISATAP = (0x00005EFE, 0x02005EFE)


def refusal(address: str) -> str:
    """Why `address` must not be dialled, or an empty string when it is public."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(parsed, IPv4Address):
        return _refusal_v4(parsed)
    if parsed.scope_id:
        return "link-local"
    return _refusal_v6(parsed)


def is_own(address: str) -> bool:
    """Whether `address` belongs to this machine, also when it is a public one.

    A datagram socket that is connected to an own address sends from that very address. No packet
    leaves the machine for the question.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
        own: str = probe.getsockname()[0]
        return own == address


def _refusal_v4(address: IPv4Address) -> str:
    return next((why for network, why in _REFUSED_V4.items() if address in network), "")


def _refusal_v6(address: IPv6Address) -> str:
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        return _refusal_v4(IPv4Address(number & 0xFFFFFFFF))
    if address not in _PUBLIC_V6:
        return "not a public IPv6 address"
    for network, why in _REFUSED_V6.items():
        if address in network:
            return why
    if address in _6TO4:
        return _refusal_v4(IPv4Address(number >> 80 & 0xFFFFFFFF))
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        return _refusal_v4(IPv4Address(number & 0xFFFFFFFF))
    return ""
