"""Which addresses a webhook may be sent to: the public ones, by lists that do not depend on the version of Python."""

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network


class Reach(Enum):
    """The addresses that are allowed."""

    PUBLIC = "public"
    LOCAL = "local"
    """The public ones and those of this machine: for a stack on it."""


# https://www.iana.org/assignments/iana-ipv4-special-registry, multicast, and what clouds have in public ranges.
_SPECIAL_V4 = {
    ip_network(network): kind
    for network, kind in {
        "0.0.0.0/8": "of this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "of a carrier's NAT",
        "127.0.0.0/8": "of this machine",
        "168.63.129.16/32": "of a cloud's own services",
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "of a protocol",
        "192.0.2.0/24": "of documentation",
        "192.31.196.0/24": "of a protocol",
        "192.52.193.0/24": "of a protocol",
        "192.88.99.0/24": "of a relay",
        "192.168.0.0/16": "private",
        "192.175.48.0/24": "of a protocol",
        "198.18.0.0/15": "of benchmarks",
        "198.51.100.0/24": "of documentation",
        "203.0.113.0/24": "of documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}

# All public addresses are in 2000::/3: https://www.iana.org/assignments/ipv6-address-space
_PUBLIC_V6 = IPv6Network("2000::/3")
# Those parts of it that are not: https://www.iana.org/assignments/iana-ipv6-special-registry
_SPECIAL_V6 = {
    ip_network(network): kind
    for network, kind in {
        "2001::/23": "of a protocol",
        "2001:db8::/32": "of documentation",
        "2002::/16": "of a relay",
        "2620:4f:8000::/48": "of a protocol",
        "3fff::/20": "of documentation",
    }.items()
}

# The interface identifiers of ISATAP, which have an IPv4 address behind them: https://www.rfc-editor.org/rfc/rfc5214
_ISATAP = (0x00005EFE, 0x02005EFE)


def refusal_of(address: str, reach: Reach) -> str | None:
    """What kind of address it is, where nothing may be sent to it; None where it may.

    `address` is as a resolver gives it. One that can't be read is refused.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "malformed"
    if reach is Reach.LOCAL and parsed.is_loopback:
        return None
    return _special_v4(parsed) if isinstance(parsed, IPv4Address) else _special_v6(parsed)


def _special_v4(address: IPv4Address) -> str | None:
    return next((kind for network, kind in _SPECIAL_V4.items() if address in network), None)


def _special_v6(address: IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "link-local"
    if address not in _PUBLIC_V6:
        # Among them all that have an IPv4 address inside: mapped, compatible, translated (64:ff9b::/96).
        return "of this machine" if address.is_loopback else "not public"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "of a tunnel"
    return next((kind for network, kind in _SPECIAL_V6.items() if address in network), None)
