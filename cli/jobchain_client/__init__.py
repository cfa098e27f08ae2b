"""A client for Jobchain's HTTP API: `Jobchain`, and `AsyncJobchain` with the same methods. Its page
is docs/reference/python-client.md."""

from typing import TYPE_CHECKING, Any

from jobchain_client.errors import (
    BadAnswer,
    Conflict,
    IdempotencyConflict,
    InvalidRequest,
    JobchainError,
    JobNotCompleted,
    LimitReached,
    NotFound,
    Problem,
    Unauthorized,
    Unavailable,
    Unreachable,
    WaitTimeout,
)
from jobchain_client.events import Event
from jobchain_client.resources import (
    FINAL,
    Approval,
    Attempt,
    BadArgument,
    Call,
    Chain,
    Chains,
    DailyUsage,
    Estimate,
    Failure,
    ForkedFrom,
    Job,
    Prompt,
    Replays,
    Spending,
    Stats,
    Step,
    Submission,
    UnusableChain,
    Usage,
    UsageGroup,
    WaitingFor,
)
from jobchain_client.synchronous import Jobchain, JobHandle
from jobchain_client.webhook_resources import Delivery, Endpoint, NewEndpoint

if TYPE_CHECKING:
    from jobchain_client.asynchronous import AsyncJobchain, AsyncJobHandle

__all__ = [
    "FINAL",
    "Approval",
    "AsyncJobHandle",
    "AsyncJobchain",
    "Attempt",
    "BadAnswer",
    "BadArgument",
    "Call",
    "Chain",
    "Chains",
    "Conflict",
    "DailyUsage",
    "Delivery",
    "Endpoint",
    "Estimate",
    "Event",
    "Failure",
    "ForkedFrom",
    "IdempotencyConflict",
    "InvalidRequest",
    "Job",
    "JobHandle",
    "JobNotCompleted",
    "Jobchain",
    "JobchainError",
    "LimitReached",
    "NewEndpoint",
    "NotFound",
    "Problem",
    "Prompt",
    "Replays",
    "Spending",
    "Stats",
    "Step",
    "Submission",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "UnusableChain",
    "Usage",
    "UsageGroup",
    "WaitTimeout",
    "WaitingFor",
]


def __getattr__(name: str) -> Any:
    """The asynchronous client comes when it is named, so that a program without it does not import `asyncio`."""
    if name in ("AsyncJobHandle", "AsyncJobchain"):
        from jobchain_client import asynchronous

        return getattr(asynchronous, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
