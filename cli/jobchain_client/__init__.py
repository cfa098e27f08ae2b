"""A client for Jobchain's HTTP API: `Jobchain`, and `AsyncJobchain` with the same methods. Its page
is docs/reference/python-client.md."""

from jobchain_client.asynchronous import AsyncJobchain, AsyncJobHandle
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
from jobchain_client.resources import FINAL, BadArgument, Chain, Failure, Job, Stats, Step, Submission, Usage
from jobchain_client.synchronous import Jobchain, JobHandle

__all__ = [
    "FINAL",
    "AsyncJobHandle",
    "AsyncJobchain",
    "BadAnswer",
    "BadArgument",
    "Chain",
    "Conflict",
    "Failure",
    "IdempotencyConflict",
    "InvalidRequest",
    "Job",
    "JobHandle",
    "JobNotCompleted",
    "Jobchain",
    "JobchainError",
    "LimitReached",
    "NotFound",
    "Problem",
    "Stats",
    "Step",
    "Submission",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Usage",
    "WaitTimeout",
]
