"""How often a client reads a job of the usual length, counted at its own network."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from jobchain_client import Jobchain
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT
from tests.fake_model.server import ModelServer

STEP_SECONDS = 4
"""What each call of the model takes. A job makes three, one after the other where they need each other's answers."""


class Counting(httpx2.HTTPTransport):
    """Sends requests, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request.method)
        return super().handle_request(request)


@pytest.fixture(scope="module")
def slow_stack() -> Iterator[EmbeddedStack]:
    """A stack whose model takes its time."""
    with (
        ModelServer(latency=STEP_SECONDS) as model,
        EmbeddedStack.start(Settings(openai_base_url=model.base_url)) as stack,
    ):
        yield stack


def test_a_job_of_ten_seconds_is_read_at_most_twice(slow_stack: EmbeddedStack) -> None:
    counting = Counting()
    with Jobchain(slow_stack.api_url, transport=counting) as client:
        # given one job of the chain that has ended
        first = client.submit("Passwords must have 12 characters.").wait(LIMIT)
        assert first.status == "completed"
        read_at_first = counting.requests.count("GET")
        counting.requests.clear()

        # when another one is made and waited for
        started = time.monotonic()
        job = client.submit("Users should not reuse passwords.").wait(LIMIT)
        seconds = time.monotonic() - started

    # then it is read at most twice, the first time when it has probably ended
    assert job.status == "completed"
    assert seconds >= 2 * STEP_SECONDS
    assert counting.requests in (["POST", "GET"], ["POST", "GET", "GET"]), (read_at_first, seconds)
