"""What one job was granted of one model's pace, and what its calls have taken of it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import Slot
from jobchain.domain import Tier
from jobchain.pace import PATIENCE, Demand, Granted
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimits

NOTHING = Demand(0, 0)

LONGEST_WAIT = timedelta(seconds=PATIENCE)
"""A slot that is no further away is waited for. A job with a later one goes back to the queue."""


class PaceLedger:
    """One job's ledger of one model's pace. It is settled once, when the job leaves the worker."""

    def __init__(self, pace: PaceStore) -> None:
        self.pace = pace
        self.granted = NOTHING
        self.begun = 0
        """The calls that were let through, of those that are let through one by one."""
        self._asked = NOTHING
        self._used = NOTHING
        self._limits: RateLimits = NO_RATE_LIMITS
        self._refused = False

    @property
    def left(self) -> int:
        """The requests that were granted and not made."""
        return max(self.granted.requests - max(self._asked.requests, self.begun), 0)

    def grant(self, demand: Demand) -> None:
        """Adds what the limiter has granted."""
        self.granted = _sum(self.granted, demand)

    def note(self, asked: Demand, used: Demand, limits: RateLimits) -> None:
        """Adds a call: what it asked for, what it used, and the limits that the server told."""
        self._asked, self._used = _sum(self._asked, asked), _sum(self._used, used)
        if limits != NO_RATE_LIMITS:
            self._limits = limits

    def note_failed(self, asked: Demand, limits: RateLimits, *, refused: bool) -> None:
        """Adds a call that failed; `refused` if the limits are used up."""
        self._refused = self._refused or refused
        took = Demand(1, 0) if refused else asked
        self.note(took, took, limits)

    def settlement(self) -> Callable[[], None] | None:
        """What tells the limiter how the grant was used; None where that changes nothing."""
        counted = (self.granted, self._asked, self._used, self._limits)
        if not self._refused and self.pace.settles_nothing(*counted):
            return None
        return lambda: self.pace.settle(*counted, self._refused)


def slot_of(granted: Granted, tier: Tier, model: str | None) -> Slot:
    """The slot as a message holds it; `model` is None for the one whose pace the job follows."""
    return Slot(granted.at, granted.demand.requests, granted.demand.tokens, tier, model)


async def sleep_until(begin_at: datetime | None, now: datetime) -> None:
    """Waits in the worker for a slot that is near."""
    if begin_at and begin_at > now:
        await asyncio.sleep(min(begin_at - now, LONGEST_WAIT).total_seconds())


def lost(slot: Slot, tier: Tier, too_late: datetime) -> bool:
    """Whether the slot is none any more: it began before `too_late`, or is one of another tier."""
    return slot.tier is not tier or slot.at < too_late


def _sum(first: Demand, second: Demand) -> Demand:
    return Demand(first.requests + second.requests, first.tokens + second.tokens)
