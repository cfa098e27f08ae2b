"""How runs of jobs end, and whose fault a failure is: metrics and alarms go by it. Pure: no clock, no I/O.

What a caller can bring about by a request must page no operator, so a fault is the service's only where no request and
no text causes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from jobchain.domain import JobError, Status, WaitReason


class Fault(StrEnum):
    """Whose fault a failure is.

    `service`: the deployment's, its model's or its provider's. `caller`: the request can't be done, or the provider
    refuses its text. `unclear`: the text, the load and the service can each be the cause.
    """

    SERVICE = "service"
    CALLER = "caller"
    UNCLEAR = "unclear"


_FAULTS: Mapping[str, Fault] = {
    "approval_rejected": Fault.CALLER,
    "budget_exceeded": Fault.CALLER,
    "budget_unknown": Fault.CALLER,
    "content_filtered": Fault.CALLER,
    # Only jobs that name a model themselves fail so: where the deployment's own is refused, jobs wait.
    "model_forbidden": Fault.CALLER,
    "model_not_found": Fault.CALLER,
    "model_refused": Fault.CALLER,
    "model_request_refused": Fault.SERVICE,
    "unknown_chain": Fault.SERVICE,
    "unknown_version": Fault.SERVICE,
    "model_failed": Fault.UNCLEAR,
    "text_too_long": Fault.UNCLEAR,
    "unusable_answer": Fault.UNCLEAR,
    # A text may crash workers; where all of them crash, the queue is stuck.
    "worker_lost": Fault.UNCLEAR,
}

_DEADLINE = "deadline_exceeded"

# By what a job waited for last whose deadline is over. One that only waited for its turn may have come with too many.
_OVERDUE: Mapping[WaitReason | None, Fault] = {
    WaitReason.ACCOUNT: Fault.SERVICE,
    WaitReason.APPROVAL: Fault.CALLER,
    WaitReason.BUDGET: Fault.CALLER,
    WaitReason.DEPLOYMENT: Fault.SERVICE,
    WaitReason.RETRY: Fault.SERVICE,
}

ERROR_TYPES = frozenset({*_FAULTS, _DEADLINE})
"""Every `JobError.type` that has a name in the metrics. Any other one is counted as `OTHER`."""

OTHER = "other"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a job ended.

    `status` is the job's final one; None where it is put off after a fault, and tried again. `error_type` is one of
    `ERROR_TYPES` or `OTHER` for a failed job, else empty.
    """

    status: Status | None
    error_type: str = ""
    fault: Fault | None = None


COMPLETED = Outcome(Status.COMPLETED)
CANCELLED = Outcome(Status.CANCELLED)
PUT_OFF = Outcome(None, fault=Fault.SERVICE)


def failed(error: JobError, waited: WaitReason | None = None, *, own_deadline: bool = False) -> Outcome:
    """The outcome of a job that fails with `error`.

    `waited` is what it waited for last, and `own_deadline` tells that its caller set its deadline: if that is too
    short, it is the caller's fault, whatever the job waited for.
    """
    type_ = error.type if error.type in ERROR_TYPES else OTHER
    if own_deadline and type_ in (_DEADLINE, "unknown_chain", "unknown_version"):
        fault = Fault.CALLER
    elif type_ == _DEADLINE:
        fault = _OVERDUE.get(waited, Fault.UNCLEAR)
    else:
        fault = _FAULTS.get(type_, Fault.UNCLEAR)
    return Outcome(Status.FAILED, type_, fault)


# What a model may be the cause of: it does not take the request, or its calls fail.
_OF_A_MODEL = frozenset({"", _DEADLINE, "model_request_refused"})


def with_own_model(outcome: Outcome) -> Outcome:
    """The outcome of a run that asked a model which the job itself named: a caller may name one that can't do it."""
    if outcome.fault is Fault.SERVICE and outcome.error_type in _OF_A_MODEL:
        return replace(outcome, fault=Fault.UNCLEAR if outcome.status else None)
    return outcome
