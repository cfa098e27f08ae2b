"""The addresses that a webhook may be sent to."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain_webhooks.addresses import Reach, refusal_of

REFUSED = [
    ("0.0.0.0", "of this network"),
    ("0.1.2.3", "of this network"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "of a carrier's NAT"),
    ("100.100.100.200", "of a carrier's NAT"),  # Alibaba's metadata
    ("127.0.0.1", "of this machine"),
    ("127.255.255.254", "of this machine"),
    ("168.63.129.16", "of a cloud's own services"),  # Azure's
    ("169.254.169.254", "link-local"),  # the metadata of most clouds
    ("169.254.170.2", "link-local"),  # credentials of ECS
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.192", "of a protocol"),  # Oracle's metadata
    ("192.0.0.170", "of a protocol"),
    ("192.0.2.1", "of documentation"),
    ("192.88.99.1", "of a relay"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "of benchmarks"),
    ("198.19.255.255", "of benchmarks"),
    ("198.51.100.1", "of documentation"),
    ("203.0.113.1", "of documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "not public"),
    ("::1", "of this machine"),
    ("0:0:0:0:0:0:0:1", "of this machine"),
    ("::127.0.0.1", "not public"),  # compatible
    ("::ffff:127.0.0.1", "not public"),  # mapped
    ("::ffff:169.254.169.254", "not public"),
    ("::ffff:8.8.8.8", "not public"),
    ("::ffff:0:10.0.0.1", "not public"),  # translated
    ("64:ff9b::a9fe:a9fe", "not public"),  # NAT64 of 169.254.169.254
    ("64:ff9b::8.8.8.8", "not public"),
    ("64:ff9b:1::1", "not public"),
    ("100::1", "not public"),  # discard
    ("2001::1", "of a protocol"),  # Teredo
    ("2001:0:7f00:1::", "of a protocol"),
    ("2001:10::1", "of a protocol"),  # ORCHID
    ("2001:20::1", "of a protocol"),
    ("2001:db8::1", "of documentation"),
    ("2002:7f00:1::", "of a relay"),  # 6to4 of 127.0.0.1
    ("2002:a9fe:a9fe::1", "of a relay"),
    ("2620:4f:8000::1", "of a protocol"),
    ("2a00:1450::5efe:7f00:1", "of a tunnel"),  # ISATAP of 127.0.0.1
    ("2a00:1450::200:5efe:a00:1", "of a tunnel"),
    ("3fff::1", "of documentation"),
    ("4000::1", "not public"),
    ("5f00::1", "not public"),
    ("fc00::1", "not public"),
    ("fd00:ec2::254", "not public"),  # AWS's metadata
    ("fd20:ce::254", "not public"),  # Google's
    ("fe80::1", "not public"),
    ("fe80::1%eth0", "link-local"),
    ("2a00:1450::1%eth0", "link-local"),
    ("fec0::1", "not public"),
    ("ff02::1", "not public"),
    ("ff0e::1", "not public"),
    ("", "malformed"),
    ("localhost", "malformed"),
    ("127.1", "malformed"),
    ("0177.0.0.1", "malformed"),
    ("0x7f.0.0.1", "malformed"),
    ("2130706433", "malformed"),
    ("8.8.8.8 ", "malformed"),
]

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "198.20.0.1",
    "223.255.255.254",
]
PUBLIC_V6 = ["2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2600::"]


@pytest.mark.parametrize(("address", "kind"), REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str, kind: str) -> None:
    assert refusal_of(address, Reach.PUBLIC) == kind


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC_V6])
def test_a_public_address_is_accepted(address: str) -> None:
    assert refusal_of(address, Reach.PUBLIC) is None
    assert refusal_of(address, Reach.LOCAL) is None


@pytest.mark.parametrize(("address", "kind"), REFUSED)
def test_a_local_stack_accepts_this_machine_and_refuses_the_rest(address: str, kind: str) -> None:
    assert refusal_of(address, Reach.LOCAL) == (None if kind == "of this machine" else kind)


@given(st.ip_addresses())
def test_no_address_is_accepted_that_the_standard_library_takes_for_private(address: IPv4Address | IPv6Address) -> None:
    accepted = refusal_of(str(address), Reach.PUBLIC) is None

    # 64:ff9b::/96 and 2002::/16 are global to it, hence not the other way round.
    assert address.is_global or not accepted
    assert not (accepted and (address.is_multicast or address.is_reserved))


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_refused_whatever_it_is(address: IPv4Address) -> None:
    inside = int(address)
    embedding = [
        (0xFFFF << 32) | inside,  # mapped
        inside,  # compatible
        (0x64FF9B << 96) | inside,  # NAT64
        (0x2002 << 112) | (inside << 80),  # 6to4
        (0x20010000 << 96) | (inside ^ 0xFFFFFFFF),  # Teredo
        (0x2A001450 << 96) | (0x5EFE << 32) | inside,  # ISATAP
    ]

    assert all(refusal_of(str(IPv6Address(number)), Reach.PUBLIC) for number in embedding)
