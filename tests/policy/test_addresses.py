from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.policy.addresses import is_own, refusal

# The forms in which an IPv4 address hides in an IPv6 one: the bits before it, and where it stands.
EMBEDDINGS = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "NAT64": lambda v4: 0x0064FF9B << 96 | v4,
    "local NAT64": lambda v4: 0x0064FF9B0001 << 80 | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "Teredo server": lambda v4: 0x20010000 << 96 | v4 << 64,
    "Teredo client": lambda v4: 0x20010000 << 96 | v4 ^ 0xFFFFFFFF,
    "ISATAP": lambda v4: 0x2A00 << 112 | 0x5EFE << 32 | v4,
    "global ISATAP": lambda v4: 0x2A00 << 112 | 0x02005EFE << 32 | v4,
}


@pytest.mark.parametrize(
    "address",
    """
    127.0.0.1 127.255.255.254 0.0.0.0 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
    100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.192 198.18.0.1 198.19.255.255 224.0.0.1
    239.255.255.250 240.0.0.1 255.255.255.255 192.0.2.1 203.0.113.9 192.88.99.1
    ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 100::1 2001:db8::1 3fff::1
    ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::10.0.0.1 2002:7f00:1:: 2001::1
    64:ff9b:1::1 0:0:0:0:0:ffff:a9fe:a9fe not-an-address
    """.split(),  # noqa: SIM905 - fifty quotes would hide the addresses
)
def test_what_is_not_public_is_refused(address):
    assert refusal(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111",
     "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"],
)  # fmt: skip
def test_what_is_public_is_allowed(address):
    assert refusal(address) == ""


@given(st.ip_addresses(v=4), st.sampled_from(sorted(EMBEDDINGS)))
def test_a_refused_ipv4_address_is_refused_in_every_ipv6_form(address, form):
    if refusal(str(address)):
        assert refusal(str(IPv6Address(EMBEDDINGS[form](int(address)))))


@given(
    st.sampled_from(["10.0.0.0", "127.0.0.0", "169.254.0.0", "192.168.0.0", "100.64.0.0"]),
    st.integers(0, 0xFFFF),
    st.sampled_from(sorted(EMBEDDINGS)),
)
def test_a_private_ipv4_address_is_refused_in_every_ipv6_form(network, low, form):
    number = int(IPv4Address(network)) + low
    assert refusal(str(IPv4Address(number)))
    assert refusal(str(IPv6Address(EMBEDDINGS[form](number))))


@given(st.ip_addresses(v=4))
def test_nothing_that_python_calls_private_is_allowed(address):
    if address.is_private or address.is_multicast or not address.is_global:
        assert refusal(str(address))


def test_the_own_addresses_are_known():
    assert is_own("127.0.0.1")
    assert not is_own("1.1.1.1")
