"""What can go wrong, one type for each way that a caller or a worker answers it.

The groups are by reader: the operator who configures a deployment, the API and its callers, the worker and the sweeper
that call the table and the queue, and the worker that calls the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from jobchain.domain import Job, JobError, Tier
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimits
from jobchain.spending import Usage


class JobchainError(Exception):
    """Base of every error that this project raises on purpose. Its text never holds a caller's text."""


# --- for the operator --------------------------------------------------------------------------


class SettingsError(JobchainError):
    """Settings are missing or cannot be used; the message names all of them."""


class KeyNotFound(JobchainError):
    """There is no such API key."""


# --- for callers of the API --------------------------------------------------------------------


class MalformedBody(JobchainError):
    """The request's body is not JSON."""


class BodyTooLarge(JobchainError):
    """The request's body or payload is larger than it may be."""


class InvalidRequest(JobchainError):
    """The request does not fit; `errors` says where and why."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{where}: {why}" for where, why in errors.items()))
        self.errors = dict(errors)


class Unauthorized(JobchainError):
    """The request has no API key, or an invalid one. `key_id` is that of a key that was valid once."""

    def __init__(self, message: str, key_id: str = "") -> None:
        super().__init__(message)
        self.key_id = key_id


class ForeignOrigin(JobchainError):
    """A browser sent the request for a page of another origin, to a deployment without API keys."""


class LimitReached(JobchainError):
    """A limit of the caller's key refuses the request; after `retry_after` it may be admitted.

    `key_id` is that of the key, where no other part of the request's log names it.
    """

    def __init__(self, limit: str, value: int | Decimal, retry_after: timedelta, key_id: str = "") -> None:
        super().__init__(f"the key's limit {limit} ({value}) is reached: try again later, or ask for a higher one")
        self.limit = limit
        self.retry_after = retry_after
        self.key_id = key_id


class JobNotFound(JobchainError):
    """The caller has no such job."""


class JobIsFinal(JobchainError):
    """The job is final in a status that does not allow the request: it cannot be cancelled, or not be retried."""


class JobIsNotFinal(JobchainError):
    """The job is not final, so that it cannot be retried or deleted."""


class JobCannotBeForked(JobchainError):
    """The job is not in a state, or not of a chain, from which it can be forked."""


class StepDoesNotWait(JobchainError):
    """The step does not wait for a decision: it is not one that can, or the job is not there, or has ended."""


class DecidedAlready(JobchainError):
    """The step was decided already, and otherwise."""


class DecisionTooLate(JobchainError):
    """The time in which the step could be decided is over."""


class IdempotencyConflict(JobchainError):
    """The idempotency key was used for another request already."""


class JobExists(JobchainError):
    """A job of this id is stored already; `job` is that one, `fingerprint` that of its request."""

    def __init__(self, job: Job, fingerprint: str) -> None:
        super().__init__(f"job {job.event_id} exists")
        self.job = job
        self.fingerprint = fingerprint


# --- the table and the queue, for all functions -----------------------------------------------


class Unavailable(JobchainError):
    """The table or the queue does not answer, or refuses for now. Trying again later may help."""


class Misconfigured(Unavailable):
    """AWS refuses the deployment itself: a permission or an encryption key is wrong, or a table or a queue is missing.

    Waiting does not help, so that a caller is not told to try again, and an operator must be alarmed. Jobs are kept as
    if the service did not answer: once it is repaired, they continue.
    """


# --- for the worker ---------------------------------------------------------------------------


class ClaimLost(JobchainError):
    """Another worker holds the job, or it is final: this worker is fenced off and may write nothing more."""


class JobNotReady(JobchainError):
    """The job waits for a later try: no worker may claim it before `wait` is over."""

    def __init__(self, tenant: str, tier: Tier, wait: timedelta) -> None:
        super().__init__(f"the job is not ready for {wait.total_seconds():.1f} s")
        self.tenant = tenant
        self.tier = tier
        self.wait = wait


class MustRunAlone(JobchainError):
    """The job may have crashed its workers: it runs when no other job of the batch does any more."""


class EndpointNotFound(JobchainError):
    """The tenant has no such endpoint of webhooks."""


class EndpointDisabled(JobchainError):
    """Nothing is sent to the endpoint of webhooks: it is disabled, or has no URL."""


class DeliveryNotFound(JobchainError):
    """The tenant has no such delivery of a webhook."""


class TooManyEndpoints(JobchainError):
    """The tenant has as many endpoints of webhooks as it may have."""


class WebhooksOff(JobchainError):
    """The deployment sends no webhooks."""


class MalformedMessage(JobchainError):
    """A message of the queue holds no event_id, or a slot that is none."""


# --- calls to the model, for the worker -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallReport:
    """What is known of a call that failed, for the author of its chain and for the operator.

    `maybe_billed` if the server may have worked on it and gave no answer whose usage could be told. `cause` is the
    provider's explanation, or ours of what happened, redacted and cut; `answer` is the model's text, as far as it came,
    or the body that could not be read. Both are for the caller of the job alone, not for a log.

    `status`, `code` and `kind` are what the provider answered: the HTTP status, and the `code` and `type` of its
    error. `request_id` is the provider's id of the call, and `limits` what it told of the account's limits. `usage` is
    what it had told of the tokens when the answer broke off, which is no final count. `first_token_seconds` is how long
    the answer's first token took. `without_effort` if the call was sent without the request's effort.
    """

    maybe_billed: bool = False
    cause: str | None = field(default=None, repr=False)
    request_id: str | None = None
    answer: str | None = field(default=None, repr=False)
    status: int | None = None
    code: str | None = None
    kind: str | None = None
    limits: RateLimits = NO_RATE_LIMITS
    usage: Usage | None = None
    first_token_seconds: float | None = field(default=None, compare=False)
    without_effort: bool = False

    @property
    def facts(self) -> Mapping[str, int | str]:
        """What a log may hold of it: no text of the provider or the model, and nothing that is unknown."""
        facts = {
            "provider_status": self.status,
            "provider_code": self.code,
            "provider_type": self.kind,
            "provider_request_id": self.request_id,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}


NO_REPORT = CallReport()


class ModelError(JobchainError):
    """A model call that gave no usable answer; `report` says more about the call, and `type` names the fault."""

    type: str

    def __init__(self, message: str, report: CallReport = NO_REPORT) -> None:
        super().__init__(message)
        self.report = report


class TransientModelError(ModelError):
    """Trying again later may help; `retry_after` is how long the provider asks to wait.

    `type` names the fault: rate_limited, overloaded, flex_unavailable, timeout, connection_lost, unreachable,
    secret_unreadable, credentials_unreadable, conflict, server_error, unreadable_answer, step_failed for a fault of the
    step's code, or model_unavailable for any other. A job whose deadline comes first fails as deadline_exceeded,
    whatever its fault.
    """

    def __init__(
        self,
        message: str,
        retry_after: timedelta | None = None,
        report: CallReport = NO_REPORT,
        type_: str = "model_unavailable",
    ) -> None:
        super().__init__(message, report)
        self.retry_after = retry_after
        self.type = type_


class PermanentModelError(ModelError):
    """Trying again cannot help. `type` is the `JobError.type` that the caller reads."""

    def __init__(self, type_: str, message: str, report: CallReport = NO_REPORT) -> None:
        super().__init__(message, report)
        self.type = type_

    def as_job_error(self, step: str) -> JobError:
        """The error that the job ends with."""
        return JobError(self.type, str(self), step)


class ModelSettingsError(PermanentModelError):
    """The settings do not allow a call to the model. The message names the setting and the fix, and never holds a key.

    No call was made, or none that is billed. Unlike an outage, it does not pass by waiting.
    """

    def __init__(self, message: str, report: CallReport = NO_REPORT) -> None:
        super().__init__("model_misconfigured", message, report)


class UnknownModel(PermanentModelError):
    """The provider does not know the model; `names` are those of the models that it has."""

    def __init__(self, model: str, names: Sequence[str]) -> None:
        super().__init__("model_not_found", f"the model's server knows no model {model}")
        self.names = tuple(names)
