"""Two tenants, each with a key of its own, on one stack: neither can find, guess, move or count what is the other's."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import NewJob, utc_now
from jobchain.limits import Limits
from local.stack import EmbeddedStack
from tests.conftest import OPENAPI
from tests.e2e.conftest import FINAL, poll

PUBLIC = {"/health", "/openapi.json"}
SECRET = "Only alice may read this rule."
BODY = {"input_text": SECRET, "metadata": {"for": "alice"}}


@pytest.fixture(scope="module")
def keyed() -> Iterator[EmbeddedStack]:
    """A stack that asks for keys."""
    with EmbeddedStack.start(parameters={"AuthMode": "api_key"}) as stack:
        yield stack


Enter = Callable[..., httpx2.Client]


@pytest.fixture(scope="module")
def enter(keyed: EmbeddedStack) -> Iterator[Enter]:
    """Makes a key, and gives a client that sends it; without a tenant one that sends none."""
    keys = ApiKeyStore(keyed.client("dynamodb"), keyed.table, utc_now)
    clients = []

    def enter(tenant: str | None = None, limits: Limits | None = None, *, operator: bool = False) -> httpx2.Client:
        headers = {}
        if tenant:
            secret, _ = keys.create(tenant, tenant, limits or Limits(), operator=operator)
            headers["Authorization"] = f"Bearer {secret}"
        clients.append(httpx2.Client(base_url=keyed.api_url, headers=headers, timeout=60, trust_env=False))
        return clients[-1]

    yield enter
    for client in clients:
        client.close()


@dataclass(frozen=True)
class Alice:
    """A tenant with a job that has completed."""

    http: httpx2.Client
    event_id: str
    cursor: str
    key: str = "her-key"


@pytest.fixture(scope="module")
def alice(enter: Enter) -> Alice:
    http = enter("alice")
    event_id = http.post("/jobs", json=BODY, headers={"Idempotency-Key": Alice.key}).json()["event_id"]
    poll(lambda: http.get(f"/jobs/{event_id}").json()["status"] in FINAL)
    http.post("/jobs", json=BODY)
    return Alice(http, event_id, http.get("/jobs?limit=1").json()["next_cursor"])


@pytest.fixture(scope="module")
def bob(enter: Enter) -> httpx2.Client:
    return enter("bob")


def routes() -> list[tuple[str, str]]:
    """Every method and path of the contract."""
    document = json.loads(OPENAPI.read_text())
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_route_but_the_public_ones_asks_for_a_key(enter: Enter, alice: Alice, method: str, path: str) -> None:
    answer = enter().request(method, path.format(event_id=alice.event_id), json={} if method == "POST" else None)

    if path in PUBLIC:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:jobchain:problem:unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert SECRET not in answer.text


def test_whoever_may_not_come_in_learns_nothing_of_what_else_is_wrong(enter: Enter) -> None:
    for body in ({"nonsense": 1}, "[", "x" * 6_000_000):
        sent = body if isinstance(body, str) else json.dumps(body)
        answer = enter().post("/jobs", content=sent, headers={"Content-Type": "application/json"})
        assert answer.status_code == 401


class TestBob:
    """What he tries on each route."""

    TRIED = (
        ("GET", "/jobs/{event_id}"),
        ("GET", "/jobs/{event_id}/events"),
        ("DELETE", "/jobs/{event_id}"),
        ("POST", "/jobs/{event_id}/cancel"),
        ("POST", "/jobs/{event_id}/retry"),
        ("POST", "/jobs/{event_id}/fork"),
    )
    ELSEWHERE = (
        ("GET", "/jobs"),
        ("POST", "/jobs"),
        ("POST", "/jobs/batch"),
        ("GET", "/stats"),
        ("GET", "/usage"),
        ("GET", "/chains"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        # tests/e2e/test_agents.py
        ("POST", "/mcp"),
    )

    def test_has_every_route_tried_on_him(self) -> None:
        assert {*self.TRIED, *self.ELSEWHERE} == {*routes()}

    @pytest.mark.parametrize(("method", "path"), TRIED)
    def test_finds_no_job_of_hers(self, alice: Alice, bob: httpx2.Client, method: str, path: str) -> None:
        body = {"from_step": "checklist"} if path.endswith("/fork") else None
        hers = bob.request(method, path.format(event_id=alice.event_id), json=body)
        nobodys = bob.request(method, path.format(event_id=uuid4()), json=body)

        assert (hers.status_code, hers.json()["type"]) == (404, "urn:jobchain:problem:job-not-found")
        # Nor does the answer tell a job of hers from one that never was.
        assert hers.json().keys() == nobodys.json().keys()
        assert hers.json()["title"] == nobodys.json()["title"]
        assert alice.http.get(f"/jobs/{alice.event_id}").json()["status"] == "completed"

    def test_finds_none_in_his_lists(self, alice: Alice, bob: httpx2.Client) -> None:
        for query in ("", "?status=completed", "?job_name=guideline_checklist", "?limit=100"):
            listed = {job["event_id"] for job in bob.get(f"/jobs{query}").json()["jobs"]}
            hers = {job["event_id"] for job in alice.http.get("/jobs?limit=100").json()["jobs"]}
            assert not listed & hers

    def test_can_not_use_her_cursor(self, alice: Alice, bob: httpx2.Client) -> None:
        assert bob.get("/jobs", params={"limit": 1, "cursor": alice.cursor}).status_code == 422

    @pytest.mark.parametrize("batch", [False, True])
    def test_gets_a_job_of_his_own_for_her_idempotency_key(self, alice: Alice, bob: httpx2.Client, batch: bool) -> None:
        own = {"input_text": f"Bob's own rule, {batch}."}
        key = f"{alice.key}"
        if batch:
            alice.http.post("/jobs/batch", json={"jobs": [{**BODY, "idempotency_key": "k"}]})
            (made,) = bob.post("/jobs/batch", json={"jobs": [{**own, "idempotency_key": "k"}]}).json()["results"]
        else:
            answer = bob.post("/jobs", json=own, headers={"Idempotency-Key": key})
            made = answer.json()
            assert answer.status_code == 201
        assert made["event_id"] != alice.event_id
        assert bob.get(f"/jobs/{made['event_id']}").status_code == 200
        assert alice.http.get(f"/jobs/{made['event_id']}").status_code == 404

    def test_counts_none_of_hers(self, alice: Alice, enter: Enter) -> None:
        charlie = enter("charlie")

        stats = charlie.get("/stats").json()

        assert alice.http.get("/stats").json()["today"]["usage"]["input_tokens"] > 0
        assert set(stats["jobs"].values()) == {0}
        assert stats["today"]["created"] == 0
        assert stats["today"]["usage"]["input_tokens"] == 0
        assert charlie.get("/usage").json()["total"]["usage"]["input_tokens"] == 0
        assert alice.http.get("/usage").json()["total"]["usage"]["input_tokens"] > 0
        # The queues are shared, so only an operator may see how full they are.
        assert stats["queue"] is None
        assert enter("ops", operator=True).get("/stats").json()["queue"].keys() == {
            *("waiting", "in_flight", "delayed", "dead_letters")
        }

    def test_is_not_kept_out_by_her_limits(self, enter: Enter) -> None:
        # By the minute: a job may end before the next request. A minute may end too, hence a third one.
        limits = Limits(jobs_per_minute=1)
        dora, emil = enter("dora", limits), enter("emil", limits)

        assert 429 in [dora.post("/jobs", json=BODY).status_code for _ in range(3)]
        assert emil.post("/jobs", json=BODY).status_code == 201


def test_concurrent_posts_pass_a_limit_by_none(enter: Enter) -> None:
    http = enter("many", Limits(jobs_per_minute=10_000, unfinished_jobs=7))

    # Workers end jobs meanwhile; those that run at once never are more than seven.
    def post(_: int) -> tuple[int, dict[str, int]]:
        status = http.post("/jobs", json=BODY).status_code
        return status, http.get("/stats").json()["jobs"]

    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(post, range(30))]

    assert Counter(status for status, _ in answers).keys() == {201, 429}
    assert max(jobs["pending"] + jobs["processing"] for _, jobs in answers) <= 7


def test_headers_and_ids_carry_nothing_in(enter: Enter, alice: Alice) -> None:
    http = enter("mallory")
    for name, value in (
        ("Idempotency-Key", b"a\tb"),
        ("Idempotency-Key", "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode()),
        ("Idempotency-Key", b"x" * 256),
    ):
        answer = http.post("/jobs", json=BODY, headers=[(name.encode(), value)])
        assert (answer.status_code, [*answer.json()["errors"]]) == (422, [name])
    for event_id in (f"{alice.event_id}%0d%0aX-Evil:1", alice.event_id.upper(), f"{alice.event_id}%23", "%0d%0a"):
        answer = http.get(f"/jobs/{event_id}")
        assert answer.status_code == 404
        assert "X-Evil" not in answer.headers


def answered(send: Callable[[], httpx2.Response]) -> dict[str, Any]:
    """The answer's body. A table under load may be too slow for the API, which then says to ask again."""
    answer: httpx2.Response = poll(lambda: None if (answer := send()).status_code == 503 else answer)
    body: dict[str, Any] = answer.raise_for_status().json()
    return body


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_ten_thousand_jobs_of_two_tenants_are_listed_once_each_while_new_ones_arrive(
    keyed: EmbeddedStack, enter: Enter
) -> None:
    # given jobs that no worker is told of
    admission = AdmissionStore(keyed.client("dynamodb"), keyed.table, utc_now)
    expected: dict[str, set[str]] = {}
    for tenant in ("east", "west"):
        jobs = [NewJob(str(uuid4()), tenant, "guideline_checklist", {}, "f") for _ in range(5000)]
        expected[tenant] = {new.event_id for new in jobs}
        admission.create_many(jobs, timedelta(days=30))
    http = {tenant: enter(tenant) for tenant in expected}
    arriving = []

    def walk(tenant: str) -> list[str]:
        seen: list[str] = []
        cursor = None
        while True:
            query = {"limit": "100", **({"cursor": cursor} if cursor else {})}
            page = answered(partial(http[tenant].get, "/jobs", params=query))
            seen += [job["event_id"] for job in page["jobs"]]
            if (cursor := page["next_cursor"]) is None:
                return seen
            once = {"Idempotency-Key": str(uuid4())}
            arriving.append(answered(partial(http[tenant].post, "/jobs", json=BODY, headers=once))["event_id"])

    # when both are listed at the same time
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(expected, pool.map(walk, expected), strict=True))

    # then each has seen its own jobs, each once
    assert len(arriving) >= 98
    for tenant, ids in seen.items():
        assert len(ids) == len(set(ids))
        assert set(ids) - set(arriving) == expected[tenant]


def test_a_key_with_a_limit_on_requests_is_refused_above_it_and_told_when_to_come_again(enter: Enter) -> None:
    busy = enter("busy", Limits(requests_per_minute=4))

    # A minute may end in between.
    answers = [busy.get("/chains") for _ in range(10)]

    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.json()["limit"] for answer in refused} == {"requests_per_minute"}
    assert all(0 < int(answer.headers["Retry-After"]) <= 60 for answer in refused)


def test_the_log_tells_by_whom_a_refused_request_was_sent(enter: Enter, keyed: EmbeddedStack) -> None:
    answer = enter().get("/jobs", headers={"Authorization": "Bearer jc_wrong-key"})
    assert answer.status_code == 401

    def line() -> dict[str, Any] | None:
        logs = keyed.client("logs")
        lines = [
            event["message"]
            for group in logs.describe_log_groups()["logGroups"]
            for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]
        ]
        assert not any("jc_wrong" in text for text in lines)
        found = [json.loads(text) for text in lines if answer.json()["request_id"] in text and "401" in text]
        return found[0] if found else None

    logged = poll(line)
    assert (logged["route"], logged["address"]) == ("/jobs", "127.0.0.1")
