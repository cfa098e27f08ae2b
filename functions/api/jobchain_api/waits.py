"""Why pending jobs wait, where that is not stored with them: worked out when they are read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from jobchain.aws.parking import moved_deadline
from jobchain.domain import Job, Status, Tier, WaitingFor, WaitReason, tier_at

if TYPE_CHECKING:
    from jobchain.chains.chain import Chain


Beside = Callable[[str], str | None]
"""Gives the model with which a job continues while the deployment's is refused, which it is told; None: no other."""


def no_other(_deployments: str) -> str | None:
    """A job that can do without no model."""
    return None


class WaitView(Protocol):
    """What all jobs of a tier and a model wait for now."""

    def reason_now(
        self, tier: Tier, now: datetime, model: str | None = None, beside: Beside = no_other
    ) -> WaitingFor | None:
        """The reason, None if they wait for a worker alone. `model` is None for the deployment's. Raises nothing.

        `beside` is asked only where the deployment's model is refused: it may have to load the job's chain.
        """
        ...


class NoWaits:
    """A deployment whose account has no limits that are known."""

    def reason_now(
        self, tier: Tier, now: datetime, model: str | None = None, beside: Beside = no_other
    ) -> WaitingFor | None:
        """Nothing."""
        del tier, now, model, beside
        return None


def standing_still(job: Job, now: datetime) -> Job:
    """The job with the deadline that it had if it went on now: it stands still while a person decides."""
    waits = job.waiting_for
    if waits is None or waits.reason is not WaitReason.APPROVAL or job.deadline_at is None:
        return job
    return replace(job, deadline_at=moved_deadline(job.deadline_at, waits.since, now, job.expires_at))


def waiting_now(job: Job, waits: WaitView, now: datetime, chains: "Mapping[str, Chain]") -> Job:
    """The job with the reason why it waits, if it is pending. A stored reason counts until its time is over."""
    stored = job.waiting_for
    if job.status is not Status.PENDING:
        return job
    if stored and (
        stored.reason is WaitReason.APPROVAL or stored.until is None or datetime.fromisoformat(stored.until) > now
    ):
        return job
    since = stored.until if stored and stored.until else job.updated_at
    tier = tier_at(job.flex_until, now)
    found = waits.reason_now(tier, now, job.overrides.model, lambda model: _beside(job, tier, model, chains))
    if found is None:
        found = WaitingFor(WaitReason.QUEUE, since, None, "the job waits for a worker")
    elif found.reason is WaitReason.RATE_LIMIT:
        found = replace(found, since=since)
    return replace(job, waiting_for=found)


def _beside(job: Job, tier: Tier, deployments: str, chains: "Mapping[str, Chain]") -> str | None:
    """See `Beside`."""
    from jobchain.chains.model_choice import fallback_of_job, paced_model  # noqa: PLC0415  # an outage's jobs need it

    chain = chains.get(job.job_name)
    asked = paced_model(chain, job.overrides.model, deployments)
    if asked != deployments:
        return asked
    completed = {step.name for step in job.steps}
    return fallback_of_job(chain, job.overrides.model, tier, completed, deployments)
