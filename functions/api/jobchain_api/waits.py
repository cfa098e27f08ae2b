"""Why pending jobs wait, where that is not stored with them: worked out when they are read."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.paces import PaceStore
from jobchain.domain import Job, Status, Tier, WaitingFor, WaitReason, isoformat, tier_at
from jobchain.errors import Unavailable
from jobchain.pace import PATIENCE


class WaitView(Protocol):
    """What all jobs of a tier wait for now."""

    def reason_now(self, tier: Tier, now: datetime) -> WaitingFor | None:
        """The reason, None if they wait for a worker alone. Raises nothing."""
        ...


class NoWaits:
    """A deployment whose account has no limits that are known."""

    def reason_now(self, tier: Tier, now: datetime) -> WaitingFor | None:  # noqa: ARG002  # as WaitView has it
        """Nothing."""
        return None


class AccountWaits:
    """What jobs wait for at the model's account. Both stores keep for some seconds what they have read."""

    def __init__(self, breakers: BreakerStore, paces: Mapping[Tier, PaceStore]) -> None:
        self._breakers = breakers
        self._paces = paces

    def reason_now(self, tier: Tier, now: datetime) -> WaitingFor | None:
        """An open breaker before a limit that is used up; None where the table does not answer."""
        try:
            breaker = self._breakers.look()
            return breaker.waiting_for if breaker else self._full(tier, now)
        except Unavailable:
            return None

    def _full(self, tier: Tier, now: datetime) -> WaitingFor | None:
        view = self._paces[tier].view()
        if view.free_at <= now + timedelta(seconds=PATIENCE):
            return None
        limits = {"requests": view.rates.requests, "tokens": view.rates.tokens}
        told = " and ".join(f"{limit:,.0f} {name}" for name, limit in limits.items() if limit)
        # Limits that only the workers' settings name are not known here.
        known = f" ({told} a minute)" if told else ""
        detail = f"the account's rate limit{known} is given to other jobs until then"
        return WaitingFor(WaitReason.RATE_LIMIT, isoformat(now), isoformat(view.free_at), detail)


def waiting_now(job: Job, waits: WaitView, now: datetime) -> Job:
    """The job with the reason why it waits, if it is pending. A stored reason counts until its time is over."""
    stored = job.waiting_for
    if job.status is not Status.PENDING:
        return job
    if stored and (stored.until is None or datetime.fromisoformat(stored.until) > now):
        return job
    since = stored.until if stored and stored.until else job.updated_at
    found = waits.reason_now(tier_at(job.flex_until, now), now)
    if found is None:
        found = WaitingFor(WaitReason.QUEUE, since, None, "the job waits for a worker")
    elif found.reason is WaitReason.RATE_LIMIT:
        found = replace(found, since=since)
    return replace(job, waiting_for=found)
