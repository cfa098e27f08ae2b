"""What tests of the dashboard's lists start with: many jobs that have ended."""

from typing import Any

import httpx2

from tests.e2e.conftest import poll
from tests.fake_model.journal import Call
from tests.fake_model.replies import Reply, refused

REFUSED = "This text is refused."
LIMIT = 600
"""Seconds that 500 jobs may take on a busy machine."""


def refuse(call: Call) -> Reply | None:
    """A rule of a model: it refuses texts that say so."""
    return refused(400) if REFUSED in call.body else None


def make(http: httpx2.Client, number: int, **more: Any) -> list[str]:
    """Creates `number` jobs that fail at their first call; gives their ids, in order, once all have ended."""
    made: list[str] = []
    while len(made) < number:
        some = range(len(made), min(number, len(made) + 100))
        jobs = [{"input_text": f"{REFUSED} {one}", "title": f"policy-{one:03}.md", **more} for one in some]
        answer = http.post("/jobs/batch", json={"jobs": jobs}).raise_for_status().json()
        made += [result["event_id"] for result in answer["results"]]
    wait(http)
    return made


def wait(http: httpx2.Client) -> None:
    """Waits until every job has ended."""
    poll(lambda: not {"pending", "processing"} & unfinished(http), LIMIT)


def unfinished(http: httpx2.Client) -> set[str]:
    """The statuses of which there are jobs."""
    return {status for status, number in http.get("/stats").json()["jobs"].items() if number}
