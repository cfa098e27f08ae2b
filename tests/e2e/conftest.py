"""The whole stack, started once for all end-to-end tests, and a client for its HTTP API."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from local.stack import EmbeddedStack

LIMIT = 120
"""Seconds that anything may take. All of it takes a tenth on a machine that is not busy."""

FINAL = ("completed", "failed", "cancelled")


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start() as stack:
        yield stack


@pytest.fixture
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    # trust_env: without the developer's proxy, as the stack is on this machine
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def finished(http: httpx2.Client) -> Callable[[str], dict[str, Any]]:
    """Waits until a job is final, and gives it."""

    def wait(event_id: str) -> dict[str, Any]:
        job: dict[str, Any] = poll(lambda: _if_final(http.get(f"/jobs/{event_id}").raise_for_status().json()))
        return job

    return wait


@pytest.fixture
def state(stack: EmbeddedStack) -> Callable[[], dict[str, int]]:
    """Counts what the table and the queues hold, without what the deployment writes about itself."""

    def count() -> dict[str, int]:
        pages = (
            stack.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=stack.table,
                Select="COUNT",
                FilterExpression="NOT pk IN (:health, :sweep)",
                ExpressionAttributeValues={":health": {"S": "TENANT##health"}, ":sweep": {"S": "SWEEP"}},
            )
        )
        counts = {"items": sum(page["Count"] for page in pages)}
        for name, url in (("queue", stack.queue_url), ("dead letters", stack.dead_letter_url)):
            attributes = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            counts |= {
                f"{name} {key}": int(attributes[key]) for key in attributes if key.startswith("ApproximateNumber")
            }
        return counts

    return count


def poll(look: Callable[[], Any], limit_seconds: float = LIMIT) -> Any:
    """What `look` gives once it gives something. Raises TimeoutError."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"nothing within {limit_seconds} s")


def _if_final(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["status"] in FINAL else None
