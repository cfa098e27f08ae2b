"""Runs jobs through the HTTP API, all at once, as a caller would."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.api_client import ApiClient
from local.demo import FINAL, LIMIT, JobError

MAX_BATCH = 100  # the API's own limit
_POLL_SECONDS = 0.5

Job = dict[str, Any]
"""A job as the API shows it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A job to create."""

    job_name: str
    payload: Mapping[str, Any]


def run(api: ApiClient, requests: Sequence[Request], say: Callable[[str], None]) -> list[Job]:
    """Create the jobs and wait for all of them; gives them as they ended, in the order of the requests.

    Raises ApiError, and JobError when no job ends for as long as the slowest may take.
    """
    bodies = [{"job_name": request.job_name, "payload": request.payload} for request in requests]
    ids = [
        event_id
        for start in range(0, len(bodies), MAX_BATCH)
        for event_id in api.create_jobs(bodies[start : start + MAX_BATCH])
    ]
    ended: dict[str, Job] = {}
    deadline = time.monotonic() + LIMIT
    while len(ended) < len(ids):
        for event_id in ids:
            if event_id not in ended and (job := api.job(event_id))["status"] in FINAL:
                ended[event_id] = job
                deadline = time.monotonic() + LIMIT
        say(f"{len(ended)} of {len(ids)} jobs have ended")
        if time.monotonic() > deadline:
            raise JobError(f"{len(ids) - len(ended)} jobs have not ended, and none has for {LIMIT:g} s")
        time.sleep(_POLL_SECONDS)
    return [ended[event_id] for event_id in ids]
