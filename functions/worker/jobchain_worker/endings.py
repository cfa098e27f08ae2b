"""How a run of a job ends: the job is completed, failed or cancelled, or released until it can go on."""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from jobchain.approvals import Approval
from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import MAX_DELAY, JobQueue, Slot
from jobchain.domain import Claim, Clock, JobError, Tier, WaitingFor, WaitReason, isoformat, tier_at
from jobchain.errors import Unavailable
from jobchain.metrics import OutcomeMeter
from jobchain.observability import Logger
from jobchain.outcomes import CANCELLED, COMPLETED, PUT_OFF, Outcome, failed, with_own_model
from jobchain_worker.billing import Billing
from jobchain_worker.job_run import Records, overdue
from jobchain_worker.retry_policy import MAX_JITTER, MIN_JITTER

# Between two looks whether another version of the worker can run the job.
_DEPLOYMENT = timedelta(minutes=1)


class Endings:
    """Ends and releases claimed jobs, with the bills of their claims, and sends the messages of those that go on."""

    def __init__(
        self,
        *,
        claims: ClaimStore,
        due: DueStore,
        queue: JobQueue,
        billing: Billing,
        clock: Clock,
        logger: Logger,
        outcome_meter: OutcomeMeter,
    ) -> None:
        """See `jobchain_worker.runner.Runner`."""
        self._claims = claims
        self._due = due
        self._queue = queue
        self._billing = billing
        self._clock = clock
        self._logger = logger
        self._count = outcome_meter

    async def complete(self, records: Records) -> None:
        """Completes the job. Raises ClaimLost."""
        await self._end(records, self._claims.finish, COMPLETED)
        self._logger.info("job completed")

    async def cancel(self, records: Records) -> None:
        """Ends the job as its caller has asked. Raises ClaimLost."""
        await self._end(records, self._claims.end_cancelled, CANCELLED)
        self._logger.info("job cancelled")

    async def fail(self, records: Records, error: JobError, waited: WaitReason | None = None) -> None:
        """Fails the job. `waited` is what it waited for, if that is not known from the claim. Raises ClaimLost."""
        claim = records.claim
        await records.persistence.write(self._claims.fail, claim, error, records.bill)
        self._billing.count(claim, records.bill)
        outcome = failed(error, waited or claim.waited, own_deadline=claim.own_deadline)
        self._count_end(claim, outcome)
        self._logger.warning("job failed", type=error.type, reason=error.message, fault=outcome.fault)

    async def _end(self, records: Records, end: Callable[..., None], outcome: Outcome) -> None:
        await records.persistence.write(end, records.claim, records.bill)
        self._billing.count(records.claim, records.bill)
        self._count_end(records.claim, outcome)

    def _count_end(self, claim: Claim, outcome: Outcome) -> None:
        """Counts how the job ended. A replay tries another model or prompt: how it ends must page no operator."""
        if not claim.is_replay:
            self._count(with_own_model(outcome) if claim.overrides.model else outcome)

    async def put_off(
        self, records: Records, delay: timedelta, reason: WaitReason, detail: str, error: JobError | None = None
    ) -> None:
        """Releases the job for `delay`. Where its deadline comes first, it fails then: with `error`, if one is given.

        Raises ClaimLost.
        """
        left = records.claim.deadline_at - self._clock()
        if left <= timedelta(0):
            await self.fail(records, error or overdue(records.claim, detail), reason)
            return
        await self.release(records, min(delay, left), {}, reason, detail)

    async def wait_for_deployment(self, records: Records, detail: str, error: JobError) -> None:
        """Releases a job that another version of the worker may be able to run. It fails with `error` at its deadline.

        Raises ClaimLost.
        """
        if records.claim.cancel_requested:
            await self.cancel(records)
            return
        self._logger.warning("job waits for another version", reason=detail)
        # The longer it has waited, the longer it waits.
        waited = self._clock() - datetime.fromisoformat(records.claim.started_at or isoformat(self._clock()))
        wait = min(_spread(max(waited / 2, _DEPLOYMENT)), MAX_DELAY)
        await self.put_off(records, wait, WaitReason.DEPLOYMENT, detail, error)

    async def release(
        self,
        records: Records,
        delay: timedelta,
        tries: Mapping[str, int],
        reason: WaitReason,
        detail: str,
        *,
        faulty: bool = False,
    ) -> None:
        """Releases the job as pending: no worker can claim it before `delay` is over. Raises ClaimLost.

        `tries` are the failed tries to store beside the earlier ones, `reason` and `detail` tell the caller why it
        waits. `faulty` if that is a fault of the service.
        """
        claim, bill = records.claim, records.bill
        now = self._clock()
        waiting = WaitingFor(reason, isoformat(now), isoformat(now + delay), detail)
        released = await records.persistence.write(
            self._claims.release, claim, delay, {**claim.tries, **tries}, bill, waiting if delay else None
        )
        self._billing.count(claim, bill)
        if not released:
            self._count_end(claim, CANCELLED)
            self._logger.info("job cancelled")
            return
        if faulty:
            self._count_end(claim, PUT_OFF)
        # The queue of the tier that the job has when its message becomes visible.
        tier = tier_at(claim.flex_until, now + delay)
        await self.requeue(claim.event_id, claim.tenant, tier, delay, records.permit.slot)

    async def park(self, records: Records, approval: Approval) -> None:
        """Releases the job until its step is decided; nothing is sent before. Raises ClaimLost."""
        claim, bill = records.claim, records.bill
        waiting = WaitingFor(
            WaitReason.APPROVAL, approval.since, approval.until, f"a decision on the step {approval.step}"
        )
        wait = datetime.fromisoformat(approval.until) - self._clock()
        parked = await records.persistence.write(
            self._claims.release, claim, wait, claim.tries, bill, waiting, approval
        )
        self._billing.count(claim, bill)
        if parked:
            self._logger.info("step waits for a decision", step=approval.step)
            return
        self._count_end(claim, CANCELLED)
        self._logger.info("job cancelled")

    async def requeue(self, event_id: str, tenant: str, tier: Tier, delay: timedelta, slot: Slot | None = None) -> None:
        """Sends the job's message, visible after `delay`. The sweeper sends it where the queue can't."""
        if delay > MAX_DELAY:
            return  # longer than the queue can delay a message: the sweeper sends it when the job is due
        try:
            await asyncio.to_thread(self._queue.send, event_id, tenant, delay, tier, slot)
        except Unavailable as error:
            log_unavailable(self._logger, "job not requeued, left to the sweeper", error)
            await asyncio.to_thread(self._due.mark_due, event_id, self._clock() + delay)


def _spread(wait: timedelta) -> timedelta:
    """About `wait`, so that jobs that were put off together do not come back together."""
    return wait * random.uniform(MIN_JITTER, MAX_JITTER)  # noqa: S311  # no secret
