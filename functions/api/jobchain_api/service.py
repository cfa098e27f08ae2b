"""What the API does, without HTTP."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from jobchain.aws.admission import AdmissionStore, Outcome
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue, QueueDepth
from jobchain.aws.usage import UsageStore
from jobchain.chains.chain import Chain
from jobchain.domain import DEADLINE, EVENT_ID, Attempt, Clock, DailyUsage, Job, NewJob, Status
from jobchain.errors import (
    IdempotencyConflict,
    JobchainError,
    JobExists,
    JobNotFound,
    LimitReached,
    Misconfigured,
)
from jobchain.observability import Logger
from jobchain_api.auth import Caller
from jobchain_api.cursor import Cursors
from jobchain_api.dispatcher import Dispatcher
from jobchain_api.job_factory import JobFactory, is_keyed
from jobchain_api.requests import CreateJob
from jobchain_api.retry_after import RetryAfter
from jobchain_api.waits import NoWaits, WaitView, waiting_now

if TYPE_CHECKING:
    from jobchain.metrics import Meter, OutcomeMeter
    from jobchain_api.health import Health

# Longer than the request that stores a job takes to send its message.
_DISPATCH_TIME = timedelta(seconds=10)

_EVENT_ID = re.compile(EVENT_ID)


@dataclass(frozen=True, slots=True)
class Submission:
    """The job of a request; `replayed` if an earlier request created it."""

    job: Job
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """A tenant's job counts and daily usage.

    `queue` and `dead_letters` concern all tenants: None for a caller that is not an operator.
    """

    unfinished: Mapping[Status, int]
    today: DailyUsage
    queue: QueueDepth | None
    dead_letters: QueueDepth | None


class HealthLook(Protocol):
    """Tells of the deployment's health."""

    def look(self) -> "Health":
        """What was found a moment ago. Raises Unavailable where the table or the queue fails."""
        ...


class JobService:
    """Creates, reads and moves the jobs of callers."""

    def __init__(
        self,
        *,
        chains: Mapping[str, Chain],
        default_chain: str,
        admission: AdmissionStore,
        jobs: JobStore,
        due: DueStore,
        usage: UsageStore,
        health: HealthLook,
        queue: JobQueue,
        dead_letters: JobQueue,
        retention: timedelta,
        clock: Clock,
        logger: Logger,
        meter: "Meter",
        outcome_meter: "OutcomeMeter",
        deadline: timedelta = DEADLINE,
        waits: WaitView | None = None,
    ) -> None:
        """`deadline` is that of a job which names none. `waits` tells what pending jobs wait for."""
        self._factory = JobFactory(chains, default_chain, deadline)
        self._waits = waits or NoWaits()
        self._dispatcher = Dispatcher(queue=queue, due=due, clock=clock, logger=logger)
        self.retry_after = RetryAfter(jobs=jobs, queue=queue, clock=clock, logger=logger)
        self._admission = admission
        self._jobs = jobs
        self._usage = usage
        self._health = health
        self._queue = queue
        self._dead_letters = dead_letters
        self._retention = retention
        self._clock = clock
        self._meter = meter
        self._outcome_meter = outcome_meter
        self._logger = logger

    # --- creating jobs -----------------------------------------------------------------------------

    def submit(self, caller: Caller, request: CreateJob, idempotency_key: str | None) -> Submission:
        """Stores the job and sends its message.

        A stored job is accepted: if its message can't be sent, the job becomes due at once and the sweeper sends it.
        Raises InvalidRequest, PayloadTooLarge, IdempotencyConflict, LimitReached, Unavailable.
        """
        new = self._factory.job(caller, request, idempotency_key)
        (outcome,) = self._submit(caller, [new])
        if isinstance(outcome, JobchainError):
            raise outcome
        return outcome

    def submit_batch(
        self, caller: Caller, entries: Sequence[JsonValue], idempotency_key: str | None
    ) -> list[Submission | JobchainError]:
        """Submits many jobs; the outcome of each, in order. One that is refused affects no other.

        With an `idempotency_key`, an entry without one of its own gets one derived from it and its place in the batch.
        """
        prepared = [
            self._factory.job_of_entry(caller, entry, idempotency_key, place) for place, entry in enumerate(entries)
        ]
        first: dict[str, NewJob] = {}
        for new in prepared:
            if isinstance(new, NewJob):
                first.setdefault(new.event_id, new)
        submitted = self._submit(caller, list(first.values()))
        self._report_misconfigured(submitted)
        outcomes = dict(zip(first, submitted, strict=True))
        return [
            new if isinstance(new, JobchainError) else _repeated(new, first[new.event_id], outcomes[new.event_id])
            for new in prepared
        ]

    def _report_misconfigured(self, submitted: Sequence[Submission | JobchainError]) -> None:
        """Logs that the table refuses this deployment. Raises it where it stored no job: then the request failed."""
        refused = next((outcome for outcome in submitted if isinstance(outcome, Misconfigured)), None)
        if refused is None:
            return
        if not any(isinstance(outcome, Submission) for outcome in submitted):
            raise refused
        log_unavailable(self._logger, "some jobs of a batch not stored", refused)

    def _submit(self, caller: Caller, jobs: Sequence[NewJob]) -> list[Submission | JobchainError]:
        """Stores jobs of different ids and sends their messages."""
        if not jobs:
            return []
        fingerprints = {new.event_id: new.fingerprint for new in jobs}
        submissions: list[Submission | JobchainError] = []
        unsent: list[Job] = []
        for outcome in self._store(caller, jobs):
            if isinstance(outcome, Job):
                unsent.append(outcome)
                submissions.append(Submission(outcome))
            elif not isinstance(outcome, JobExists):
                submissions.append(outcome)
            elif outcome.fingerprint != fingerprints[outcome.job.event_id]:
                why = "the idempotency key was used for another job before: use a new key"
                submissions.append(IdempotencyConflict(why))
            else:
                unsent += [outcome.job] if self._may_be_unsent(outcome.job) else []
                submissions.append(Submission(outcome.job, replayed=True))
        self._dispatcher.dispatch(unsent)
        return submissions

    def _store(self, caller: Caller, jobs: Sequence[NewJob]) -> list[Outcome]:
        outcomes: list[Outcome]
        try:
            self._check_daily_budget(caller)
            outcomes = self._admission.create_many(jobs, self._retention, caller.limits)
        except LimitReached as refusal:
            outcomes = [refusal] * len(jobs)
        # A replay is answered even if a limit is reached.
        refused = [isinstance(outcome, LimitReached) for outcome in outcomes]
        keyed = [new.event_id for new in compress(jobs, refused) if is_keyed(new.event_id)]
        stored = self._admission.find_many(keyed) if keyed else {}
        return [stored.get(new.event_id, outcome) for new, outcome in zip(jobs, outcomes, strict=True)]

    def _check_daily_budget(self, caller: Caller) -> None:
        """Raises LimitReached if the caller's daily budget is used up; reads nothing for a caller without one."""
        if caller.limits.has_daily_budget:
            caller.limits.check_daily_usage(self._usage.today(caller.tenant), self._clock())

    def _may_be_unsent(self, job: Job) -> bool:
        """Whether no worker has claimed the job, though its first message should have been sent by now."""
        created = datetime.fromisoformat(job.created_at)
        return job.status is Status.PENDING and not job.attempts and self._clock() - created > _DISPATCH_TIME

    # --- one job -----------------------------------------------------------------------------------

    def get(self, caller: Caller, event_id: str) -> Job:
        """The caller's job. Raises JobNotFound, Unavailable."""
        return self._told(self._jobs.get(caller.tenant, _checked(event_id)))

    def get_with_attempts(self, caller: Caller, event_id: str) -> tuple[Job, list[Attempt]]:
        """The caller's job, and the newest of its failed calls, the oldest first. Raises JobNotFound, Unavailable."""
        job, attempts = self._jobs.get_with_attempts(caller.tenant, _checked(event_id))
        return self._told(job), attempts

    def _told(self, job: Job) -> Job:
        self.retry_after.learn(job)
        return waiting_now(job, self._waits, self._clock())

    def cancel(self, caller: Caller, event_id: str) -> Job:
        """Cancels a job at once, or before its next step. Raises JobNotFound, JobIsFinal, Unavailable."""
        return self._jobs.cancel(caller.tenant, _checked(event_id), self._meter, self._outcome_meter)

    def retry(self, caller: Caller, event_id: str) -> Job:
        """Makes a failed or cancelled job pending again; its completed steps stay. One that waits need wait no longer.

        Raises JobNotFound, JobIsNotFinal, JobIsFinal, LimitReached, Unavailable.
        """
        _checked(event_id)
        self._check_daily_budget(caller)
        job = self._jobs.retry(caller.tenant, event_id, caller.limits)
        self._dispatcher.dispatch([job])
        return self._told(job)

    def delete(self, caller: Caller, event_id: str) -> None:
        """Deletes a final job. Raises JobNotFound, JobIsNotFinal, Unavailable."""
        self._jobs.delete(caller.tenant, _checked(event_id))

    # --- all jobs of a tenant ----------------------------------------------------------------------

    def list(
        self, caller: Caller, limit: int, cursor: str | None, status: Status | None, job_name: str | None
    ) -> tuple[list[Job], str | None]:
        """A page of the caller's jobs, the newest first, and the cursor of the next page.

        Raises InvalidRequest for a cursor that is not of this list, and Unavailable.
        """
        scope = caller.tenant, status or "", job_name or ""
        before = self._cursors.read(cursor, *scope) if cursor is not None else None
        jobs, position = self._jobs.recent(caller.tenant, limit, before, status, job_name)
        jobs = [self._told(job) for job in jobs]
        return jobs, self._cursors.write(position, *scope) if position else None

    @cached_property
    def _cursors(self) -> Cursors:
        return Cursors(self._jobs.cursor_secret())

    def stats(self, caller: Caller) -> Stats:
        """The caller's job counts and daily usage. Raises Unavailable."""
        return Stats(
            unfinished=self._jobs.unfinished(caller.tenant),
            today=self._usage.today(caller.tenant),
            queue=self._queue.depth() if caller.operator else None,
            dead_letters=self._dead_letters.depth() if caller.operator else None,
        )

    # --- the deployment ----------------------------------------------------------------------------

    def health(self) -> "Health":
        """What was found of the deployment a moment ago. Raises Unavailable where the table or the queue fails."""
        return self._health.look()


def _checked(event_id: str) -> str:
    if not _EVENT_ID.fullmatch(event_id):
        raise JobNotFound("malformed event_id: use the event_id that was returned when the job was created")
    return event_id


def _repeated(new: NewJob, first: NewJob, outcome: Submission | JobchainError) -> Submission | JobchainError:
    """The outcome of an entry of a batch, given the outcome of the first entry with its id."""
    if new is first or isinstance(outcome, JobchainError):
        return outcome
    if new.fingerprint != first.fingerprint:
        return IdempotencyConflict(
            "the idempotency key is used for another job earlier in the batch: use a new key for each job"
        )
    return Submission(outcome.job, replayed=True)
