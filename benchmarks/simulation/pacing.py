"""How jobs are kept to the limits of a model's account: the two designs that were tried.

The first is the shipped one, `jobchain.pacer`, on a table in memory: each worker asks when it is about to claim a job.
The second hands out a slot when a job is posted, and its message is sent for when the slot is due.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from jobchain.pace import PATIENCE, Change, Demand, Granted, PaceState, Rates, seconds_of
from jobchain.pacer import Moved, Pacer
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimits

EPOCH = 1_800_000_000.0
# The worker's own: functions/worker/jobchain_worker/admission_control.py
LONGEST_WAIT = PATIENCE
SLOT_KEPT = 60.0
"""A slot is lost when its job comes later than this."""

NOTHING = Demand(0, 0)


class MemoryTable:
    """The state in memory; counts reads, writes and writes whose conditions failed."""

    def __init__(self) -> None:
        self.state: dict[str, float] = {}
        self.reads = self.writes = self.failed = 0

    def read(self) -> PaceState | None:
        """The state."""
        self.reads += 1
        return dict(self.state) or None

    def write(self, change: Change) -> PaceState:
        """Makes the change. Raises Moved."""
        self.writes += 1
        if not (self.state or change.first) or not all(self._holds(change)):
            self.failed += 1
            raise Moved(dict(self.state) or None)
        self.state |= change.changes
        for name, added in change.added.items():
            self.state[name] = self.state.get(name, 0.0) + added
        for name in change.removed:
            self.state.pop(name, None)
        return dict(self.state)

    def _holds(self, change: Change) -> list[bool]:
        return [
            found.least is None
            if (value := self.state.get(found.name)) is None
            else (found.least is None or found.least <= value) and value <= found.most
            for found in change.conditions
        ]


@dataclass(slots=True)
class Account:
    """What one job has of the account: what it was charged, what its calls have taken, what the server told last."""

    charged: Demand = NOTHING
    slot: float | None = None
    asked_requests: int = 0
    asked: float = 0
    used: float = 0
    limits: RateLimits = NO_RATE_LIMITS
    refused: bool = False
    last: Demand = NOTHING
    """What the last call asked for."""

    def note(self, asked: float, used: float, limits: RateLimits, *, refused: bool) -> None:
        """Counts a call."""
        self.asked_requests += 1
        self.last = Demand(1, round(asked))
        self.refused = self.refused or refused
        if not refused:
            self.asked += asked
            self.used += used
        if limits != NO_RATE_LIMITS:
            self.limits = limits


class Pacing(Protocol):
    """A design."""

    accounts: dict[int, Account]

    def post(self, job: int, demand: Demand, now: float) -> float:
        """When the message of a new job is sent."""
        ...

    def admit(self, worker: int, job: int, demands: list[Demand], waiting: int, now: float) -> float:
        """When the job may run: `now` or a little later, else it goes back to the queue until then."""
        ...

    def answered(self, worker: int, job: int, now: float) -> None:
        """A call of the job has ended."""
        ...

    def leave(self, worker: int, job: int, now: float) -> None:
        """The job has ended, or is put off."""
        ...


class AskedAtClaim:
    """The shipped design."""

    def __init__(self, configured: Rates, tenant: Callable[[int], str] = lambda _: "a", seed: int = 1) -> None:
        self.accounts: dict[int, Account] = {}
        self.table = MemoryTable()
        self.asks = self.grants = 0
        self._configured = configured
        self._tenant = tenant
        self._draw = random.Random(seed).random  # noqa: S311  # no secret
        self._workers: dict[int, Pacer] = {}
        self._now = 0.0

    def post(self, _job: int, _demand: Demand, now: float) -> float:
        """At once."""
        return now

    def admit(self, worker: int, job: int, demands: list[Demand], waiting: int, now: float) -> float:
        """At the job's slot."""
        account = self.accounts.setdefault(job, Account())
        if account.slot is not None and now <= account.slot + SLOT_KEPT:
            return max(now, account.slot)
        self.asks += 1
        got = self._pacer(worker, now).reserve(demands, self._tenant(job), lambda: waiting)
        if not isinstance(got, Granted):
            return got.until.timestamp() - EPOCH
        self.grants += 1
        account.charged = got.demand
        account.slot = got.at.timestamp() - EPOCH
        return max(now, account.slot)

    def answered(self, worker: int, job: int, now: float) -> None:
        """Learns."""
        account = self.accounts[job]
        self._pacer(worker, now).learn(account.last, account.limits)

    def leave(self, worker: int, job: int, now: float) -> None:
        """Settles."""
        account = self.accounts.pop(job)
        self._pacer(worker, now).settle(
            account.charged,
            Demand(account.asked_requests, round(account.asked)),
            Demand(account.asked_requests, round(account.used)),
            account.limits,
            account.refused,
        )

    def _pacer(self, worker: int, now: float) -> Pacer:
        self._now = now
        if worker not in self._workers:
            self._workers[worker] = Pacer(self.table, self._configured, self._clock, self._draw)
        return self._workers[worker]

    def _clock(self) -> datetime:
        return datetime.fromtimestamp(EPOCH + self._now, UTC)


class HandedOutAtPost:
    """The other design: slots follow each other without a bound, at a rate that is known from the start.

    It is given what it could not know: how many of the tokens that jobs ask for they will use.
    """

    def __init__(self, rates: Rates, used_share: float) -> None:
        self.accounts: dict[int, Account] = {}
        self._rates = rates
        self._share = used_share
        self._free_at = 0.0

    def post(self, _job: int, demand: Demand, now: float) -> float:
        """At the slot."""
        slot = max(now, self._free_at)
        self._free_at = slot + max(seconds_of(demand.requests, demand.tokens * self._share, self._rates).values())
        return slot

    def admit(self, _worker: int, job: int, _demands: list[Demand], _waiting: int, now: float) -> float:
        """At once: its message came when it was due."""
        self.accounts.setdefault(job, Account())
        return now

    def answered(self, _worker: int, _job: int, _now: float) -> None:
        """Nothing is learned."""

    def leave(self, _worker: int, job: int, _now: float) -> None:
        """Slots that are given away can't be changed."""
        self.accounts.pop(job)
