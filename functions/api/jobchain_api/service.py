"""What the API does, apart from HTTP."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import compress
from uuid import UUID, uuid4, uuid5

from pydantic import JsonValue, ValidationError

from jobchain.aws.admission import AdmissionStore, Outcome
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.queue import JobQueue, QueueDepth, batches
from jobchain.aws.usage import UsageStore
from jobchain.chains import CHAINS
from jobchain.domain import EVENT_ID, Clock, DailyUsage, Job, NewJob, Status, Tier
from jobchain.errors import (
    BodyTooLarge,
    IdempotencyConflict,
    InvalidRequest,
    JobchainError,
    JobExists,
    JobNotFound,
    LimitReached,
    Unavailable,
)
from jobchain.observability import Logger, describe
from jobchain_api.auth import Caller
from jobchain_api.cursor import Cursors
from jobchain_api.schemas import BatchEntry, CreateJob, ModelView, explain

MAX_PAYLOAD_BYTES = 256 * 1024

# Longer than the request that stores a job takes to send it.
_DISPATCH_TIME = timedelta(seconds=10)

# The namespace of the ids that are made from idempotency keys.
_KEY_NAMESPACE = UUID("8f1a4f5e-6d0c-4c5b-9a55-6f6f62636861")
_KEYED_VERSION = 5
IDEMPOTENCY_KEY = r"^[\x21-\x7e]{1,255}$"
"""What an idempotency key looks like."""

_EVENT_ID = re.compile(EVENT_ID)


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that a request stands for; `replayed` where an earlier request made it."""

    job: Job
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """How a tenant's jobs stand. `queue` and `dead_letters` concern all tenants: None for callers that may not know."""

    unfinished: dict[Status, int]
    today: DailyUsage
    queue: QueueDepth | None
    dead_letters: QueueDepth | None


class JobService:
    """Takes jobs in and tells how they stand."""

    def __init__(
        self,
        *,
        admission: AdmissionStore,
        jobs: JobStore,
        due: DueStore,
        usage: UsageStore,
        model_checks: ModelCheckStore,
        queue: JobQueue,
        dead_letters: JobQueue,
        retention: timedelta,
        clock: Clock,
        logger: Logger,
    ) -> None:
        self._admission = admission
        self._jobs = jobs
        self._due = due
        self._usage = usage
        self._model_checks = model_checks
        self._queue = queue
        self._dead_letters = dead_letters
        self._retention = retention
        self._clock = clock
        self._logger = logger

    # --- taking jobs in ----------------------------------------------------------------------------

    def submit(self, caller: Caller, request: CreateJob, idempotency_key: str | None) -> Submission:
        """Stores the job and sends it to a worker.

        Once it is stored it is accepted: where the send fails the job falls due at once, and is sent later.
        Raises InvalidRequest, BodyTooLarge, IdempotencyConflict, LimitReached, Unavailable.
        """
        _check_key("Idempotency-Key", idempotency_key)
        new = _new_job(caller.tenant, request, _event_id(caller.tenant, idempotency_key))
        (outcome,) = self._submit(caller, [new])
        if isinstance(outcome, JobchainError):
            raise outcome
        return outcome

    def submit_batch(
        self, caller: Caller, entries: Sequence[JsonValue], idempotency_key: str | None
    ) -> list[Submission | JobchainError]:
        """The same for many: what became of each, in order, which harms no other. Raises InvalidRequest.

        With an `idempotency_key` an entry that has none of its own gets one from it and its place in the batch.
        """
        _check_key("Idempotency-Key", idempotency_key)
        prepared = [_prepare(caller.tenant, entry, idempotency_key, place) for place, entry in enumerate(entries)]
        first: dict[str, NewJob] = {}
        for new in prepared:
            if isinstance(new, NewJob):
                first.setdefault(new.event_id, new)
        outcomes = dict(zip(first, self._submit(caller, list(first.values())), strict=True))
        return [
            new if isinstance(new, JobchainError) else _repeated(new, first[new.event_id], outcomes[new.event_id])
            for new in prepared
        ]

    def _submit(self, caller: Caller, jobs: Sequence[NewJob]) -> list[Submission | JobchainError]:
        """Stores and sends jobs of different ids."""
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
                why = "this Idempotency-Key came with another body before: use a new key"
                submissions.append(IdempotencyConflict(why))
            else:
                unsent += [outcome.job] if self._may_be_unsent(outcome.job) else []
                submissions.append(Submission(outcome.job, replayed=True))
        self._dispatch(unsent)
        return submissions

    def _store(self, caller: Caller, jobs: Sequence[NewJob]) -> list[Outcome]:
        outcomes: list[Outcome]
        try:
            self._check_day(caller)
            outcomes = self._admission.create_many(jobs, self._retention, caller.limits)
        except LimitReached as refusal:
            outcomes = [refusal] * len(jobs)
        # No limit keeps a replay out.
        refused = [isinstance(outcome, LimitReached) for outcome in outcomes]
        keyed = [new.event_id for new in compress(jobs, refused) if UUID(new.event_id).version == _KEYED_VERSION]
        stored = self._admission.find_many(keyed) if keyed else {}
        return [stored.get(new.event_id, outcome) for new, outcome in zip(jobs, outcomes, strict=True)]

    def _check_day(self, caller: Caller) -> None:
        """Raises LimitReached where the caller's budget of the day is used up; reads nothing where there is none."""
        if caller.limits.has_daily_budget:
            caller.limits.check_daily_usage(self._usage.today(caller.tenant), self._clock())

    def _may_be_unsent(self, job: Job) -> bool:
        """Whether no worker has taken the job, though its first message is no longer on its way."""
        created = datetime.fromisoformat(job.created_at)
        return job.status is Status.PENDING and not job.attempts and self._clock() - created > _DISPATCH_TIME

    def _send(self, jobs: Sequence[Job]) -> list[str]:
        """Sends jobs; gives the ids of those that the queue does not take."""
        if len(jobs) == 1:
            return self._send_one(jobs[0])
        refused: list[str] = []
        answers = True
        for tier in Tier:
            for batch in batches([job for job in jobs if job.tier is tier]):
                ids = [job.event_id for job in batch]
                # Once it takes none of a batch, nobody shall wait for it batch after batch.
                failed = self._queue.send_batch([(job.event_id, job.tenant) for job in batch], tier) if answers else ids
                answers = len(failed) < len(ids)
                refused += failed
        return refused

    def _send_one(self, job: Job) -> list[str]:
        try:
            self._queue.send(job.event_id, job.tenant, tier=job.tier)
        except Unavailable as error:
            self._logger.warning("the queue does not answer", extra=describe(error))
            return [job.event_id]
        return []

    def _dispatch(self, jobs: Sequence[Job]) -> None:
        """Sends jobs; those that the queue does not take fall due at once."""
        refused = self._send(jobs)
        if not refused:
            return
        self._logger.warning("jobs accepted, not sent yet", jobs=len(refused))
        try:
            for event_id in refused:
                self._due.mark_due(event_id, self._clock())
        except Unavailable as error:
            # They were stored as due a little later, so this costs time, not the jobs.
            self._logger.warning("jobs not marked due", extra=describe(error))

    # --- one job -----------------------------------------------------------------------------------

    def get(self, caller: Caller, event_id: str) -> Job:
        """The caller's job. Raises JobNotFound, Unavailable."""
        return self._jobs.get(caller.tenant, _checked(event_id))

    def cancel(self, caller: Caller, event_id: str) -> Job:
        """The job, which ends at once or before its next step. Raises JobNotFound, JobIsFinal, Unavailable."""
        return self._jobs.cancel(caller.tenant, _checked(event_id))

    def retry(self, caller: Caller, event_id: str) -> Job:
        """The job, pending again with its steps.

        Raises JobNotFound, JobIsNotFinal, JobIsFinal, LimitReached, Unavailable.
        """
        _checked(event_id)
        self._check_day(caller)
        job = self._jobs.retry(caller.tenant, event_id, caller.limits)
        self._dispatch([job])
        return job

    def delete(self, caller: Caller, event_id: str) -> None:
        """Erases a job that has ended. Raises JobNotFound, JobIsNotFinal, Unavailable."""
        self._jobs.delete(caller.tenant, _checked(event_id))

    # --- all of a tenant's jobs --------------------------------------------------------------------

    def list(
        self, caller: Caller, limit: int, cursor: str | None, status: Status | None, job_name: str | None
    ) -> tuple[list[Job], str | None]:
        """A page of the caller's jobs, the newest first, and the cursor of the next one.

        Raises InvalidRequest for a cursor that this list did not give, and Unavailable.
        """
        scope = caller.tenant, status or "", job_name or ""
        before = self._cursors.read(cursor, *scope) if cursor is not None else None
        jobs, position = self._jobs.recent(caller.tenant, limit, before, status, job_name)
        return jobs, self._cursors.write(position, *scope) if position else None

    @cached_property
    def _cursors(self) -> Cursors:
        return Cursors(self._jobs.cursor_secret())

    def stats(self, caller: Caller) -> Stats:
        """How the caller's jobs stand. Raises Unavailable."""
        return Stats(
            unfinished=dict(self._jobs.unfinished(caller.tenant)),
            today=self._usage.today(caller.tenant),
            queue=self._queue.depth() if caller.operator else None,
            dead_letters=self._dead_letters.depth() if caller.operator else None,
        )

    def model(self) -> ModelView | None:
        """What the last look at the model's server found, None where nobody has looked yet. Raises Unavailable."""
        check = self._model_checks.last()
        return ModelView.of(check, self._clock().date()) if check else None

    def outages(self) -> dict[str, str]:
        """What does not answer now, by name: empty where all is well."""
        found = {}
        for name, ask in (("table", self._jobs.ping), ("queue", self._queue.depth)):
            try:
                ask()
            except Unavailable as error:
                found[name] = str(error)
        return found


def _checked(event_id: str) -> str:
    if not _EVENT_ID.fullmatch(event_id):
        raise JobNotFound("event_id is not one of ours: use the event_id that POST /jobs answered with")
    return event_id


def _event_id(tenant: str, idempotency_key: str | None, *place: str) -> str:
    """A random id, or the one that stands for the key, and for its place in a batch where it has one."""
    if idempotency_key is None:
        return str(uuid4())
    return str(uuid5(_KEY_NAMESPACE, "\0".join((tenant, idempotency_key, *place))))


def _check_key(field: str, idempotency_key: str | None) -> None:
    if idempotency_key is not None and not re.fullmatch(IDEMPOTENCY_KEY, idempotency_key):
        raise InvalidRequest({field: "must be 1 to 255 visible ASCII characters: use a UUID, for example"})


def _prepare(tenant: str, entry: JsonValue, batch_key: str | None, place: int) -> NewJob | JobchainError:
    """The job that an entry of a batch asks for, or what is wrong with it."""
    try:
        request = BatchEntry.model_validate(entry)
        _check_key("idempotency_key", request.idempotency_key)
        own = request.idempotency_key
        event_id = _event_id(tenant, own) if own is not None else _event_id(tenant, batch_key, str(place))
        return _new_job(tenant, request, event_id)
    except ValidationError as error:
        return InvalidRequest(explain(error.errors(include_input=False)))
    except (InvalidRequest, BodyTooLarge) as error:
        return error


def _repeated(new: NewJob, first: NewJob, outcome: Submission | JobchainError) -> Submission | JobchainError:
    """What becomes of an entry of a batch, given that of the first one with its id."""
    if new is first or isinstance(outcome, JobchainError):
        return outcome
    if new.fingerprint != first.fingerprint:
        return IdempotencyConflict("this idempotency_key comes with another job earlier in the batch: use a new key")
    return Submission(outcome.job, replayed=True)


def _new_job(tenant: str, request: CreateJob, event_id: str) -> NewJob:
    chain = CHAINS.get(request.chain_name)
    if chain is None:
        raise InvalidRequest({"job_name": f"names no chain: use one of {', '.join(CHAINS)}"})
    try:
        payload = chain.payload.model_validate(request.chain_payload).model_dump(mode="json")
    except ValidationError as error:
        raise InvalidRequest(explain(error.errors(include_input=False), "payload")) from None
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    if size > MAX_PAYLOAD_BYTES:
        raise BodyTooLarge(f"the payload is {size} bytes of UTF-8: the most is {MAX_PAYLOAD_BYTES}")
    return NewJob(
        event_id=event_id,
        tenant=tenant,
        job_name=chain.name,
        payload=payload,
        fingerprint=_fingerprint(chain.name, payload, request),
        metadata=request.metadata,
        max_cost_usd=request.max_cost_usd,
        tier=request.tier,
        flex_for=timedelta(seconds=request.flex_seconds),
    )


def _fingerprint(job_name: str, payload: JsonValue, request: CreateJob) -> str:
    options = request.model_dump(mode="json", include={"max_cost_usd", "tier", "flex_seconds"}, exclude_defaults=True)
    canonical = json.dumps([job_name, payload, request.metadata, options], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
