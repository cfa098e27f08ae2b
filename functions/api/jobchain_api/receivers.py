"""Who is told of the end of a job that is created now: endpoints of its tenant, which are looked up once a minute."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from jobchain.aws.webhook_endpoints import Endpoint, receivers_among
from jobchain.domain import Clock
from jobchain.webhooks.events import Receiver

Receivers = Callable[[str, str], tuple[Receiver, ...]]
"""Gives the receivers of a tenant's job of a chain. Raises Unavailable."""

# A new endpoint gets the events of all jobs that are created a minute after it.
_KNOWN_FOR_SECONDS = 60
_MAX_KNOWN = 1000


class Endpoints(Protocol):
    """Lists the endpoints of a tenant."""

    def list(self, tenant: str) -> list[Endpoint]:
        """Its endpoints. Raises Unavailable."""
        ...


def no_receivers(_tenant: str, _chain: str) -> tuple[Receiver, ...]:
    """The receivers of a deployment without webhooks."""
    return ()


def known_receivers(endpoints: Endpoints, clock: Clock) -> Receivers:
    """The receivers as they were up to a minute ago, which costs no read for most jobs."""

    @lru_cache(_MAX_KNOWN)
    def listed(tenant: str, _period: int) -> tuple[Endpoint, ...]:
        return tuple(endpoints.list(tenant))

    def receivers(tenant: str, chain: str) -> tuple[Receiver, ...]:
        return receivers_among(listed(tenant, _period(clock())), chain)

    return receivers


def _period(now: datetime) -> int:
    return int(now.timestamp() // _KNOWN_FOR_SECONDS)
