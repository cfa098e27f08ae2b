"""What is refused leaves nothing behind, in the table or in the queues.

How it is refused is in tests/conformance/test_callers.py. A few requests are here alone: a gateway of AWS answers them
before the API does.
"""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.conformance.api import expect_problem
from tests.conformance.test_callers import BODIES, REFUSED

State = Callable[[], dict[str, int]]

ALL_REFUSED: dict[str, dict[str, Any]] = {
    **REFUSED,
    **{f"PUT {name}": {**REFUSED[f"POST {name}"], "method": "PUT"} for name in BODIES},
    "another content type": {
        "method": "POST",
        "url": "/jobs",
        "content": b'{"input_text": "a"}',
        "headers": {"Content-Type": "text/plain"},
    },
    "a long key": {
        "method": "POST",
        "url": "/jobs",
        "json": {"input_text": "a"},
        "headers": {b"Idempotency-Key": b"x" * 256},
    },
}


@pytest.mark.parametrize("request_", ALL_REFUSED.values(), ids=ALL_REFUSED)
def test_what_is_refused_leaves_nothing_behind(http: httpx2.Client, state: State, request_: dict[str, Any]) -> None:
    before = state()

    assert http.request(**request_).is_client_error
    assert state() == before


@pytest.mark.parametrize("key", ["ключ".encode(), b""], ids=["not ASCII", "empty"])
def test_a_bad_idempotency_key_is_refused(http: httpx2.Client, state: State, key: bytes) -> None:
    before = state()

    answer = http.post("/jobs", json={"input_text": "a"}, headers={b"Idempotency-Key": key})

    expect_problem(answer, 422, "invalid-request", "Idempotency-Key")
    assert state() == before


@pytest.mark.parametrize("path", ["/jobs/JOB%23x", "/jobs/..%2f..%2fetc", "/jobs/%00", "/"])
def test_an_odd_path_is_not_found(http: httpx2.Client, state: State, path: str) -> None:
    before = state()

    expect_problem(http.get(path), 404, "path-not-found")
    assert state() == before


def test_options_are_told_the_methods(http: httpx2.Client, state: State) -> None:
    before = state()

    answer = http.request("OPTIONS", "/jobs", json={"input_text": "a"})

    expect_problem(answer, 405, "method-not-allowed", "GET, HEAD, POST")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    assert state() == before


def test_a_body_that_never_comes_whole_makes_no_job(http: httpx2.Client, state: State) -> None:
    before = state()
    url = urlsplit(str(http.base_url))

    with socket.create_connection((str(url.hostname), url.port or 80)) as connection:
        head = f"POST {url.path}jobs HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        connection.sendall(f'{head}Content-Length: 1000\r\n\r\n{{"input_text": "a"}}'.encode())

    assert http.get("/health").status_code == 200
    assert state() == before
