"""What can't be accepted is refused with a problem that names the fault, and leaves nothing behind."""

import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

State = Callable[[], dict[str, int]]

JSON = {"Content-Type": "application/json"}
FIVE_MB = 5 * 1024 * 1024
UNKNOWN_ID = "0b6c2f4e-0000-4000-8000-000000000001"

BODIES: dict[str, tuple[bytes, int, str]] = {
    # what is sent: the body, the status, and what the problem names
    "no body": (b"", 422, "body"),
    "not JSON": (b"guidelines", 400, "not JSON"),
    "half of JSON": (b'{"input_text": "a', 400, "not JSON"),
    "a list": (b"[]", 422, "body"),
    "null": (b"null", 422, "body"),
    "a number": (b"1", 422, "body"),
    "nothing asked for": (b"{}", 422, "input_text"),
    "a number for the text": (b'{"input_text": 1}', 422, "input_text"),
    "an empty text": (b'{"input_text": ""}', 422, "input_text"),
    "a blank text": (b'{"input_text": " \\n\\u3000"}', 422, "input_text"),
    "a text over the limit": (json.dumps({"input_text": "x" * 100_001}).encode(), 422, "100000"),
    "a payload of too many bytes": (json.dumps({"input_text": "\U0001f600" * 70_000}).encode(), 413, "262144"),
    "5 MB": (b'{"input_text": "' + b"x" * FIVE_MB + b'"}', 413, "body"),
    "both forms": (b'{"input_text": "a", "job_name": "guideline_checklist", "payload": {}}', 422, "not both"),
    "a chain without its payload": (b'{"job_name": "guideline_checklist"}', 422, "payload"),
    "a payload without its chain": (b'{"payload": {"guidelines": "a"}}', 422, "job_name"),
    "an unknown chain": (b'{"job_name": "os.system", "payload": {}}', 422, "job_name"),
    "a payload of another shape": (b'{"job_name": "guideline_checklist", "payload": []}', 422, "payload"),
    "a payload that lacks its text": (
        b'{"job_name": "guideline_checklist", "payload": {}}',
        422,
        "payload.guidelines",
    ),
    "an unknown field": (b'{"input_text": "a", "priority": 1}', 422, "priority"),
    "an unknown field in the payload": (
        b'{"job_name": "guideline_checklist", "payload": {"guidelines": "a", "b": 1}}',
        422,
        "payload.b",
    ),
    "a NUL": (b'{"input_text": "a\\u0000b"}', 422, "NUL"),
    "a lone surrogate": (b'{"input_text": "a\\ud800b"}', 400, "not JSON"),
    "no number": (b'{"input_text": NaN}', 400, "not JSON"),
    "nesting without end": (b"[" * 100_000, 400, "not JSON"),
    "metadata that is no text": (b'{"input_text": "a", "metadata": {"b": 1}}', 422, "metadata.b"),
    "metadata without end": (
        json.dumps({"input_text": "a", "metadata": {str(n): "" for n in range(17)}}).encode(),
        422,
        "metadata",
    ),
}


def assert_problem(answer: httpx2.Response, status: int, names: str) -> None:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem.keys() >= {"type", "title", "status", "detail", "request_id"}
    assert names in json.dumps(problem, ensure_ascii=False)


@pytest.mark.parametrize("body", BODIES)
def test_a_bad_body_is_refused(http: httpx2.Client, state: State, body: str) -> None:
    content, status, names = BODIES[body]
    before = state()

    answer = http.post("/jobs", content=content, headers=JSON)

    assert_problem(answer, status, names)
    assert state() == before


@pytest.mark.parametrize(
    "key", [b"x" * 256, "ключ".encode(), b"two words", b""], ids=["long", "not ASCII", "blank", "empty"]
)
def test_a_bad_idempotency_key_is_refused(http: httpx2.Client, state: State, key: bytes) -> None:
    before = state()

    answer = http.post("/jobs", json={"input_text": "a"}, headers={b"Idempotency-Key": key})

    assert_problem(answer, 422, "Idempotency-Key")
    assert state() == before


def test_another_content_type_is_refused(http: httpx2.Client, state: State) -> None:
    before = state()

    answer = http.post("/jobs", content=b'{"input_text": "a"}', headers={"Content-Type": "text/plain"})

    assert_problem(answer, 415, "application/json")
    assert state() == before


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (f"/jobs/{UNKNOWN_ID}", UNKNOWN_ID),
        (f"/jobs/{UNKNOWN_ID.upper()}", "event_id"),
        ("/jobs/1", "event_id"),
        ("/jobs/null", "event_id"),
        ("/jobs/" + "a" * 2000, "event_id"),
        ("/jobs/JOB%23x", ""),
        ("/jobs/..%2f..%2fetc", ""),
        ("/jobs/%00", ""),
        ("/nothing", "path"),
        ("/jobs/1/2/3", "path"),
        ("/", "path"),
    ],
)
def test_what_is_not_there_is_not_found(http: httpx2.Client, state: State, path: str, names: str) -> None:
    before = state()

    assert_problem(http.get(path), 404, names)
    assert state() == before


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "GET, POST"),
        ("PUT", "/jobs/", "GET, POST"),
        ("DELETE", "/jobs", "GET, POST"),
        ("GET", "/jobs/batch", "POST"),
        ("PATCH", f"/jobs/{UNKNOWN_ID}", "GET, DELETE"),
        ("POST", f"/jobs/{UNKNOWN_ID}", "GET, DELETE"),
        ("GET", f"/jobs/{UNKNOWN_ID}/cancel", "POST"),
        ("DELETE", f"/jobs/{UNKNOWN_ID}/retry", "POST"),
        ("POST", "/health", "GET"),
        ("OPTIONS", "/jobs", "GET, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(
    http: httpx2.Client, state: State, method: str, path: str, allowed: str
) -> None:
    before = state()

    answer = http.request(method, path, json={"input_text": "a"})

    assert_problem(answer, 405, allowed)
    assert answer.headers["Allow"] == allowed
    assert state() == before


def test_a_body_that_never_comes_whole_makes_no_job(http: httpx2.Client, state: State) -> None:
    before = state()
    url = urlsplit(str(http.base_url))

    with socket.create_connection((str(url.hostname), url.port or 80)) as connection:
        head = f"POST {url.path}jobs HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        connection.sendall(f'{head}Content-Length: 1000\r\n\r\n{{"input_text": "a"}}'.encode())

    assert http.get("/health").status_code == 200
    assert state() == before
