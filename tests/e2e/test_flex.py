"""A job of the tier flex, on the whole stack."""

import re
from collections.abc import Callable
from typing import Any

import httpx2

from local.stack import EmbeddedStack
from tests.e2e.conftest import poll


def test_a_flex_job_runs_in_the_worker_of_its_own_queue(
    stack: EmbeddedStack, http: httpx2.Client, finished: Callable[[str], dict[str, Any]]
) -> None:
    body = {"input_text": "Passwords must be long. They must be stored hashed.", "tier": "flex"}

    job = finished(http.post("/jobs", json=body).raise_for_status().json()["event_id"])

    assert (job["status"], job["tier"]) == ("completed", "flex")
    assert poll(lambda: workers_of(stack, job["event_id"])) == {"FlexWorkerFunction"}


def workers_of(stack: EmbeddedStack, event_id: str) -> set[str]:
    """The worker functions whose logs tell of the job."""
    logs = stack.client("logs")
    found = set()
    for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
        function = re.search(r"-((?:Flex)?WorkerFunction)-", group["logGroupName"])
        events = logs.filter_log_events(logGroupName=group["logGroupName"])["events"] if function else []
        if function and any(event_id in event["message"] for event in events):
            found.add(function[1])
    return found
