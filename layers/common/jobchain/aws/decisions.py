"""Decides parked steps: for a caller, and for the sweeper where no decision has come in time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from jobchain.approvals import REJECTED, Approval, Decided, Decision
from jobchain.aws.items import MOVE_TRIES, StoredJob, job_key, read_job, unchanged
from jobchain.aws.listing import is_replay
from jobchain.aws.meta import job_of, ready_now
from jobchain.aws.outbox import Announce, no_announcement
from jobchain.aws.parking import approvals_of, deciding, open_approval, unsent, woken
from jobchain.aws.settling import end_unheld
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.writes import update
from jobchain.domain import Clock, Job, JobError, Status, WaitReason, isoformat
from jobchain.errors import DecidedAlready, DecisionTooLate, JobNotFound, StepDoesNotWait, Unavailable
from jobchain.outcomes import Outcome, failed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DecisionStore:
    """Decides parked steps for callers. It raises Unavailable where the table does not answer."""

    def __init__(
        self, client: "DynamoDBClient", table: str, clock: Clock, announce: Announce = no_announcement
    ) -> None:
        """`announce` sends the messages of the events of jobs that fail."""
        self._table = Table(client, table)
        self._clock = clock
        self._announce = announce

    def decide(
        self, tenant: str, event_id: str, step: str, decided: Decided, count: Callable[[Outcome], None] = lambda _: None
    ) -> tuple[Job, bool]:
        """Stores the decision on a step for which the tenant's job waits. Gives the job, and whether it goes on now.

        The job continues with the step's value, or fails where it is rejected: `count` is told of that. The same
        decision again changes nothing. Raises JobNotFound, StepDoesNotWait, DecidedAlready, DecisionTooLate.
        """
        for _ in range(MOVE_TRIES):
            job = read_job(self._table, event_id)
            if job is None or job.meta["tenant"] != tenant:
                raise JobNotFound(f"there is no job {event_id}")
            now = self._clock()
            approval = _waiting(job, step, decided, now)
            if approval is None:
                # Where no worker has come since, its message may not have been sent.
                return job_of(job), job.meta["status"] == Status.PENDING and open_approval(job) is None
            try:
                goes_on = decide(self._table, job, approval, replace(decided, at=isoformat(now)), now, self._announce)
            except (ConditionFailed, TransactionCanceled):
                continue  # it was decided, cancelled or erased in between: look again
            if not goes_on and not is_replay(job.meta):
                count(failed(rejection(approval, decided)))
            stored = read_job(self._table, event_id)
            if stored is None:
                raise JobNotFound(f"there is no job {event_id}")
            return job_of(stored), goes_on
        raise Unavailable(f"job {event_id} changes too fast: try again")


def _waiting(job: StoredJob, step: str, decided: Decided, now: datetime) -> Approval | None:
    """The step, which waits for the decision; None where the same was decided before. Raises the errors of `decide`."""
    approval = open_approval(job)
    if approval and approval.step == step:
        if now >= datetime.fromisoformat(approval.until):
            raise _too_late(approval)
        return approval
    before = next((each for each in reversed(approvals_of(job)) if each.step == step), None)
    if before and before.decided:
        if before.decided.at_deadline:
            raise _too_late(before)
        if before.decided.same_as(decided):
            return None
        raise DecidedAlready(f"the step {step} was decided already ({before.decided.decision}): it stays as it is")
    instead = f"decide {approval.step}, which does" if approval else "no step of the job does"
    raise StepDoesNotWait(f"the step {step} does not wait for a decision: {instead}")


def _too_late(approval: Approval) -> DecisionTooLate:
    return DecisionTooLate(
        f"the step {approval.step} could be decided until {approval.until}: now it is decided as its chain says, "
        f"{approval.on_deadline}"
    )


def decide(
    table: Table, job: StoredJob, approval: Approval, decided: Decided, now: datetime, announce: Announce
) -> bool:
    """Decides the step for which the job waits, as it was read: whether the job continues.

    Raises ConditionFailed or TransactionCanceled where the job has changed since.
    """
    meta, event_id = job.meta, job.meta["pk"].removeprefix("JOB#")
    stored = deciding(job, approval, decided)
    if decided.decision is Decision.REJECT:
        end_unheld(table, job, Status.FAILED, now, announce, rejection(approval, decided), beside=[stored])
        return False
    changes, removed = ready_now(meta, now)
    changes |= woken(meta, approval.since, now)
    if decided.at_deadline:
        # The sweeper sends the message, in its next run.
        changes |= unsent(event_id, now)
    go_on = update(job_key(event_id), *unchanged(meta["token"]), changes, removed)
    table.transact(lambda: [go_on, stored])
    return True


def decide_overdue(table: Table, event_id: str, token: str, now: datetime, announce: Announce) -> Outcome | None:
    """Decides a step as its chain says, where no decision has come in time; `token` is that of META as it was read.

    The outcome of a job that fails by that and is no replay, else None. Raises ConditionFailed or TransactionCanceled
    where the job has changed since, or its time is not over.
    """
    job = read_job(table, event_id)
    approval = open_approval(job) if job and job.meta["token"] == token else None
    if job is None or approval is None or now < datetime.fromisoformat(approval.until):
        raise ConditionFailed(job.meta if job else None)
    decided = Decided(Decision(approval.on_deadline), at=isoformat(now), at_deadline=True)
    if decide(table, job, approval, decided, now, announce) or is_replay(job.meta):
        return None
    return failed(rejection(approval, decided), WaitReason.APPROVAL)


def rejection(approval: Approval, decided: Decided) -> JobError:
    """The error of the job. It holds no comment, which may be as long as META."""
    how = f"was not approved until {approval.until}" if decided.at_deadline else "was rejected"
    return JobError(REJECTED, f"the step {approval.step} {how}", approval.step)
