"""What the API does, apart from HTTP."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4, uuid5

from pydantic import JsonValue, ValidationError

from jobchain.chains import CHAINS
from jobchain.errors import (
    BodyTooLarge,
    IdempotencyConflict,
    InvalidRequest,
    JobExists,
    JobNotFound,
    Unavailable,
)
from jobchain.model import Clock, Job, NewJob, Status
from jobchain.observability import Logger, describe
from jobchain.queue import JobQueue
from jobchain.repository import JobRepository
from jobchain_api.schemas import CreateJob, explain

MAX_PAYLOAD_BYTES = 256 * 1024

# Longer than the request that stores a job takes to send it.
_DISPATCH_TIME = timedelta(seconds=10)

# The namespace of the ids that are made from idempotency keys.
_KEY_NAMESPACE = UUID("8f1a4f5e-6d0c-4c5b-9a55-6f6f62636861")
_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that a request stands for; `replayed` where an earlier request made it."""

    job: Job
    replayed: bool


class JobService:
    """Takes jobs in and tells how they stand."""

    def __init__(
        self, repository: JobRepository, queue: JobQueue, retention: timedelta, clock: Clock, logger: Logger
    ) -> None:
        self._repository = repository
        self._queue = queue
        self._retention = retention
        self._clock = clock
        self._logger = logger

    def submit(self, tenant: str, request: CreateJob, idempotency_key: str | None) -> Submission:
        """Stores the job and sends it to a worker.

        Once it is stored it is accepted: where the send fails the job falls due at once, and is sent later.
        Raises InvalidRequest, BodyTooLarge, IdempotencyConflict, Unavailable.
        """
        new = _new_job(tenant, request, _event_id(tenant, idempotency_key))
        try:
            job = self._repository.create(new, self._retention)
        except JobExists as exists:
            if exists.fingerprint != new.fingerprint:
                raise IdempotencyConflict("this Idempotency-Key came with another body before: use a new key") from None
            self._dispatch_again(exists.job)
            return Submission(exists.job, replayed=True)
        self._dispatch(job)
        return Submission(job, replayed=False)

    def cancel(self, tenant: str, event_id: str) -> Job:
        """The job, which ends at once or before its next step. Raises JobNotFound, JobIsFinal, Unavailable."""
        return self._repository.cancel(tenant, _checked(event_id))

    def retry(self, tenant: str, event_id: str) -> Job:
        """The job, pending again with its steps. Raises JobNotFound, JobIsNotFinal, JobIsFinal, Unavailable."""
        job = self._repository.retry(tenant, _checked(event_id))
        self._dispatch(job)
        return job

    def delete(self, tenant: str, event_id: str) -> None:
        """Erases a job that has ended. Raises JobNotFound, JobIsNotFinal, Unavailable."""
        self._repository.delete(tenant, _checked(event_id))

    def _dispatch_again(self, job: Job) -> None:
        """Sends a replayed job that no worker has taken, unless its first message is still on its way."""
        created = datetime.fromisoformat(job.created_at)
        if job.status is Status.PENDING and not job.attempts and self._clock() - created > _DISPATCH_TIME:
            self._dispatch(job)

    def _dispatch(self, job: Job) -> None:
        try:
            self._queue.send(job.event_id, job.tenant)
        except Unavailable as error:
            self._logger.warning("job accepted, not sent yet", extra=describe(error))
            self._mark_due(job)

    def _mark_due(self, job: Job) -> None:
        try:
            self._repository.mark_due(job.event_id, self._clock())
        except Unavailable as error:
            # It was stored as due a little later, so this costs time, not the job.
            self._logger.warning("job not marked due", extra=describe(error))

    def get(self, tenant: str, event_id: str) -> Job:
        """The tenant's job. Raises JobNotFound, Unavailable."""
        return self._repository.get(tenant, _checked(event_id))

    def outages(self) -> dict[str, str]:
        """What does not answer now, by name: empty where all is well."""
        found = {}
        for name, dependency in (("table", self._repository), ("queue", self._queue)):
            try:
                dependency.ping()
            except Unavailable as error:
                found[name] = str(error)
        return found


def _checked(event_id: str) -> str:
    if not _EVENT_ID.fullmatch(event_id):
        raise JobNotFound("event_id is not one of ours: use the event_id that POST /jobs answered with")
    return event_id


def _event_id(tenant: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return str(uuid4())
    if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        why = "must be 1 to 255 visible ASCII characters: use a UUID, for example"
        raise InvalidRequest({"Idempotency-Key": why})
    return str(uuid5(_KEY_NAMESPACE, f"{tenant}\0{idempotency_key}"))


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
        fingerprint=_fingerprint(chain.name, payload, request.metadata),
        metadata=request.metadata,
    )


def _fingerprint(job_name: str, payload: JsonValue, metadata: dict[str, str]) -> str:
    canonical = json.dumps([job_name, payload, metadata], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
