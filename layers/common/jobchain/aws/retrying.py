"""The retry of a job: whether it may be made, and the write that makes the job pending again."""

from datetime import datetime, timedelta

from jobchain.aws.attributes import Item
from jobchain.aws.items import deadline_at, job_key, unchanged
from jobchain.aws.meta import REMOVED_BY_RETRY, dispatched, flex_again
from jobchain.aws.parking import is_parked
from jobchain.aws.writes import Write, epoch, epoch_ms, update
from jobchain.domain import DEADLINE, DailyBudget, Job, Status, Tier, WaitReason, isoformat
from jobchain.errors import JobIsFinal, JobIsNotFinal

# A retried job may wait for its model for half a day at a time.
_LEFT_FOR_A_RETRY = timedelta(days=3)


def is_waiting(meta: Item, now: datetime) -> bool:
    """Whether the job is pending, and no worker may claim it before a later time; not if a decision ends its wait."""
    waits = meta["status"] == Status.PENDING and int(meta.get("not_before", 0)) > epoch_ms(now)
    return waits and not is_parked(meta)


def check_retry(job: Job, now: datetime) -> None:
    """Raises JobIsFinal or JobIsNotFinal where the job cannot be retried."""
    if job.status is Status.COMPLETED:
        raise JobIsFinal(f"job {job.event_id} is completed: there is nothing to retry")
    if not job.status.final:
        what = "is being run" if job.status is Status.PROCESSING else "already waits for its turn"
        if job.waiting_for and job.waiting_for.reason is WaitReason.APPROVAL:
            what = "waits for a decision"
        raise JobIsNotFinal(f"job {job.event_id} is {job.status}: it {what}, so there is nothing to retry")
    if job.expires_at < epoch(now + _LEFT_FOR_A_RETRY):
        raise JobIsFinal(f"job {job.event_id} is about to be erased: create a new job")


def pending_again(job: Job, meta: Item, budget: DailyBudget, now: datetime) -> Write:
    """The update that makes a final job pending, where it has not changed since it was read."""
    flex = flex_again(job.event_id, now + job.flex_for) if job.tier is Tier.FLEX else {}
    deadline = job.deadline or DEADLINE
    limits = {"tokens_per_day": budget.tokens, "cost_usd_per_day": budget.cost_usd}
    pending = {"status": Status.PENDING, "updated_at": isoformat(now), **dispatched(job.event_id, now), **flex}
    pending |= {
        "deadline_seconds": int(deadline.total_seconds()),
        "deadline_at": deadline_at(now, deadline, job.expires_at),
    }
    pending |= {name: value for name, value in limits.items() if value is not None}
    removed = (*REMOVED_BY_RETRY, *(name for name, value in limits.items() if value is None))
    return update(job_key(job.event_id), *unchanged(meta.get("token", "")), pending, removed)
