"""Webhooks for people, against the whole stack: the commands, and `jobchain listen` with a receiver on this machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jobchain_client import Jobchain
from jobchain_client.webhooks import verify
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT, poll
from tests.webhook_receiver import OK, Receiver, receiver, saying

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ntry later"


def jobchain(stack: EmbeddedStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobchain_cli", *arguments, "--url", stack.api_url],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode().split("\r\n")[1:])
    return {name: value.strip() for name, _, value in lines}, body


@pytest.fixture(autouse=True)
def warm(stack: EmbeddedStack) -> None:
    """A function that is started on a busy machine may take longer than a request, and `create` is not sent again."""
    for thread in stack.warm_up():
        thread.join(LIMIT)


@pytest.fixture
def refusing_first() -> Iterator[Receiver]:
    """A receiver that refuses its first request."""
    with receiver(saying(BUSY), saying(OK)) as served:
        yield served


def test_an_endpoint_is_made_tested_redelivered_to_and_deleted_by_commands(
    stack: EmbeddedStack, refusing_first: Receiver
) -> None:
    address = f"http://127.0.0.1:{refusing_first.port}/hook"
    created = jobchain(stack, "webhooks", "create", address, "--json")
    assert created.returncode == 0, created.stderr
    made = json.loads(created.stdout)

    refused = jobchain(stack, "webhooks", "test", made["endpoint_id"], "--timeout", str(LIMIT))
    assert (refused.returncode, refused.stderr) == (1, "")
    assert "failed: 503 try later" in refused.stdout
    webhook_id = refused.stdout.split()[0]
    again = jobchain(stack, "webhooks", "redeliver", webhook_id)
    assert again.returncode == 0, again.stderr

    def delivered() -> bool:
        listed = jobchain(stack, "webhooks", "deliveries", "--state", "delivered", "--json").stdout
        return webhook_id in listed

    poll(delivered)
    # The try after the first pause may have come as well.
    events = [verify(*parts(request), made["secret"]) for request in refusing_first.requests]
    assert len(events) >= 2
    assert {(event.webhook_id, event.type) for event in events} == {(webhook_id, "webhook.test")}
    deleted = jobchain(stack, "webhooks", "delete", made["endpoint_id"], "--yes")
    assert deleted.stdout == f"{made['endpoint_id']} is deleted.\n"


def test_listen_forwards_the_ends_of_jobs_without_an_endpoint(stack: EmbeddedStack) -> None:
    with receiver(saying(OK)) as served, Jobchain(stack.api_url) as client:
        address = f"http://127.0.0.1:{served.port}/hook?from=jobchain"
        command = [sys.executable, "-m", "jobchain_cli", "listen", "--forward", address, "--url", stack.api_url]
        with subprocess.Popen(
            [*command, "--json"], env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                started = [process.stderr.readline(), process.stderr.readline()]
                job = client.submit("Doors must be locked at night.", metadata={"source": "handbook"}, title="doors")
                line: dict[str, Any] = json.loads(process.stdout.readline())
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=LIMIT)
            finally:
                process.kill()

    event = verify(*parts(served.requests[0]), started[1].split()[-1])
    assert (line["event_id"], line["type"], line["status"]) == (job.event_id, "job.completed", 204)
    assert (event.event_id, event.webhook_id) == (job.event_id, line["webhook_id"])
    assert (event.data["metadata"], event.data["title"]) == ({"source": "handbook"}, "doors")
    assert served.requests[0].startswith(b"POST /hook?from=jobchain ")
    assert process.returncode == 130
