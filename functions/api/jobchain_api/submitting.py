"""Stores new jobs within the limits of their caller, and sends their messages; answers requests that are repeated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import compress

from jobchain.aws.admission import AdmissionStore, Outcome
from jobchain.aws.usage import UsageStore
from jobchain.domain import Clock, Job, NewJob, Status
from jobchain.errors import IdempotencyConflict, JobchainError, JobExists, LimitReached
from jobchain.webhooks.events import JOB_URLS, Receiver
from jobchain_api.auth import Caller
from jobchain_api.dispatcher import Dispatcher
from jobchain_api.job_factory import is_keyed
from jobchain_api.receivers import Receivers, no_receivers

# Longer than the request that stores a job takes to send its message.
_DISPATCH_TIME = timedelta(seconds=10)

_USED = "the idempotency key was used for another job before: use a new key"


@dataclass(frozen=True, slots=True)
class Submission:
    """The job of a request; `replayed` if an earlier request created it."""

    job: Job
    replayed: bool = False


class Submitter:
    """Submits jobs for callers."""

    def __init__(
        self,
        admission: AdmissionStore,
        usage: UsageStore,
        dispatcher: Dispatcher,
        retention: timedelta,
        clock: Clock,
        receivers: Receivers = no_receivers,
    ) -> None:
        """Jobs are kept for `retention`. `receivers` are told of their ends."""
        self._receivers = receivers
        self._admission = admission
        self._usage = usage
        self._dispatcher = dispatcher
        self._retention = retention
        self._clock = clock

    def submit_one(self, caller: Caller, new: NewJob) -> Submission:
        """Stores a job and sends its message.

        Raises JobNotFound, IdempotencyConflict, LimitReached, Unavailable.
        """
        (outcome,) = self.submit(caller, [new])
        if isinstance(outcome, JobchainError):
            raise outcome
        return outcome

    def submit(self, caller: Caller, jobs: Sequence[NewJob]) -> list[Submission | JobchainError]:
        """Stores jobs of different ids and sends their messages; the outcome of each, in order."""
        if not jobs:
            return []
        fingerprints = {new.event_id: new.fingerprint for new in jobs}
        jobs = [replace(new, receivers=self._told(new)) for new in jobs]
        submissions: list[Submission | JobchainError] = []
        unsent: list[Job] = []
        for outcome in self._store(caller, jobs):
            if isinstance(outcome, Job):
                unsent.append(outcome)
                submissions.append(Submission(outcome))
            elif not isinstance(outcome, JobExists):
                submissions.append(outcome)
            elif outcome.fingerprint != fingerprints[outcome.job.event_id]:
                submissions.append(IdempotencyConflict(_USED))
            else:
                unsent += [outcome.job] if self._may_be_unsent(outcome.job) else []
                submissions.append(Submission(outcome.job, replayed=True))
        self._dispatcher.dispatch(unsent)
        return submissions

    def _told(self, new: NewJob) -> tuple[Receiver, ...]:
        """Who is told of the job's end."""
        own = (Receiver(JOB_URLS, url=new.webhook_url),) if new.webhook_url else ()
        # The answers of a replay are to be compared, not to be used by what waits for those of jobs.
        is_replay = new.forked_from is not None and new.forked_from.replay is not None
        return own if is_replay else (*self._receivers(new.tenant, new.job_name), *own)

    def replay(self, event_id: str, fingerprint: str) -> Submission | None:
        """The answer to a request whose job is stored already, None if it is not. Raises IdempotencyConflict."""
        found = self._admission.find_many([event_id]).get(event_id)
        if found is None:
            return None
        if found.fingerprint != fingerprint:
            raise IdempotencyConflict(_USED)
        self._dispatcher.dispatch([found.job] if self._may_be_unsent(found.job) else [])
        return Submission(found.job, replayed=True)

    def _store(self, caller: Caller, jobs: Sequence[NewJob]) -> list[Outcome]:
        outcomes: list[Outcome]
        try:
            self.check_daily_budget(caller)
            outcomes = self._admission.create_many(jobs, self._retention, caller.limits)
        except LimitReached as refusal:
            outcomes = [refusal] * len(jobs)
        # A replay is answered even if a limit is reached.
        refused = [isinstance(outcome, LimitReached) for outcome in outcomes]
        keyed = [new.event_id for new in compress(jobs, refused) if is_keyed(new.event_id)]
        stored = self._admission.find_many(keyed) if keyed else {}
        return [stored.get(new.event_id, outcome) for new, outcome in zip(jobs, outcomes, strict=True)]

    def check_daily_budget(self, caller: Caller) -> None:
        """Raises LimitReached if the caller's daily budget is used up; reads nothing for a caller without one."""
        if caller.limits.has_daily_budget:
            caller.limits.check_daily_usage(self._usage.today(caller.tenant), self._clock())

    def _may_be_unsent(self, job: Job) -> bool:
        """Whether no worker has claimed the job, though its first message should have been sent by now."""
        created = datetime.fromisoformat(job.created_at)
        return job.status is Status.PENDING and not job.attempts and self._clock() - created > _DISPATCH_TIME
