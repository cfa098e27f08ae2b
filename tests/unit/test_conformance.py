"""The conformance suite's own parts: it refuses what can't be tested, gives no key away, and its checks can fail."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from jobchain_cli.stack import emulated_url
from local.emulator import free_port
from tests.conformance import faulty_model
from tests.conformance.contract import Contract
from tests.conformance.target import NoTargetError, Parts, Target, find
from tests.conftest import OPENAPI, ROOT

KEY = "jc_a-key-that-no-log-may-show"
OK, REFUSED = (200, '{"status": "ok"}'), (401, '{"type": "urn:jobchain:problem:unauthorized"}')

Answers = Callable[[str, str | None], tuple[int, str]]


@contextmanager
def server(answers: Answers) -> Iterator[str]:
    """Answers as `answers` says for a path and a header `Authorization`; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers(self.path.partition("?")[0], self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def keyed(path: str, authorization: str | None) -> tuple[int, str]:
    return OK if path == "/health" or authorization == f"Bearer {KEY}" else REFUSED


def found(url: str, **environment: str) -> Target:
    options = {"url": url, "stack": "", "endpoint": "", "model_faults": False, "alone": False}
    return find(options, environment)


class TestATarget:
    def test_that_asks_for_keys_takes_ours(self) -> None:
        with server(keyed) as url:
            target = found(f"{url}/", JOBCHAIN_API_KEY=KEY)

        assert (target.api_url, target.asks_for_keys, target.key) == (url, True, KEY)

    def test_without_keys_is_one_too(self) -> None:
        with server(lambda *_: OK) as url:
            assert found(url).asks_for_keys is False

    def test_that_refuses_the_key_is_none(self) -> None:
        with server(keyed) as url, pytest.raises(NoTargetError, match="refuses the key of JOBCHAIN_API_KEY: 401"):
            found(url, JOBCHAIN_API_KEY="jc_another")

    def test_that_asks_for_a_key_which_is_not_given_is_none(self) -> None:
        with server(keyed) as url, pytest.raises(NoTargetError, match="give it as JOBCHAIN_API_KEY"):
            found(url)

    @pytest.mark.parametrize("health", [(404, "no such page"), (503, '{"status": 503}'), (200, "<html>")], ids=str)
    def test_that_is_not_well_or_another_server_is_none(self, health: tuple[int, str]) -> None:
        with server(lambda *_: health) as url, pytest.raises(NoTargetError, match=f"/health answers {health[0]}"):
            found(url)

    def test_that_does_not_answer_is_none(self) -> None:
        with pytest.raises(NoTargetError, match="does not answer: ConnectError"):
            found(f"http://127.0.0.1:{free_port()}")

    def test_whose_url_is_none_is_none(self) -> None:
        with pytest.raises(NoTargetError, match="'jobchain' is no URL"):
            found("jobchain")

    def test_that_has_nothing_has_its_tests_left_out_with_the_reason(self) -> None:
        bare = Target("bare", "http://x", asks_for_keys=False)
        needs = ("keys", "two_tenants", "parts", "model_faults", "alone")

        assert all(bare.lack(need) for need in needs)

    def test_that_has_everything_runs_them_all(self) -> None:
        parts = Parts(lambda _: None, "table", "queue", "dead letters")
        rich = Target("rich", "http://x", True, "a", "b", parts, model_faults=True, alone=True)

        assert [rich.lack(need) for need in ("keys", "two_tenants", "parts", "model_faults", "alone")] == [None] * 5

    def test_shows_no_key(self) -> None:
        assert KEY not in repr(Target("keyed", "http://x", True, KEY, KEY))


def test_an_emulator_serves_an_api_below_its_own_url() -> None:
    on_aws = "https://a1b2c3.execute-api.us-east-1.amazonaws.com/v1"

    assert emulated_url(on_aws, "http://localhost:4566/") == "http://localhost:4566/_aws/execute-api/a1b2c3/v1"


def run_suite(cache: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", "tests/conformance/test_jobs.py", *options]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=250, check=False
    )


@pytest.mark.thorough
@pytest.mark.slow
def test_the_suite_does_not_start_where_the_key_is_refused_and_gives_no_key_away(tmp_path: Path) -> None:
    with server(keyed) as url:
        run = run_suite(tmp_path, "--url", url, JOBCHAIN_API_KEY="jc_wrong-and-secret")

    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "refuses the key of JOBCHAIN_API_KEY" in run.stderr
    assert "jc_wrong" not in run.stdout + run.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_a_suite_that_fails_gives_no_key_away(tmp_path: Path) -> None:
    # A server that lets the key in, and answers nothing as a stack must.
    with server(keyed) as url:
        run = run_suite(tmp_path, "--url", url, "--showlocals", "--tb=long", "-k", "TestPolling", JOBCHAIN_API_KEY=KEY)

    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    assert KEY not in run.stdout + run.stderr


DOCUMENT: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
MADE = {"event_id": "0b6c2f4e-7d1a-4b53-9a0f-3f1c5b8e2d47", "status": "pending", "created_at": "2026-11-22T10:00:00Z"}


def answer(
    method: str, path: str, status: int, body: Mapping[str, Any] | str, content_type: str = "application/json"
) -> httpx2.Response:
    return httpx2.Response(
        status,
        content=body if isinstance(body, str) else json.dumps(body),
        headers={"Content-Type": content_type},
        request=httpx2.Request(method, f"http://x/v1{path}"),
    )


class TestTheContract:
    CONTRACT = Contract(DOCUMENT, "http://x/v1/")

    def test_takes_what_it_describes(self) -> None:
        self.CONTRACT.check(answer("POST", "/jobs", 201, MADE))
        self.CONTRACT.check(answer("POST", "/jobs/", 201, MADE))
        self.CONTRACT.check(answer("GET", "/jobs/1", 304, ""))

    def test_says_nothing_of_what_it_does_not_know(self) -> None:
        self.CONTRACT.check(answer("GET", "/queue", 200, "<html>", "text/html"))
        self.CONTRACT.check(answer("PUT", "/jobs", 405, {}))

    @pytest.mark.parametrize(
        ("wrong", "why"),
        [
            (answer("POST", "/jobs", 202, MADE), "does not name this status"),
            (answer("POST", "/jobs", 201, {**MADE, "status": "done"}), "'done'"),
            (answer("POST", "/jobs", 201, {"event_id": "1"}), "required"),
            (answer("POST", "/jobs", 201, MADE, "text/html"), "text/html"),
            (answer("POST", "/jobs/batch", 201, MADE), "/jobs/batch"),
            (answer("GET", "/jobs/1", 404, MADE), "application/json"),
            (answer("GET", "/jobs/1", 304, MADE), "there is a body"),
        ],
        ids=["status", "value", "field missing", "type", "batch", "no problem", "a body"],
    )
    def test_fails_for_what_it_does_not_describe(self, wrong: httpx2.Response, why: str) -> None:
        with pytest.raises(AssertionError, match=why):
            self.CONTRACT.check(wrong)


@pytest.mark.slow
def test_the_faulty_model_carries_out_each_order_once() -> None:
    prompts = {
        kind: f"A text. {faulty_model.order(kind)}" for kind in ("throttle", "break", "unauthorize", "refuse", "delay")
    }
    with faulty_model.running() as base_url, httpx2.Client(base_url=base_url, trust_env=False, timeout=120) as http:
        first = {kind: http.post("responses", json={"input": prompt}) for kind, prompt in prompts.items()}
        again = {kind: http.post("responses", json={"input": prompt}) for kind, prompt in prompts.items()}

    assert {kind: answer.status_code for kind, answer in first.items()} == {
        "throttle": 429,
        "break": 500,
        "unauthorize": 401,
        "refuse": 400,
        "delay": 200,
    }
    assert first["throttle"].headers["Retry-After"] == str(faulty_model.RETRY_AFTER)
    assert first["delay"].elapsed.total_seconds() >= faulty_model.SLOW_SECONDS
    assert {answer.status_code for answer in again.values()} == {200}
