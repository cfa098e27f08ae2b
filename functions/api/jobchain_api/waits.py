"""Why pending jobs wait, where that is not stored with them: worked out when they are read."""

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from jobchain.aws.parking import moved_deadline
from jobchain.domain import Job, Status, Tier, WaitingFor, WaitReason, tier_at


class WaitView(Protocol):
    """What all jobs of a tier and a model wait for now."""

    def reason_now(self, tier: Tier, now: datetime, model: str | None = None) -> WaitingFor | None:
        """The reason, None if they wait for a worker alone. `model` is None for the deployment's. Raises nothing."""
        ...


class NoWaits:
    """A deployment whose account has no limits that are known."""

    def reason_now(self, tier: Tier, now: datetime, model: str | None = None) -> WaitingFor | None:
        """Nothing."""
        del tier, now, model
        return None


def standing_still(job: Job, now: datetime) -> Job:
    """The job with the deadline that it had if it went on now: it stands still while a person decides."""
    waits = job.waiting_for
    if waits is None or waits.reason is not WaitReason.APPROVAL or job.deadline_at is None:
        return job
    return replace(job, deadline_at=moved_deadline(job.deadline_at, waits.since, now, job.expires_at))


def waiting_now(job: Job, waits: WaitView, now: datetime) -> Job:
    """The job with the reason why it waits, if it is pending. A stored reason counts until its time is over."""
    stored = job.waiting_for
    if job.status is not Status.PENDING:
        return job
    if stored and (
        stored.reason is WaitReason.APPROVAL or stored.until is None or datetime.fromisoformat(stored.until) > now
    ):
        return job
    since = stored.until if stored and stored.until else job.updated_at
    found = waits.reason_now(tier_at(job.flex_until, now), now, job.overrides.model)
    if found is None:
        found = WaitingFor(WaitReason.QUEUE, since, None, "the job waits for a worker")
    elif found.reason is WaitReason.RATE_LIMIT:
        found = replace(found, since=since)
    return replace(job, waiting_for=found)
