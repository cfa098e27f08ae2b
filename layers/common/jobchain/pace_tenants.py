"""How tenants share the pace: each has a virtual time of its own, to which a grant adds twice what it takes.

So the time of a tenant that gets half of the limit stays where it is. Pure: no clock, no I/O.
"""

import zlib
from collections.abc import Mapping
from math import inf

SHARE_BURST = 60.0
SHARE_JOBS = 8
"""Half of these seconds' limit, or this many jobs, a tenant gets before it counts as one that has had its share."""

ADVANCE_BURST = 10.0
"""Half of these seconds' limit a tenant gets at once, before slots that were granted to others."""

MAX_TENANTS = 32
"""At most this many tenants have a virtual time of their own; the others share one."""

KEPT = 120.0
"""A virtual time that is this far behind is removed; until then its tenant counts as one that shares."""


def is_tenant(name: str) -> bool:
    """Whether the number is a tenant's virtual time."""
    return len(name) == 5 and name[0] == "t"


def tenant_name(state: Mapping[str, float], tenant: str, now: float) -> str:
    """The number that is the tenant's, so that no more than `MAX_TENANTS` of them exist."""
    name = f"t{zlib.crc32(tenant.encode()) & 0xFFFF:04x}"
    others = sum(is_tenant(other) and not is_over(at, now) for other, at in state.items())
    return name if name in state or others < MAX_TENANTS else "tmore"


def is_over(at: float, now: float) -> bool:
    """Whether a tenant's virtual time is to be removed."""
    return at < now - KEPT


def had(state: Mapping[str, float], name: str, now: float) -> float:
    """How far a tenant's virtual time is ahead, in seconds; infinite for one that is alone, which shares with none."""
    is_alone = not any(is_tenant(other) and other != name for other in state)
    return inf if is_alone else state.get(name, 0.0) - now


def is_below_share(ahead: float, each: float) -> bool:
    """Whether a tenant that is so far ahead has had less than its share, where a job takes `each` of the limit."""
    return ahead <= max(SHARE_BURST, 2 * SHARE_JOBS * each)
