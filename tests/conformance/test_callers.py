"""Authentication, requests that are refused, and what is served beside the jobs."""

import json
import re
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.conformance.api import CHAIN, TEXT, Api, expect_problem
from tests.conformance.target import Target
from tests.conftest import OPENAPI

JSON = {"Content-Type": "application/json"}
OPEN = ("/health", "/openapi.json")
UNKNOWN_ID = "0b6c2f4e-0000-4000-8000-000000000001"


def routes() -> list[tuple[str, str]]:
    """Every method and path of the contract."""
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


class TestComingIn:
    @pytest.mark.needs("keys")
    @pytest.mark.parametrize(("method", "path"), [route for route in routes() if route[1] not in OPEN])
    def test_takes_a_key(self, anonymous: httpx2.Client, method: str, path: str) -> None:
        url = re.sub(r"\{\w+\}", str(uuid4()), path)
        refused = anonymous.request(method, url, json={} if method == "POST" else None)

        expect_problem(refused, 401, "unauthorized")
        # API Gateway gives this header another name:
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
        asked = refused.headers.get("WWW-Authenticate") or refused.headers.get("x-amzn-Remapped-www-authenticate")
        assert asked == "Bearer"

    @pytest.mark.needs("keys")
    @pytest.mark.parametrize("authorization", ["Bearer jc_nobody-has-this-one", "Bearer", "Basic YTpi", "nonsense"])
    def test_takes_a_key_that_is_known(self, anonymous: httpx2.Client, authorization: str) -> None:
        expect_problem(anonymous.get("/jobs", headers={"Authorization": authorization}), 401, "unauthorized")

    @pytest.mark.needs("keys")
    def test_takes_a_key_before_anything_else_is_looked_at(self, anonymous: httpx2.Client) -> None:
        expect_problem(anonymous.post("/jobs", content=b"[", headers=JSON), 401, "unauthorized")

    @pytest.mark.needs("keys", "two_tenants")
    def test_with_another_tenant_s_key_finds_no_job_of_ours(self, api: Api, other: Api, key: str) -> None:
        ours = api.submit(key=key)

        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")):
            expect_problem(other.http.request(method, f"/jobs/{ours}{path}"), 404, "job-not-found", ours)
        listed = other.http.get("/jobs", params={"limit": 100}).json()["jobs"]
        assert ours not in [job["event_id"] for job in listed]
        assert api.finished(ours)["status"] == "completed"

        theirs = other.post(key=key)
        assert (theirs.status_code, theirs.json()["event_id"] == ours) == (201, False)


BODIES: dict[str, tuple[bytes, int, str, str]] = {
    # what is sent, the status, the problem, and what it names
    "no body": (b"", 422, "invalid-request", "body"),
    "not JSON": (b"guidelines", 400, "malformed-body", "not JSON"),
    "half of JSON": (b'{"input_text": "a', 400, "malformed-body", "not JSON"),
    "no number": (b'{"input_text": NaN}', 400, "malformed-body", "not JSON"),
    "a list": (b"[]", 422, "invalid-request", "body"),
    "null": (b"null", 422, "invalid-request", "body"),
    "a number": (b"1", 422, "invalid-request", "body"),
    "nothing asked for": (b"{}", 422, "invalid-request", "input_text"),
    "a number for the text": (b'{"input_text": 1}', 422, "invalid-request", "input_text"),
    "an empty text": (b'{"input_text": ""}', 422, "invalid-request", "input_text"),
    "a blank text": (b'{"input_text": " \\n\\u3000"}', 422, "invalid-request", "input_text"),
    "a NUL": (b'{"input_text": "a\\u0000b"}', 422, "invalid-request", "NUL"),
    "zero-width characters alone": (b'{"input_text": "\\u200b\\u200d\\ufeff"}', 422, "invalid-request", "input_text"),
    "Latin-1": (b'{"input_text": "Geb\xfchr"}', 400, "malformed-body", "UTF-8"),
    "UTF-16": ('{"input_text": "a"}'.encode("utf-16"), 400, "malformed-body", ""),
    "a lone surrogate": (b'{"input_text": "a\\ud800b"}', 400, "malformed-body", "not JSON"),
    "nesting without end": (b"[" * 100_000, 400, "malformed-body", "not JSON"),
    "a text over the limit": (json.dumps({"input_text": "x" * 100_001}).encode(), 422, "invalid-request", "100000"),
    "a payload of too many bytes": (
        json.dumps({"input_text": "\U0001f600" * 70_000}, ensure_ascii=False).encode(),
        413,
        "body-too-large",
        "262144",
    ),
    "a body over the limit": (b'{"input_text": "' + b"x" * 5_000_000 + b'"}', 413, "body-too-large", "5000000"),
    "an unknown chain": (b'{"job_name": "os.system", "payload": {}}', 422, "invalid-request", CHAIN),
    "a chain without its payload": (b'{"job_name": "guideline_checklist"}', 422, "invalid-request", "payload"),
    "a payload without its chain": (b'{"payload": {"guidelines": "a"}}', 422, "invalid-request", "job_name"),
    "a payload that lacks its text": (
        b'{"job_name": "guideline_checklist", "payload": {}}',
        422,
        "invalid-request",
        "payload.guidelines",
    ),
    "an unknown field in the payload": (
        b'{"job_name": "guideline_checklist", "payload": {"guidelines": "a", "b": 1}}',
        422,
        "invalid-request",
        "payload.b",
    ),
    "a payload of another shape": (
        b'{"job_name": "guideline_checklist", "payload": []}',
        422,
        "invalid-request",
        "payload",
    ),
    "both forms": (
        b'{"input_text": "a", "job_name": "guideline_checklist", "payload": {}}',
        422,
        "invalid-request",
        "not both",
    ),
    "an unknown field": (b'{"input_text": "a", "priority": 1}', 422, "invalid-request", "priority"),
    "metadata that is no text": (b'{"input_text": "a", "metadata": {"b": 1}}', 422, "invalid-request", "metadata.b"),
    "metadata without end": (
        json.dumps({"input_text": "a", "metadata": {str(n): "" for n in range(17)}}).encode(),
        422,
        "invalid-request",
        "metadata",
    ),
    "a budget of nothing": (b'{"input_text": "a", "max_cost_usd": 0}', 422, "invalid-request", "max_cost_usd"),
    "an unknown tier": (b'{"input_text": "a", "tier": "first"}', 422, "invalid-request", "tier"),
}


PATHS = ("/nothing", "/jobs/1/2/3")
IDS = {"short": "1", "word": "null", "upper case": UNKNOWN_ID.upper(), "long": "a" * 2000}
METHODS = [
    ("PUT", "/jobs", "GET, HEAD, POST"),
    ("PUT", "/jobs/", "GET, HEAD, POST"),
    ("DELETE", "/jobs", "GET, HEAD, POST"),
    ("GET", "/jobs/batch", "POST"),
    ("PATCH", f"/jobs/{UNKNOWN_ID}", "GET, HEAD, DELETE"),
    ("POST", f"/jobs/{UNKNOWN_ID}", "GET, HEAD, DELETE"),
    ("GET", f"/jobs/{UNKNOWN_ID}/cancel", "POST"),
    ("DELETE", f"/jobs/{UNKNOWN_ID}/retry", "POST"),
    ("POST", "/health", "GET, HEAD"),
]

REFUSED: dict[str, dict[str, Any]] = {
    # the requests of all of these, by name
    **{
        f"POST {name}": {"method": "POST", "url": "/jobs", "content": content, "headers": JSON}
        for name, (content, *_) in BODIES.items()
    },
    **{
        f"{method} {path}": {"method": method, "url": path, "json": {"input_text": TEXT}} for method, path, _ in METHODS
    },
    **{f"GET {path}": {"method": "GET", "url": path} for path in PATHS},
    **{f"GET an id, {name}": {"method": "GET", "url": f"/jobs/{event_id}"} for name, event_id in IDS.items()},
    "GET the id of no job": {"method": "GET", "url": f"/jobs/{UNKNOWN_ID}"},
}


class TestABadRequest:
    @pytest.mark.parametrize("body", BODIES)
    def test_is_refused_with_what_is_wrong(self, api: Api, body: str) -> None:
        content, status, kind, names = BODIES[body]

        expect_problem(api.http.post("/jobs", content=content, headers=JSON), status, kind, names)

    def test_leaves_nothing_behind(self, api: Api) -> None:
        before = created(api)

        for name, request in REFUSED.items():
            assert api.http.request(**request).is_client_error, name
            assert created(api) == before, name

    @pytest.mark.parametrize("key", [b"x" * 256, b"two words"], ids=["long", "blank"])
    def test_has_an_idempotency_key_that_can_not_be_one(self, api: Api, key: bytes) -> None:
        answer = api.http.post("/jobs", json={"input_text": TEXT}, headers={b"Idempotency-Key": key})

        expect_problem(answer, 422, "invalid-request", "Idempotency-Key")

    def test_has_another_content_type(self, api: Api) -> None:
        answer = api.http.post("/jobs", content=b'{"input_text": "a"}', headers={"Content-Type": "text/plain"})

        expect_problem(answer, 415, "unsupported-content-type", "application/json")

    @pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": [{"input_text": ""}] * 101}], ids=["no", "0", "101"])
    def test_is_a_batch_of_none_or_too_many(self, api: Api, body: dict[str, Any]) -> None:
        expect_problem(api.http.post("/jobs/batch", json=body), 422, "invalid-request", "jobs")

    @pytest.mark.parametrize("path", PATHS)
    def test_has_a_path_that_is_not_there(self, api: Api, path: str) -> None:
        expect_problem(api.http.get(path), 404, "path-not-found")

    @pytest.mark.parametrize("event_id", IDS.values(), ids=IDS)
    def test_has_an_id_that_is_none_of_ours(self, api: Api, event_id: str) -> None:
        expect_problem(api.http.get(f"/jobs/{event_id}"), 404, "job-not-found", "event_id")

    def test_has_the_id_of_no_job(self, api: Api) -> None:
        expect_problem(api.http.get(f"/jobs/{UNKNOWN_ID}"), 404, "job-not-found", UNKNOWN_ID)

    @pytest.mark.parametrize(("method", "path", "allowed"), METHODS)
    def test_has_a_method_that_the_path_does_not_take(self, api: Api, method: str, path: str, allowed: str) -> None:
        refused = api.http.request(method, path, json={"input_text": TEXT})

        expect_problem(refused, 405, "method-not-allowed", allowed)
        assert refused.headers["Allow"] == allowed


def created(api: Api) -> int:
    """How many jobs the tenant has made, as far as its numbers go back."""
    today = api.http.get("/stats").json()["today"]
    return int(today["created"])


READABLE = ("/jobs", "/jobs/{event_id}", "/chains", "/stats", "/health", "/openapi.json", "/queue", "/docs", "/redoc")


class TestAnAnswer:
    @pytest.mark.parametrize("path", READABLE)
    def test_to_head_is_that_to_get_without_its_body(self, api: Api, path: str) -> None:
        url = path.format(event_id=api.submit()) if "{" in path else path

        answer, read = api.http.head(url), api.http.get(url)

        assert (answer.status_code, answer.content) == (200, b"")
        for name in ("Content-Type", "Cache-Control", "X-Content-Type-Options"):
            assert answer.headers[name] == read.headers[name], name

    @pytest.mark.parametrize("path", ["/jobs/batch", f"/jobs/{UNKNOWN_ID}/cancel"])
    def test_to_head_is_a_refusal_where_nothing_can_be_read(self, api: Api, path: str) -> None:
        answer = api.http.head(path)

        assert (answer.status_code, answer.headers["Allow"], answer.content) == (405, "POST", b"")

    def test_to_head_needs_a_key(self, target: Target, anonymous: httpx2.Client) -> None:
        assert anonymous.head("/jobs").status_code == (401 if target.asks_for_keys else 200)

    def test_that_is_empty_is_no_json(self, api: Api) -> None:
        etag = api.http.get("/chains").headers["ETag"]
        event_id = api.submit()
        api.finished(event_id)

        unchanged = api.http.get("/chains", headers={"If-None-Match": etag})
        deleted = api.http.delete(f"/jobs/{event_id}")

        assert (unchanged.status_code, deleted.status_code) == (304, 204)
        for answer in (unchanged, deleted):
            assert "json" not in answer.headers.get("Content-Type", "")
            assert answer.content == b""

    @pytest.mark.parametrize(
        "path", [*(path for path in READABLE if "{" not in path), "/nothing", f"/jobs/{UNKNOWN_ID}"]
    )
    def test_is_kept_by_no_cache_and_taken_for_nothing_else(self, api: Api, path: str) -> None:
        headers = api.http.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        if path in ("/jobs", "/stats", "/health", f"/jobs/{UNKNOWN_ID}"):
            assert headers["Cache-Control"] == "no-store"
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


class TestTheSystem:
    def test_is_healthy_and_says_so_to_anybody(self, anonymous: httpx2.Client) -> None:
        answer = anonymous.get("/health")

        assert answer.status_code == 200
        assert answer.json().keys() == {
            *("status", "table", "queue", "breaker"),
            *("last_sweep_seconds", "oldest_due_seconds", "model"),
        }
        assert (answer.json()["table"], answer.json()["queue"]) == ("ok", "ok")

    def test_counts_what_was_made_and_what_it_took(self, api: Api) -> None:
        before = api.http.get("/stats").json()
        job = api.finished(api.submit())
        after = api.http.get("/stats").json()

        # At midnight (UTC) the numbers start again.
        if after["today"]["date"] == before["today"]["date"]:
            assert after["today"]["created"] > before["today"]["created"]
            assert after["jobs"]["completed"] > before["jobs"]["completed"]
            for name, tokens in job["usage"].items():
                assert after["today"]["usage"][name] >= before["today"]["usage"][name] + tokens

    @pytest.mark.parametrize("path", ["/stats", "/chains", "/openapi.json", "/jobs"])
    def test_costs_no_body_while_nothing_changes(self, api: Api, path: str) -> None:
        # Another job of the tenant may end in between.
        def unchanged() -> bool:
            etag = api.http.get(path).headers["ETag"]
            return api.http.get(path, headers={"If-None-Match": etag}).status_code == 304

        assert any(unchanged() for _ in range(10))

    def test_serves_the_contract_of_this_checkout(self, document: dict[str, Any]) -> None:
        assert document == json.loads(OPENAPI.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", ["/queue", "/docs", "/redoc"])
class TestAPage:
    def test_is_served_to_anybody_under_a_strict_policy(self, anonymous: httpx2.Client, path: str) -> None:
        page = anonymous.get(path)

        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        scripts = "'sha256-" if path == "/queue" else "'self';"
        assert f"default-src 'none'; script-src {scripts}" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"

    def test_finds_all_that_it_loads(self, anonymous: httpx2.Client, path: str) -> None:
        page = anonymous.get(path)
        links = re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)

        answers = [anonymous.get(page.url.join(link)) for link in links]

        if path == "/queue":
            assert not answers, "its files are in it"
            return
        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.content for answer in answers)
        assert {answer.headers["Content-Type"].partition(";")[0] for answer in answers} == {
            "image/svg+xml",
            "text/css",
            "text/javascript",
        }

    def test_is_not_sent_twice(self, anonymous: httpx2.Client, path: str) -> None:
        etag = anonymous.get(path).headers["ETag"]

        known = anonymous.get(path, headers={"If-None-Match": etag})

        assert (known.status_code, known.content) == (304, b"")
