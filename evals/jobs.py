"""Runs jobs through the HTTP API, all at once, as a caller would."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobchain_cli.words import problem_line
from jobchain_client import Jobchain, JobchainError, JobHandle, Submission
from local.demo import LIMIT, JobError

_POLL_SECONDS = 0.5

Job = dict[str, Any]
"""A job as the API shows it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A job to create."""

    job_name: str
    payload: Mapping[str, Any]


def run(api: Jobchain, requests: Sequence[Request], say: Callable[[str], None]) -> list[Job]:
    """Create the jobs and wait for all of them; gives them as they ended, in the order of the requests.

    Raises JobError where the API refuses one, and when no job ends for as long as the slowest may take.
    """
    try:
        submissions = [Submission(request.payload, request.job_name) for request in requests]
        return _ended([_made(outcome) for outcome in api.submit_many(submissions)], say)
    except JobchainError as error:
        raise JobError(problem_line(error)) from error


def _made(outcome: JobHandle | JobchainError) -> JobHandle:
    if isinstance(outcome, JobchainError):
        raise outcome
    return outcome


def _ended(handles: Sequence[JobHandle], say: Callable[[str], None]) -> list[Job]:
    ended: dict[str, Job] = {}
    deadline = time.monotonic() + LIMIT
    while len(ended) < len(handles):
        for handle in handles:
            if handle.event_id not in ended and (job := handle.get()).final:
                ended[handle.event_id] = dict(job.raw)
                deadline = time.monotonic() + LIMIT
        say(f"{len(ended)} of {len(handles)} jobs have ended")
        if time.monotonic() > deadline:
            raise JobError(f"{len(handles) - len(ended)} jobs have not ended, and none has for {LIMIT:g} s")
        time.sleep(_POLL_SECONDS)
    return [ended[handle.event_id] for handle in handles]
