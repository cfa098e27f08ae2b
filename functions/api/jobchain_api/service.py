"""What the API does, without HTTP."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.decisions import DecisionStore
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobDetails, JobStore
from jobchain.aws.listing import JobFilter
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue
from jobchain.aws.usage import UsageStore
from jobchain.chains.chain import Chain
from jobchain.daily_usage import DailyUsage
from jobchain.domain import DEADLINE, EVENT_ID, Clock, Job, NewJob
from jobchain.errors import (
    IdempotencyConflict,
    JobchainError,
    JobNotFound,
    Misconfigured,
)
from jobchain.observability import Logger
from jobchain_api.auth import Caller
from jobchain_api.cursor import Cursors
from jobchain_api.dispatcher import Dispatcher
from jobchain_api.job_factory import JobFactory, new_event_id
from jobchain_api.job_urls import CheckUrl, no_job_urls
from jobchain_api.receivers import Receivers, no_receivers
from jobchain_api.requests import CreateJob, DecideStep, ForkJob
from jobchain_api.retry_after import RetryAfter
from jobchain_api.stats import Stats
from jobchain_api.submitting import Submission, Submitter
from jobchain_api.waits import NoWaits, WaitView, standing_still, waiting_now

if TYPE_CHECKING:
    from jobchain.aws.history import HistoryPage
    from jobchain.metrics import Meter, OutcomeMeter
    from jobchain_api.health import Health

_EVENT_ID = re.compile(EVENT_ID)


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
        decisions: DecisionStore,
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
        receivers: Receivers = no_receivers,
        check_url: CheckUrl = no_job_urls,
    ) -> None:
        """`deadline` is that of a job which names none. `waits` tells what pending jobs wait for.

        `receivers` are told of the ends of jobs, and so are the URLs that they name, which `check_url` checks.
        """
        self._chains = chains
        self._deadline = deadline
        self._factory = JobFactory(chains, default_chain, deadline, check_url)
        self._check_url = check_url
        self._waits = waits or NoWaits()
        self._dispatcher = Dispatcher(queue=queue, due=due, clock=clock, logger=logger)
        self.retry_after = RetryAfter(jobs=jobs, queue=queue, clock=clock, logger=logger)
        self._submitter = Submitter(admission, usage, self._dispatcher, retention, clock, receivers)
        self._jobs = jobs
        self._decisions = decisions
        self._usage = usage
        self._health = health
        self._queue = queue
        self._dead_letters = dead_letters
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
        return self._submitter.submit_one(caller, new)

    def fork(self, caller: Caller, event_id: str, request: ForkJob, idempotency_key: str | None) -> Submission:
        """Stores a job that begins with copies of outputs of the caller's job `event_id`, and sends its message.

        Raises JobNotFound, JobCannotBeForked, InvalidRequest, PayloadTooLarge, IdempotencyConflict, LimitReached,
        Unavailable.
        """
        # Imported at its first use: a new environment of the api starts without it.
        from jobchain_api.forking import fork_fingerprint, fork_of  # noqa: PLC0415

        own = new_event_id(caller.tenant, idempotency_key)
        # A replay is answered also where the job has been deleted since.
        fingerprint = fork_fingerprint(_checked(event_id), request)
        if idempotency_key is not None and (replay := self._submitter.replay(own, fingerprint)):
            return replay
        if request.webhook_url is not None:
            self._check_url(caller, request.webhook_url)
        details = self._jobs.details(caller.tenant, event_id, attempts=False, definitions=True)
        new = fork_of(details, self._chains, caller, request, own, self._deadline)
        return self._submitter.submit_one(caller, new)

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
        submitted = self._submitter.submit(caller, list(first.values()))
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

    # --- one job -----------------------------------------------------------------------------------

    def get(self, caller: Caller, event_id: str) -> Job:
        """The caller's job. Raises JobNotFound, Unavailable."""
        return self._told(self._jobs.get(caller.tenant, _checked(event_id)))

    def details(self, caller: Caller, event_id: str, *, attempts: bool, definitions: bool = False) -> JobDetails:
        """The caller's job with its payload, and with its failed calls and its chain's definitions if they are wanted.

        Raises JobNotFound, Unavailable.
        """
        found = self._jobs.details(caller.tenant, _checked(event_id), attempts=attempts, definitions=definitions)
        return replace(found, job=self._told(found.job))

    def history(self, caller: Caller, event_id: str, after: str | None, limit: int) -> "HistoryPage":
        """A page of the job's events that follow the position `after`. Raises JobNotFound, InvalidRequest, Unavailable.

        Its job is told what it waits for.
        """
        page = self._jobs.history(caller.tenant, _checked(event_id), after, limit)
        return replace(page, job=self._told(page.job))

    def _told(self, job: Job) -> Job:
        self.retry_after.learn(job)
        now = self._clock()
        return waiting_now(standing_still(job, now), self._waits, now, self._chains)

    def cancel(self, caller: Caller, event_id: str) -> Job:
        """Cancels a job at once, or before its next step. Raises JobNotFound, JobIsFinal, Unavailable."""
        return self._jobs.cancel(caller.tenant, _checked(event_id), self._meter, self._outcome_meter)

    def retry(self, caller: Caller, event_id: str) -> Job:
        """Makes a failed or cancelled job pending again; its completed steps stay. One that waits need wait no longer.

        Raises JobNotFound, JobIsNotFinal, JobIsFinal, LimitReached, Unavailable.
        """
        _checked(event_id)
        self._submitter.check_daily_budget(caller)
        job = self._jobs.retry(caller.tenant, event_id, caller.limits)
        self._dispatcher.dispatch([job])
        return self._told(job)

    def decide(self, caller: Caller, event_id: str, step: str, request: DecideStep) -> Job:
        """Decides a step for which the job waits; the job continues, or fails. The same decision again changes nothing.

        Raises JobNotFound, StepDoesNotWait, DecidedAlready, DecisionTooLate, InvalidRequest, Unavailable.
        """
        # Imported at its first use: a new environment of the api starts without it.
        from jobchain_api.deciding import decision_of  # noqa: PLC0415

        decided = decision_of(self._jobs, self._chains, caller, _checked(event_id), step, request)
        job, goes_on = self._decisions.decide(caller.tenant, event_id, step, decided, self._outcome_meter)
        if goes_on:
            self._dispatcher.dispatch([job])
        return self._told(job)

    def delete(self, caller: Caller, event_id: str) -> None:
        """Deletes a final job. Raises JobNotFound, JobIsNotFinal, Unavailable."""
        self._jobs.delete(caller.tenant, _checked(event_id))

    # --- all jobs of a tenant ----------------------------------------------------------------------

    def list(self, caller: Caller, limit: int, cursor: str | None, wanted: JobFilter) -> tuple[list[Job], str | None]:
        """A page of the caller's jobs that are `wanted`, the newest first, and the cursor of the next page.

        Raises InvalidRequest for a cursor that is not of this list, and Unavailable.
        """
        scope = caller.tenant, *wanted.scope
        before = self._cursors.read(cursor, *scope) if cursor is not None else None
        jobs, position = self._jobs.recent(caller.tenant, limit, before, wanted)
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

    @property
    def today(self) -> date:
        """The day (UTC) by this service's clock."""
        return self._clock().date()

    def usage(self, caller: Caller, first: date, last: date) -> tuple[Sequence[DailyUsage], date | None]:
        """The caller's usage of these days (UTC), and the day to go on with if they are too many.

        Raises Unavailable.
        """
        return self._usage.days(caller.tenant, first, last)

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
