"""Both clients against a server that plays a script, in a time of its own."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import httpx2
import pytest

from jobchain_client import (
    AsyncJobchain,
    BadAnswer,
    BadArgument,
    Conflict,
    Estimate,
    IdempotencyConflict,
    InvalidRequest,
    Jobchain,
    JobchainError,
    JobNotCompleted,
    LimitReached,
    NotFound,
    Submission,
    Unauthorized,
    Unavailable,
    Unreachable,
    WaitTimeout,
)
from tests.conftest import OPENAPI
from tests.jobs import job_of, raw_attempt, raw_event, raw_events, raw_job, raw_step

URL = "https://api.test/v1"
ID = raw_job()["event_id"]
CREATED = {"event_id": ID, "status": "pending", "created_at": "2026-11-22T10:00:00.000Z"}

Answer = httpx2.Response | Exception


def answer(status: int = 200, body: Any = None, **headers: str) -> httpx2.Response:
    content = b"" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, content=content, headers=named)


def problem(status: int, kind: str, **more: Any) -> httpx2.Response:
    headers = {"Retry_After": str(more.pop("retry_after"))} if "retry_after" in more else {}
    body = {"type": f"urn:jobchain:problem:{kind}", "title": "T", "status": status, "detail": "d", "request_id": "r-1"}
    return answer(status, {**body, **more}, **headers)


class Api:
    """A client of one of the two kinds, a server that gives its answers one by one, and their time."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.answers: list[Answer] = []
        self.requests: list[httpx2.Request] = []
        self.slept: list[float] = []
        self.now = 1000.0
        self.options: dict[str, Any] = {}

    def says(self, *answers: Answer) -> None:
        self.answers += answers

    def run(self, call: Callable[[Any], Any]) -> Any:
        """What a call gives, once it is there; of an iterator, all that it yields."""
        return self._run_sync(call) if self.kind == "sync" else asyncio.run(self._run_async(call))

    def _run_sync(self, call: Callable[[Any], Any]) -> Any:
        def sleep(seconds: float) -> None:
            self._sleep(seconds)

        transport = httpx2.MockTransport(self._handle)
        with Jobchain(
            URL, "jc_key", transport=transport, clock=lambda: self.now, sleep=sleep, **self.options
        ) as client:
            given = call(client)
            return list(given) if isinstance(given, Iterator) else given

    async def _run_async(self, call: Callable[[Any], Any]) -> Any:
        async def sleep(seconds: float) -> None:
            self._sleep(seconds)

        transport = httpx2.MockTransport(self._handle)
        async with AsyncJobchain(
            URL, "jc_key", transport=transport, clock=lambda: self.now, sleep=sleep, **self.options
        ) as client:
            given = call(client)
            if isinstance(given, AsyncIterator):
                return [each async for each in given]
            return await given if inspect.isawaitable(given) else given

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        # A new one, as a response belongs to the kind of client that has read it.
        return httpx2.Response(said.status_code, headers=said.headers, content=said.content)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest) -> Api:
    return Api(request.param)


# --- submitting ------------------------------------------------------------------------------------------------------


def test_a_text_is_posted_with_a_key_of_its_own(api: Api) -> None:
    api.says(answer(201, CREATED), answer(201, CREATED))

    handle = api.run(lambda client: client.submit("Lock doors.", metadata={"a": "b"}, max_cost_usd=0.5, tier=None))
    api.run(lambda client: client.submit("Lock doors."))

    assert (handle.event_id, handle.replayed) == (ID, False)
    assert api.bodies[0] == {"input_text": "Lock doors.", "metadata": {"a": "b"}, "max_cost_usd": 0.5}
    assert api.paths[0] == "POST /v1/jobs"
    assert api.requests[0].headers["Authorization"] == "Bearer jc_key"
    keys = [request.headers["Idempotency-Key"] for request in api.requests]
    assert all(len(key) == 36 for key in keys)
    assert keys[0] != keys[1]


def test_a_payload_goes_to_its_chain_and_a_replay_is_told(api: Api) -> None:
    api.says(answer(200, CREATED, Idempotent_Replayed="true"))

    handle = api.run(lambda client: client.submit({"first": "a", "second": "b"}, "compare", idempotency_key="k"))

    assert handle.replayed
    assert api.bodies == [{"job_name": "compare", "payload": {"first": "a", "second": "b"}}]
    assert api.requests[0].headers["Idempotency-Key"] == "k"


CHAINS = {
    "chains": [
        {
            "name": name,
            "description": "d",
            "steps": [{"name": "one"}],
            "payload_schema": {
                "properties": {**{text: {"type": "string"} for text in texts}, "depth": {"type": "integer"}},
                "required": texts,
            },
        }
        for name, texts in {"extract": ["text"], "compare": ["first", "second"]}.items()
    ]
}


def test_a_text_for_a_chain_goes_where_the_chain_wants_it_and_the_chains_are_asked_for_once(api: Api) -> None:
    api.says(answer(200, CHAINS), answer(200, {"results": [CREATED, CREATED]}))

    api.run(lambda client: client.submit_many([Submission("a", "extract"), Submission("b", "extract")]))

    assert api.paths == ["GET /v1/chains", "POST /v1/jobs/batch"]
    assert [job["payload"] for job in json.loads(api.requests[1].content)["jobs"]] == [{"text": "a"}, {"text": "b"}]


def test_a_chain_tells_what_a_job_may_set_and_is_taken_to_allow_all_if_it_does_not(api: Api) -> None:
    strict = {**CHAINS["chains"][0], "overrides": ["effort"]}
    api.says(answer(200, {"chains": [strict, CHAINS["chains"][1]]}))

    chains = api.run(lambda client: client.chains())

    assert [chain.overrides for chain in chains] == [("effort",), ("model", "effort", "prompt")]


@pytest.mark.parametrize(("chain", "told"), [("none", "there are compare, extract"), ("compare", "first, second")])
def test_a_text_for_a_chain_that_has_no_place_for_it_is_refused(api: Api, chain: str, told: str) -> None:
    api.says(answer(200, CHAINS))

    with pytest.raises(BadArgument, match=told):
        api.run(lambda client: client.submit("a", chain))


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.submit({"a": 1}),
        lambda client: client.submit("a\ud800"),
        lambda client: client.submit({"a": float("nan")}, "extract"),
        lambda client: client.submit({"a": object()}, "extract"),
        lambda client: client.get(""),
        lambda client: client.cancel(".."),
    ],
)
def test_what_can_not_be_sent_is_a_bad_argument(api: Api, call: Callable[[Any], Any]) -> None:
    with pytest.raises(BadArgument):
        api.run(call)

    assert api.requests == []


@pytest.mark.parametrize("url", ["", "api.test", "ftp://a", "file:///etc/passwd", "https://a?b=c"])
@pytest.mark.parametrize("kind", [Jobchain, AsyncJobchain])
def test_a_url_must_be_one(kind: Any, url: str) -> None:
    with pytest.raises(BadArgument, match=r"the API's URL is .*, which can't be used"):
        kind(url)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "schlüssel"])
def test_a_key_must_fit_a_header_and_is_not_repeated(key: str) -> None:
    with pytest.raises(BadArgument, match=r"^api_key (holds no API key|can't be an API key)") as caught:
        Jobchain(URL, key)

    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("key", ["", "ä", "a b", "x" * 256])
def test_an_idempotency_key_must_fit_a_header(api: Api, key: str) -> None:
    with pytest.raises(BadArgument, match=r"idempotency key .* 1 to 255 visible ASCII characters"):
        api.run(lambda client: client.submit("text", idempotency_key=key))

    assert api.requests == []


@pytest.mark.parametrize("kind", [Jobchain, AsyncJobchain])
def test_a_proxy_that_can_not_work_is_named_unless_the_api_is_on_this_machine(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://user:secret@127.0.0.1:9")

    kind("http://127.0.0.1:9")
    with pytest.raises(BadArgument, match=r"the proxy ALL_PROXY is 'socks4://\*\*\*@127\.0\.0\.1:9'"):
        kind("https://api.test/v1")


def test_a_replacement_character_is_sent_escaped_as_the_bare_one_tells_of_lost_bytes(api: Api) -> None:
    api.says(answer(201, CREATED))

    api.run(lambda client: client.submit("a \N{REPLACEMENT CHARACTER} b"))

    assert rb"a \ufffd b" in api.requests[0].content


# --- batches ---------------------------------------------------------------------------------------------------------


def results(count: int) -> httpx2.Response:
    return answer(200, {"results": [{**CREATED, "event_id": f"job-{n}", "replayed": False} for n in range(count)]})


def test_many_go_a_hundred_at_a_time_each_with_a_key(api: Api) -> None:
    api.says(results(100), results(100), results(50))

    outcomes = api.run(lambda client: client.submit_many(f"text {n}" for n in range(250)))

    jobs = [body["jobs"] for body in api.bodies]
    assert [len(batch) for batch in jobs] == [100, 100, 50]
    assert [job["input_text"] for batch in jobs for job in batch] == [f"text {n}" for n in range(250)]
    assert len({job["idempotency_key"] for batch in jobs for job in batch}) == 250
    assert len(outcomes) == 250
    assert outcomes[249].event_id == "job-49"


def test_a_body_stays_below_what_the_api_takes(api: Api) -> None:
    api.says(results(50), results(1))

    api.run(lambda client: client.submit_many(["x" * 99_000] * 51))

    assert [len(body["jobs"]) for body in api.bodies] == [50, 1]
    assert all(len(request.content) <= 5_000_000 for request in api.requests)


def test_an_entry_that_is_refused_is_an_error_in_its_place(api: Api) -> None:
    refused = {"type": "urn:jobchain:problem:limit-reached", "title": "T", "status": 429, "detail": "full"}
    api.says(answer(200, {"results": [CREATED, refused, {**CREATED, "replayed": True}]}))

    first, second, third = api.run(lambda client: client.submit_many(["a", "b", "c"]))

    assert (first.event_id, first.replayed, third.replayed) == (ID, False, True)
    assert isinstance(second, LimitReached)
    assert (second.type, second.detail) == ("limit-reached", "full")


def unavailable(detail: str = "the table is busy") -> dict[str, Any]:
    return {"type": "urn:jobchain:problem:unavailable", "title": "T", "status": 503, "detail": detail}


def test_entries_that_could_not_be_stored_just_now_are_sent_again_with_their_keys(api: Api) -> None:
    def made(name: str) -> dict[str, Any]:
        return {**CREATED, "event_id": name}

    api.says(
        answer(200, {"results": [unavailable(), made("b"), unavailable()]}),
        answer(200, {"results": [unavailable(), made("c")]}),
        answer(200, {"results": [{**made("a"), "replayed": True}]}),
    )

    outcomes = api.run(lambda client: client.submit_many(["a", "b", "c"]))

    first, second, third = ([job["input_text"] for job in body["jobs"]] for body in api.bodies)
    assert (first, second, third) == (["a", "b", "c"], ["a", "c"], ["a"])
    keys = [{job["input_text"]: job["idempotency_key"] for job in body["jobs"]} for body in api.bodies]
    assert keys[0]["a"] == keys[1]["a"] == keys[2]["a"]
    assert [(outcome.event_id, outcome.replayed) for outcome in outcomes] == [("a", True), ("b", False), ("c", False)]
    assert len(api.slept) == 2


def test_an_entry_that_can_not_be_stored_in_time_is_an_error_in_its_place(api: Api) -> None:
    api.options["retry_seconds"] = 10.0
    api.says(answer(200, {"results": [unavailable(), CREATED]}), *[answer(200, {"results": [unavailable()]})] * 20)

    first, second = api.run(lambda client: client.submit_many(["a", "b"]))

    assert isinstance(first, Unavailable)
    assert second.event_id == ID
    assert 3.7 < sum(api.slept) <= 10


def test_what_is_accepted_is_not_hidden_if_the_others_can_not_be_sent_again(api: Api) -> None:
    api.says(answer(200, {"results": [unavailable(), CREATED]}), problem(401, "unauthorized"))

    first, second = api.run(lambda client: client.submit_many(["a", "b"]))

    assert (first.detail, second.event_id) == ("the table is busy", ID)


def test_a_batch_that_fails_does_not_hide_what_the_one_before_made(api: Api) -> None:
    api.says(results(100), problem(401, "unauthorized"))

    outcomes = api.run(lambda client: client.submit_many(["a"] * 150))

    assert [isinstance(outcome, Unauthorized) for outcome in outcomes] == [False] * 100 + [True] * 50


def test_a_first_batch_that_fails_is_raised(api: Api) -> None:
    api.says(problem(401, "unauthorized"))

    with pytest.raises(Unauthorized):
        api.run(lambda client: client.submit_many(["a"]))


def test_a_batch_with_another_number_of_answers_is_none_of_this_api(api: Api) -> None:
    api.says(results(1))

    with pytest.raises(BadAnswer, match="2 jobs were sent, 1 answered"):
        api.run(lambda client: client.submit_many(["a", "b"]))


# --- problems --------------------------------------------------------------------------------------------------------


def problems_of_the_contract() -> dict[str, dict[str, Any]]:
    """Each problem that the OpenAPI document gives as an example, by the end of its type."""
    document = json.loads(OPENAPI.read_text())
    return {
        name: example["value"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for name, example in response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
    }


KINDS = {
    "malformed-body": InvalidRequest,
    "unauthorized": Unauthorized,
    "foreign-origin": Unauthorized,
    "job-not-found": NotFound,
    "job-is-final": Conflict,
    "job-is-not-final": Conflict,
    "job-cannot-be-forked": Conflict,
    "step-does-not-wait": Conflict,
    "decided-already": Conflict,
    "decision-too-late": Conflict,
    "endpoint-not-found": NotFound,
    "endpoint-disabled": Conflict,
    "delivery-not-found": NotFound,
    "too-many-endpoints": Conflict,
    "webhooks-off": Conflict,
    "body-too-large": InvalidRequest,
    "unsupported-content-type": InvalidRequest,
    "invalid-request": InvalidRequest,
    "idempotency-conflict": IdempotencyConflict,
    "limit-reached": LimitReached,
    "unavailable": Unavailable,
}


@pytest.mark.parametrize("name", sorted(problems_of_the_contract()))
def test_each_problem_of_the_contract_is_an_error_that_says_all_of_it(api: Api, name: str) -> None:
    body = problems_of_the_contract()[name]
    api.options["retry_seconds"] = 0
    api.says(answer(body["status"], body))

    with pytest.raises(JobchainError) as caught:
        api.run(lambda client: client.get("a"))

    error = caught.value
    assert type(error) is KINDS.get(name, JobchainError)
    assert (error.type, error.status, error.detail, error.request_id) == (
        name,
        body["status"],
        body["detail"],
        body["request_id"],
    )
    assert error.errors == body.get("errors", {})
    assert error.problem.raw == body
    assert str(error) == f"{body['detail']} ({name}, request {body['request_id']})"


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (answer(403, {"message": "Forbidden"}, x_amzn_RequestId="r-2"), "Forbidden (about:blank, request r-2)"),
        (httpx2.Response(500, content=b"<html>"), "HTTP status 500 (about:blank)"),
        (answer(404, ["not", "an", "object"]), "HTTP status 404 (about:blank)"),
    ],
)
def test_an_error_that_is_no_problem_is_told_as_far_as_it_goes(api: Api, said: httpx2.Response, detail: str) -> None:
    api.says(said)

    with pytest.raises(JobchainError) as caught:
        api.run(lambda client: client.get("a"))

    assert str(caught.value) == detail


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b"null", b'{"event_id": 1, "created_at": "never"}'])
def test_an_answer_of_another_server_is_told_apart(api: Api, content: bytes) -> None:
    api.says(httpx2.Response(200, content=content))

    with pytest.raises(BadAnswer, match="is the URL right"):
        api.run(lambda client: client.get("a"))


def test_nobody_is_followed_elsewhere_with_the_key(api: Api) -> None:
    api.says(answer(302, Location="https://elsewhere.test/"))

    with pytest.raises(BadAnswer, match=r"elsewhere\.test"):
        api.run(lambda client: client.get("a"))

    assert len(api.requests) == 1


# --- trying again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        problem(429, "too-many-requests"),
        problem(503, "unavailable"),
        answer(502),
        answer(504),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        httpx2.RemoteProtocolError("gone"),
    ],
)
def test_what_may_pass_is_tried_again_with_the_same_key(api: Api, fault: Answer) -> None:
    api.says(fault, fault, answer(201, CREATED))

    assert api.run(lambda client: client.submit("a")).event_id == ID

    assert len({request.headers["Idempotency-Key"] for request in api.requests}) == 1
    assert len({request.content for request in api.requests}) == 1
    assert 0.25 <= api.slept[0] <= 0.5 <= api.slept[1] <= 1


def test_the_api_says_how_long_to_wait(api: Api) -> None:
    api.says(problem(503, "unavailable", retry_after=7), answer(200, raw_job()))

    api.run(lambda client: client.get("a"))

    assert api.slept == [7]


def test_a_wait_that_is_too_long_is_not_begun(api: Api) -> None:
    api.says(problem(429, "limit-reached", retry_after=3600, limit="tokens_per_day"))

    with pytest.raises(LimitReached) as caught:
        api.run(lambda client: client.submit("a"))

    assert (caught.value.retry_after, api.slept) == (3600, [])


def test_all_tries_together_have_an_end(api: Api) -> None:
    api.says(*[httpx2.ConnectError("refused")] * 100)

    with pytest.raises(Unreachable, match=r"no answer from api\.test: refused"):
        api.run(lambda client: client.get("a"))

    assert 20 < sum(api.slept) <= 30


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500])
def test_what_will_not_pass_is_not_tried_again(api: Api, status: int) -> None:
    api.says(problem(status, "x"))

    with pytest.raises(JobchainError):
        api.run(lambda client: client.submit("a"))

    assert len(api.requests) == 1


def test_health_is_asked_once(api: Api) -> None:
    api.says(problem(503, "unavailable", detail="the table does not answer"))

    with pytest.raises(Unavailable, match="the table does not answer"):
        api.run(lambda client: client.health())


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_job_is_read_with_all_that_it_has_and_what_is_new_is_kept(api: Api) -> None:
    raw = raw_job(tier="flex", max_cost_usd=0.1, calls=4, retries=1, brand_new={"a": 1}, metadata={"k": "v"})
    api.says(answer(200, raw, ETag='"e-1"'))

    job = api.run(lambda client: client.get("a/b c"))

    assert api.paths == ["GET /v1/jobs/a%2Fb%20c"]
    assert (job.status, job.final, job.etag, job.metadata) == ("completed", True, '"e-1"', {"k": "v"})
    assert (job.tier, job.max_cost_usd, job.calls, job.retries) == ("flex", 0.1, 4, 1)
    assert [(step.name, step.seconds) for step in job.steps] == [("summary", 2), ("checklist", 2), ("diagram", 2)]
    assert (job.usage.input_tokens, job.cost_usd, job.created_at.year) == (812, 0.0001512, 2026)
    assert job.raw["brand_new"] == {"a": 1}


def test_a_failed_job_says_why(api: Api) -> None:
    error = {"type": "model_refused", "message": "no", "step": "summary", "hint": "new"}
    api.says(answer(200, raw_job(status="failed", error=error)))

    job = api.run(lambda client: client.get("a"))

    assert job.error
    assert (job.error.type, job.error.message, job.error.step) == ("model_refused", "no", "summary")


def test_a_job_is_read_with_its_failed_calls_if_they_are_asked_for(api: Api) -> None:
    calls = [raw_attempt("summary", answer="<b>no</b>", estimated=True), {**raw_attempt("summary"), "brand_new": 1}]
    api.says(answer(200, raw_job(failed_attempts=calls)), answer(200, raw_job(failed_attempts=None)))

    asked = api.run(lambda client: client.get("a", attempts=True))
    others = api.run(lambda client: client.job("a").get())

    assert api.paths == ["GET /v1/jobs/a?include=attempts", "GET /v1/jobs/a"]
    first, second = asked.failed_attempts
    assert (first.step, first.outcome, first.cause) == ("summary", "model_unavailable", "The server is overloaded.")
    assert (first.answer, first.request_id, first.estimated, first.cost_usd) == ("<b>no</b>", "req_5f1c", True, 0)
    assert (first.finished_at - first.started_at).total_seconds() == 1.5
    assert (second.estimated, second.raw["brand_new"]) == (False, 1)
    assert others.failed_attempts is None


def test_a_job_that_waits_says_why_and_until_when(api: Api) -> None:
    waiting = {"reason": "retry", "since": "2026-11-22T10:00:01Z", "until": "2026-11-22T10:00:11Z", "detail": "try 1"}
    step = {**raw_step("summary", "pending"), "failed_tries": 1}
    api.says(answer(200, raw_job(status="pending", waiting_for=waiting, steps=[step])))

    job = api.run(lambda client: client.get("a"))

    assert (job.waiting_for.reason, job.waiting_for.detail) == ("retry", "try 1")
    assert not job.waiting_for.retryable, "an earlier version does not say it"
    assert (job.waiting_for.until - job.waiting_for.since).total_seconds() == 10
    assert (job.steps[0].failed_tries, job.steps[0].estimated.calls) == (1, 0)


def test_a_job_says_which_part_of_its_usage_is_an_estimate(api: Api) -> None:
    estimated = {"calls": 1, "input_tokens": 310, "output_tokens": 64, "cost_usd": None}
    usage = {**raw_job()["usage"], "cache_write_tokens": 7}
    api.says(answer(200, raw_job(estimated=estimated, usage=usage)))

    job = api.run(lambda client: client.get("a"))

    assert job.estimated == Estimate(1, 310, 64, None)
    assert job.usage.cache_write_tokens == 7


def test_a_job_of_an_api_without_all_this_is_read(api: Api) -> None:
    api.says(answer(200, raw_job()))

    job = api.run(lambda client: client.get("a"))

    assert (job.waiting_for, job.failed_attempts, job.estimated) == (None, None, Estimate())
    assert (job.steps[0].failed_tries, job.steps[0].tier, job.steps[0].request_id) == (0, None, None)


def test_the_numbers_of_the_day_are_told_by_model_and_by_key(api: Api) -> None:
    spent = {"usage": raw_job()["usage"], "calls": 3, "retries": 1, "cost_usd": 0.5}
    today = {"date": "2026-11-22", "created": 1, **spent, "by_model": {"m": spent}, "by_key": {"": spent}}
    api.says(answer(200, {"jobs": {}, "today": today, "queue": None}))

    stats = api.run(lambda client: client.stats())

    assert dict(stats.by_model) == {"m": stats.by_key[""]}
    assert (stats.by_key[""].calls, stats.by_key[""].retries, stats.by_key[""].cost_usd) == (3, 1, 0.5)
    assert stats.by_model["m"].usage.input_tokens == 812


def test_a_job_that_has_not_changed_is_the_one_that_is_known(api: Api) -> None:
    known = job_of()
    known = type(known).of(known.raw, '"e-1"')
    api.says(answer(304, ETag='"e-1"'))

    assert api.run(lambda client: client.get(ID, known)) is known
    assert api.requests[0].headers["If-None-Match"] == '"e-1"'


def test_a_list_goes_on_to_its_last_page(api: Api) -> None:
    listed = [
        {name: value for name, value in raw_job(f"job-{n}").items() if name not in ("steps", "result", "metadata")}
        for n in range(3)
    ]
    api.says(
        answer(200, {"jobs": listed[:2], "next_cursor": "c+1"}),
        answer(200, {"jobs": [], "next_cursor": "c2"}),
        answer(200, {"jobs": listed[2:], "next_cursor": None}),
    )

    jobs = api.run(lambda client: client.list("completed", "guideline_checklist"))

    assert [job.event_id for job in jobs] == ["job-0", "job-1", "job-2"]
    assert [dict(request.url.params) for request in api.requests] == [
        {"status": "completed", "job_name": "guideline_checklist", "limit": "100", **cursor}
        for cursor in ({}, {"cursor": "c+1"}, {"cursor": "c2"})
    ]


def test_a_list_asks_for_no_more_than_is_wanted(api: Api) -> None:
    pages = [{"jobs": [raw_job(f"{page}-{n}") for n in range(100)], "next_cursor": "c"} for page in range(2)]
    api.says(*(answer(200, page) for page in pages))

    jobs = api.run(lambda client: client.list(limit=150))

    assert (len(jobs), jobs[-1].event_id) == (150, "1-49")
    assert [request.url.params["limit"] for request in api.requests] == ["100", "50"]


def test_the_input_the_prompts_and_the_calls_of_a_job_are_read_if_they_are_asked_for(api: Api) -> None:
    call = {name: value for name, value in raw_attempt("summary").items() if name not in ("outcome", "cause", "answer")}
    prompt = {"step": "summary", "instructions": "Sum up.", "input": "a", "same_as_sent": False, "problem": None}
    parts: dict[str, Any] = {
        "input": {"guidelines": "a"},
        "prompts": [prompt],
        "failed_attempts": [],
        "answered_calls": [call],
    }
    api.says(answer(200, raw_job(**parts)), answer(200, raw_job(input=None, prompts=None, answered_calls=None)))

    job = api.run(lambda client: client.get("a", include=("prompts", "input", "attempts"), step="summary"))
    other = api.run(lambda client: client.job("a").get())

    assert dict(api.requests[0].url.params) == {"include": "attempts,input,prompts", "step": "summary"}
    assert (job.input, job.prompts[0].same_as_sent, job.prompts[0].instructions) == (
        {"guidelines": "a"},
        False,
        "Sum up.",
    )
    (answered,) = job.answered_calls
    assert (answered.step, answered.seconds, answered.effort, answered.raw) == ("summary", 1.5, None, call)
    assert (other.input, other.prompts, other.answered_calls) == (None, None, None)


def test_a_fork_is_asked_for_with_a_key_and_what_differs(api: Api) -> None:
    created = {"event_id": "b", "status": "pending", "created_at": "2026-11-22T10:00:00.000Z"}
    fork = {"event_id": "a", "from_step": "checklist"}
    steps = [{**raw_step("summary"), "copied": True}, raw_step("checklist")]
    api.says(
        answer(201, created, **{"Retry-After": "3"}),
        answer(200, created, **{"Idempotent-Replayed": "true"}),
        answer(200, raw_job("b", forked_from=fork, steps=steps)),
        answer(200, raw_job()),
    )

    made = api.run(lambda client: client.fork("a", "checklist", {"guidelines": "b"}, "k", title="t", metadata=None))
    again = api.run(lambda client: client.job("a").fork("checklist"))
    job, other = (api.run(lambda client: client.get("b")) for _ in range(2))

    assert api.paths[:2] == ["POST /v1/jobs/a/fork"] * 2
    first, second = (json.loads(request.content) for request in api.requests[:2])
    assert first == {"from_step": "checklist", "payload": {"guidelines": "b"}, "title": "t"}
    assert second == {"from_step": "checklist"}
    assert api.requests[0].headers["Idempotency-Key"] == "k" != api.requests[1].headers["Idempotency-Key"]
    assert (made.event_id, made.replayed, again.replayed, made.look_at is None) == ("b", False, True, False)
    assert (job.forked_from.event_id, job.forked_from.from_step, other.forked_from) == ("a", "checklist", None)
    assert [step.copied for step in job.steps] == [True, False]


def raw_day(day: str, calls: int, **groups: Any) -> dict[str, Any]:
    spending = {"usage": {"input_tokens": 5 * calls}, "calls": calls, "retries": 0, "cost_usd": 0.5}
    group = {"completed": 1, "failed": 0, "cancelled": 0, **spending}
    return {"date": day, "created": 2, **group, "groups": dict.fromkeys(groups, group) or None}


def test_usage_is_read_to_its_last_day(api: Api) -> None:
    first = {"from": "2026-11-01", "to": "2026-11-03", "days": [raw_day("2026-11-01", 1)], "next_from": "2026-11-02"}
    rest = [raw_day("2026-11-02", 2), raw_day("2026-11-03", 3, guideline_checklist=True)]
    api.says(answer(200, first), answer(200, {**first, "days": rest, "next_from": None}))

    days = api.run(lambda client: client.usage(date(2026, 11, 1), by="chain"))

    assert [dict(request.url.params) for request in api.requests] == [
        {"from": "2026-11-01", "by": "chain"},
        {"from": "2026-11-02", "to": "2026-11-03", "by": "chain"},
    ]
    assert [(day.date.day, day.created, day.whole.completed) for day in days] == [(1, 2, 1), (2, 2, 1), (3, 2, 1)]
    assert days[2].groups["guideline_checklist"].spending.usage.input_tokens == 15
    assert (days[0].groups, days[1].whole.spending.calls) == (None, 2)


def test_a_list_asks_for_jobs_by_title_metadata_and_time(api: Api) -> None:
    api.says(answer(200, {"jobs": [raw_job(title="Doors")], "next_cursor": None}))
    ten = datetime(2026, 11, 22, 10, tzinfo=UTC)

    (job,) = api.run(
        lambda client: client.list(
            title="door",
            metadata={"a&b": "c=d"},
            created_after=ten,
            created_before=ten.astimezone(timezone(timedelta(hours=1))),
        )
    )

    assert job.title == "Doors"
    assert dict(api.requests[0].url.params) == {
        "title": "door",
        "metadata.a&b": "c=d",
        "created_after": "2026-11-22T10:00:00Z",
        "created_before": "2026-11-22T10:00:00Z",
        "limit": "100",
    }


def test_a_list_refuses_what_is_not_utf_8(api: Api) -> None:
    with pytest.raises(BadArgument, match="not UTF-8"):
        api.run(lambda client: client.list(title="\udcff"))
    with pytest.raises(BadArgument, match="not UTF-8"):
        api.run(lambda client: client.list(metadata={"\udcff": "a"}))


def test_chains_and_numbers_are_read(api: Api) -> None:
    numbers = {
        "jobs": {"pending": 3},
        "today": {"date": "2026-11-22", "created": 45, "usage": {"input_tokens": 5}, "cost_usd": None},
        "queue": None,
    }
    broken = {"name": "mistaken", "reason": "it can't be imported"}
    api.says(answer(200, {**CHAINS, "unusable": [broken]}), answer(200, numbers), answer(200, {"status": "ok"}))

    chains = api.run(lambda client: client.chains())
    stats = api.run(lambda client: client.stats())

    assert [(chain.name, chain.texts, chain.steps) for chain in chains] == [
        ("extract", ("text",), ("one",)),
        ("compare", ("first", "second"), ("one",)),
    ]
    assert [(each.name, each.reason) for each in chains.unusable] == [("mistaken", "it can't be imported")]
    assert (stats.jobs, stats.created, stats.usage.input_tokens, stats.cost_usd, stats.queue) == (
        {"pending": 3},
        45,
        5,
        None,
        None,
    )
    assert api.run(lambda client: client.health()) == {"status": "ok"}


# --- waiting ---------------------------------------------------------------------------------------------------------


def under_way(done: int) -> dict[str, Any]:
    names = ["summary", "checklist", "diagram"]
    states = ["completed"] * done + ["processing"] + ["pending"] * (2 - done)
    steps = [raw_step(name, state) for name, state in zip(names, states, strict=True)]
    return raw_job(status="processing", steps=steps, result={})


def test_watching_yields_each_change_once_and_asks_with_the_etag(api: Api) -> None:
    api.says(
        answer(200, under_way(0), ETag='"1"', Retry_After="1"),
        answer(304, ETag='"1"', Retry_After="1"),
        answer(200, under_way(1), ETag='"2"', Retry_After="1"),
        answer(200, raw_job(), ETag='"3"'),
    )

    seen = api.run(lambda client: client.watch(ID))

    assert [job.etag for job in seen] == ['"1"', '"2"', '"3"']
    assert [request.headers.get("If-None-Match") for request in api.requests] == [None, '"1"', '"1"', '"2"']
    assert api.slept == [1, 1, 1]


def test_waiting_backs_off_while_nothing_changes(api: Api) -> None:
    same = [answer(304, Retry_After="1") for _ in range(12)]
    api.says(answer(200, under_way(0), ETag='"1"', Retry_After="1"), *same, answer(200, raw_job()))

    job = api.run(lambda client: client.wait(ID))

    assert job.status == "completed"
    assert api.slept == sorted(api.slept)
    assert (api.slept[0], api.slept[-1]) == (1, 10)


def nothing_new(after: str = "after-x", status: str = "processing") -> dict[str, Any]:
    return {"events": [], "next_after": after, "has_more": False, "status": status}


def test_events_are_told_once_page_by_page_to_the_end_of_the_job(api: Api) -> None:
    api.says(
        answer(200, raw_events(raw_event(0), raw_event(1), more=True)),
        answer(200, raw_events(raw_event(2)), Retry_After="3"),
        answer(200, nothing_new("after-1f3a9c02-1-2"), Retry_After="3"),
        answer(200, raw_events(raw_event(3), raw_event(4, "job.completed"), status="completed")),
    )

    events = api.run(lambda client: client.events(ID))

    assert [event.id[-1] for event in events] == [*"01234"]
    assert [request.url.params.get("after") for request in api.requests] == [
        None,
        "after-1f3a9c02-1-1",
        "after-1f3a9c02-1-2",
        "after-1f3a9c02-1-2",
    ]
    assert api.slept == [3, 3]


def test_an_event_says_what_happened_and_what_it_cost(api: Api) -> None:
    failed = raw_event(1, "call.failed", step="checklist", outcome="rate_limited", cause="Too many requests.")
    wait = {"reason": "retry", "since": "2026-11-22T10:00:02.000Z", "until": None, "detail": "try 1", "retryable": True}
    error = {"type": "model_refused", "message": "no", "step": "checklist"}
    waiting, ended = raw_event(2, "job.waiting", waiting_for=wait), raw_event(3, "job.failed", error=error)
    api.says(answer(200, raw_events(raw_event(0), failed, waiting, ended, status="failed")))

    step, call, wait_, end = api.run(lambda client: client.events(ID))

    assert (step.type, step.step, step.seconds, step.attempt) == ("step.completed", "summary", 2, 1)
    assert (step.spending.cost_usd, step.spending.usage.output_tokens) == (0.0000504, 140)
    assert (call.outcome, call.cause, call.seconds, call.spending) == ("rate_limited", "Too many requests.", None, None)
    assert (wait_.waiting_for.reason, end.error.type) == ("retry", "model_refused")
    assert end.at == datetime(2026, 11, 22, 10, 0, 2, tzinfo=UTC)


def test_events_go_on_from_where_an_earlier_reader_ended(api: Api) -> None:
    api.says(answer(200, raw_events(raw_event(0), raw_event(1), raw_event(2))))
    first, _, last = api.run(lambda client: client.events(ID, "start", follow=False))
    api.says(answer(200, nothing_new()))

    assert api.run(lambda client: client.events(ID, last.after, follow=False)) == []

    # Of the others only the beginning of their page is known.
    assert (first.after, last.after) == ("start", "after-1f3a9c02-1-2")
    assert [request.url.params["after"] for request in api.requests] == ["start", "after-1f3a9c02-1-2"]
    assert api.slept == []


def test_events_are_asked_for_again_where_an_answer_is_lost(api: Api) -> None:
    api.says(
        answer(200, raw_events(raw_event(0)), Retry_After="1"),
        httpx2.ReadTimeout("lost"),
        answer(200, raw_events(raw_event(1, "job.completed"), status="completed")),
    )

    events = api.run(lambda client: client.job(ID).events(poll=0.2))

    assert [event.id[-1] for event in events] == ["0", "1"]
    assert api.slept[0] == 0.2
    assert api.requests[1].url == api.requests[2].url


def test_events_are_asked_for_less_often_while_there_are_none(api: Api) -> None:
    api.says(
        answer(200, raw_events(raw_event(0)), Retry_After="1"),
        *(answer(200, nothing_new(), Retry_After="1") for _ in range(12)),
        answer(200, nothing_new(status="completed")),
    )

    api.run(lambda client: client.events(ID))

    assert api.slept == sorted(api.slept)
    assert (api.slept[0], api.slept[-1]) == (1, 10)


@pytest.mark.parametrize("body", [{}, {"events": [{}]}, {"events": [], "next_after": "x"}, [], "x"])
def test_what_is_no_page_of_events_is_a_bad_answer(api: Api, body: Any) -> None:
    api.says(answer(200, body))

    with pytest.raises(BadAnswer, match="is the URL right"):
        api.run(lambda client: client.events(ID))


def test_how_often_to_look_can_be_said(api: Api) -> None:
    api.says(answer(200, under_way(0), Retry_After="1"), answer(200, under_way(1)), answer(200, raw_job()))

    api.run(lambda client: client.wait(ID, poll=0.1))

    assert api.slept == [0.1, 0.1]


def test_a_wait_ends_in_time_and_says_how_the_job_stands(api: Api) -> None:
    api.says(*(answer(200, under_way(0), Retry_After="1") for _ in range(9)))

    with pytest.raises(WaitTimeout, match=rf"job {ID} is still processing after 2\.5 s") as caught:
        api.run(lambda client: client.wait(ID, 2.5))

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job.status == "processing"
    assert sum(api.slept) == 2.5


@pytest.mark.parametrize(("between", "slept"), [(0, [13]), (5, [8]), (20, [])])
def test_a_new_job_is_read_when_it_has_probably_ended(api: Api, between: float, slept: list[float]) -> None:
    api.says(answer(201, CREATED, Retry_After="13"), answer(200, raw_job()))
    handle = api.run(lambda client: client.submit("a"))
    api.now += between

    job = api.run(lambda client: client.wait(handle.event_id, look_at=handle.look_at))

    assert (job.status, api.slept) == ("completed", slept)
    assert api.paths == ["POST /v1/jobs", f"GET /v1/jobs/{ID}"]


def test_a_handle_knows_when_its_job_has_probably_ended(api: Api) -> None:
    api.says(answer(201, CREATED, Retry_After="13"), answer(200, raw_job()))

    if api.kind == "sync":
        api.run(lambda client: client.submit("a").wait())
    else:

        async def submit_and_wait(client: AsyncJobchain) -> Any:
            return await (await client.submit("a")).wait()

        api.run(submit_and_wait)

    assert api.slept == [13]


def test_each_job_of_a_batch_is_read_when_all_have_probably_ended(api: Api) -> None:
    api.says(answer(200, {"results": [CREATED, CREATED]}, Retry_After="20"))

    handles = api.run(lambda client: client.submit_many(["a", "b"]))

    assert [handle.look_at for handle in handles] == [1020, 1020]


def test_who_says_how_often_to_look_does_so_at_once(api: Api) -> None:
    api.says(answer(200, under_way(0), Retry_After="13"), answer(200, raw_job()))

    api.run(lambda client: client.wait(ID, poll=0.5, look_at=api.now + 13))

    assert api.slept == [0.5]


def test_a_wait_for_a_new_job_ends_in_time_too(api: Api) -> None:
    api.says(answer(200, under_way(0), Retry_After="9"))

    with pytest.raises(WaitTimeout, match=rf"job {ID} is still processing after 2 s"):
        api.run(lambda client: client.wait(ID, 2, look_at=api.now + 13))

    assert api.slept == [2]


def test_a_wait_bears_a_fault_that_passes(api: Api) -> None:
    api.says(answer(200, under_way(0)), problem(503, "unavailable", retry_after=5), answer(200, raw_job()))

    assert api.run(lambda client: client.wait(ID)).status == "completed"


def test_a_handle_waits_for_the_result(api: Api) -> None:
    api.says(answer(201, CREATED), answer(200, raw_job()))

    if api.kind == "sync":
        result = api.run(lambda client: client.submit("a").result(timeout=9))
    else:

        async def submit_and_wait(client: AsyncJobchain) -> Any:
            return await (await client.submit("a")).result(timeout=9)

        result = api.run(submit_and_wait)

    assert result["summary"] == "Short."


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "cancelled"}, "was cancelled"),
        (
            {"status": "failed", "error": {"type": "t", "message": "m", "step": "summary"}},
            "failed in step summary: t: m",
        ),
    ],
)
def test_the_result_of_a_job_that_did_not_complete_is_an_error(api: Api, fields: dict[str, Any], told: str) -> None:
    api.says(answer(200, raw_job(**fields)))

    with pytest.raises(JobNotCompleted, match=told) as caught:
        api.run(lambda client: client.job(ID).result())

    assert caught.value.job.event_id == ID


def test_a_handle_does_what_the_client_does(api: Api) -> None:
    api.says(*(answer(200, raw_job()) for _ in range(5)), answer(204))

    for name in ("get", "wait", "watch", "cancel", "retry", "delete"):
        api.run(lambda client: getattr(client.job(ID), name)())  # noqa: B023  # it is called at once

    assert api.paths == [
        *[f"GET /v1/jobs/{ID}"] * 3,
        f"POST /v1/jobs/{ID}/cancel",
        f"POST /v1/jobs/{ID}/retry",
        f"DELETE /v1/jobs/{ID}",
    ]


# --- moves whose answer is lost --------------------------------------------------------------------------------------

LOST = httpx2.ReadTimeout("slow")


def test_a_cancel_that_has_worked_though_its_answer_was_lost_is_a_success(api: Api) -> None:
    api.says(LOST, problem(409, "job-is-final"), answer(200, raw_job(status="cancelled")))

    assert api.run(lambda client: client.cancel(ID)).status == "cancelled"


def test_a_retry_that_has_worked_though_its_answer_was_lost_is_a_success(api: Api) -> None:
    api.says(LOST, problem(409, "job-is-not-final"), answer(200, raw_job(status="pending")))

    assert api.run(lambda client: client.retry(ID)).status == "pending"


def test_a_deletion_that_has_worked_though_its_answer_was_lost_is_a_success(api: Api) -> None:
    api.says(answer(504), problem(404, "job-not-found"))

    assert api.run(lambda client: client.delete(ID)) is None


@pytest.mark.parametrize("first", [[], [httpx2.ConnectError("refused")], [problem(429, "too-many-requests")]])
def test_a_refusal_counts_where_no_try_before_can_have_worked(api: Api, first: list[Answer]) -> None:
    api.says(*first, problem(404, "job-not-found"))
    with pytest.raises(NotFound):
        api.run(lambda client: client.delete(ID))

    api.says(*first, problem(409, "job-is-final"))
    with pytest.raises(Conflict):
        api.run(lambda client: client.cancel(ID))


def test_a_job_that_completed_before_a_cancel_arrived_is_a_conflict(api: Api) -> None:
    api.says(LOST, problem(409, "job-is-final"), answer(200, raw_job()))

    with pytest.raises(Conflict):
        api.run(lambda client: client.cancel(ID))


@pytest.mark.parametrize("kind", [Jobchain, AsyncJobchain])
@pytest.mark.parametrize("url", ["http://api.test/v1", "HTTP://10.0.0.7", "http://127.0.0.1.evil.test"])
def test_a_key_does_not_go_over_plain_http_to_another_machine(kind: Any, url: str) -> None:
    with pytest.raises(BadArgument, match="plain http: the API key could be read on its way") as caught:
        kind(url, "jc_key")

    assert "jc_key" not in str(caught.value)
    kind(url)
    kind(url, "jc_key", insecure_http=True)
    kind("http://127.0.0.1:4566", "jc_key")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_key_does_not_follow_a_redirect(api: Api, status: int) -> None:
    api.says(httpx2.Response(status, headers={"Location": "https://evil.test/v1/stats"}))

    with pytest.raises(JobchainError):
        api.run(lambda client: client.stats())

    assert [request.url.host for request in api.requests] == ["api.test"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_cost_usd": float("nan")}, "'max_cost_usd'"),
        ({"title": "a\udcff"}, "'title'"),
        ({"tier": object()}, "'tier'"),
    ],
)
def test_a_field_that_can_not_be_sent_is_named(api: Api, options: dict[str, Any], name: str) -> None:
    with pytest.raises(BadArgument, match=f"^{name} can't be sent as JSON: "):
        api.run(lambda client: client.submit("a", **options))
    assert api.requests == []
