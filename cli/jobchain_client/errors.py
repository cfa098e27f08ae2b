"""What can go wrong. Every error is a JobchainError; the subclasses tell apart what a caller may want to handle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobchain_client.resources import Job

_URN = "urn:jobchain:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the API's (RFC 9457). `type` is its last part, such as `job-not-found`; `errors` says where: why."""

    type: str
    status: int | None
    title: str
    detail: str
    errors: Mapping[str, str]
    request_id: str | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], status: int, request_id: str | None = None) -> "Problem":
        """The problem that a body is, as far as it is one: gateways and proxies have words of their own."""
        title = str(raw.get("title") or f"HTTP status {status}")
        errors = raw.get("errors")
        return cls(
            type=str(raw.get("type") or "about:blank").removeprefix(_URN),
            status=status,
            title=title,
            detail=str(raw.get("detail") or raw.get("message") or title),
            errors={str(at): str(why) for at, why in errors.items()} if isinstance(errors, Mapping) else {},
            request_id=raw.get("request_id") or request_id,
            raw=raw,
        )


class JobchainError(Exception):
    """A request that did not succeed, with what there is to know of it.

    `retry_after`: the seconds after which the API asks to try again, if it does.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def type(self) -> str:
        return self.problem.type

    @property
    def status(self) -> int | None:
        """The HTTP status; None if there was no answer."""
        return self.problem.status

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def errors(self) -> Mapping[str, str]:
        """Where: why, for a request that does not fit."""
        return self.problem.errors

    @property
    def request_id(self) -> str | None:
        """What to name when the error is reported."""
        return self.problem.request_id

    def __str__(self) -> str:
        known = [self.type, *([f"request {self.request_id}"] if self.request_id else [])]
        return f"{self.detail} ({', '.join(known)})"


class Unauthorized(JobchainError):
    """There is no API key, or it is unknown, revoked or expired; with 403, the Host or origin is refused."""


class NotFound(JobchainError):
    """There is no such job, endpoint or delivery; that of another tenant is not there either."""


class Conflict(JobchainError):
    """The job's status does not allow this: it is final (`job-is-final`) or is not (`job-is-not-final`).

    A job without the steps before it `job-cannot-be-forked`. Of decisions: `step-does-not-wait`, `decided-already`,
    `decision-too-late`. Of webhooks: `too-many-endpoints`, `endpoint-disabled`, `webhooks-off`.
    """


class InvalidRequest(JobchainError):
    """The request does not fit, or is too large; `errors` says where, and why."""


class IdempotencyConflict(JobchainError):
    """The idempotency key was used for another request."""


class LimitReached(JobchainError):
    """A limit is reached: the key's, or the gateway's for all callers together."""


class Unavailable(JobchainError):
    """The API could not work just now, nor in all tries since."""


class Unreachable(JobchainError):
    """There was no answer. The job may have been created: repeat the request with the same idempotency key."""


class BadAnswer(JobchainError):
    """The answer is not one of this API's: most often the URL is another server's."""


class WaitTimeout(JobchainError, TimeoutError):
    """The job is not final after `timeout` seconds. It continues; `job` is its last known state."""

    def __init__(self, job: Job, seconds: float) -> None:
        detail = f"job {job.event_id} is still {job.status} after {seconds:g} s"
        super().__init__(Problem("timeout", None, "The job has not ended in time", detail, {}, None))
        self.job = job


class JobNotCompleted(JobchainError):
    """The job failed or was cancelled; `job` says more."""

    def __init__(self, job: Job) -> None:
        detail = f"job {job.event_id} was cancelled"
        if job.error:
            step = f" in step {job.error.step}" if job.error.step else ""
            detail = f"job {job.event_id} failed{step}: {job.error.type}: {job.error.message}"
        super().__init__(Problem(f"job-{job.status}", None, "The job did not complete", detail, {}, None))
        self.job = job


def completed(job: Job) -> Job:
    """The job. Raises JobNotCompleted if it is not that."""
    if job.status != "completed":
        raise JobNotCompleted(job)
    return job


_BY_STATUS: dict[int, type[JobchainError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    410: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: LimitReached,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(problem: Problem, retry_after: float | None = None) -> JobchainError:
    """The error that a problem is."""
    if problem.type == "idempotency-conflict":
        return IdempotencyConflict(problem, retry_after)
    return _BY_STATUS.get(problem.status or 0, JobchainError)(problem, retry_after)


def unreachable(why: str) -> Unreachable:
    """The error of a request without an answer."""
    return Unreachable(Problem("unreachable", None, "No answer", why, {}, None))


def bad_answer(status: int, why: str, request_id: str | None) -> BadAnswer:
    """The error of an answer that can't be read."""
    return BadAnswer(Problem("bad-answer", status, "Not an answer of this API", why, {}, request_id))
