"""A job of the tier flex, on the whole stack."""

from collections.abc import Callable
from typing import Any

import httpx2

from local.stack import LocalStack


def test_a_flex_job_runs_in_the_worker_of_its_own_queue(
    stack: LocalStack, http: httpx2.Client, finished: Callable[[str], dict[str, Any]]
) -> None:
    body = {"input_text": "Passwords must be long. They must be stored hashed.", "tier": "flex"}

    job = finished(http.post("/jobs", json=body).raise_for_status().json()["event_id"])

    assert (job["status"], job["tier"]) == ("completed", "flex")
    groups = stack.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    assert any("FlexWorker" in group["logGroupName"] for group in groups)
