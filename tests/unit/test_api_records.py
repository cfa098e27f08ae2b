"""What the API tells of a job's calls of the model, of why it waits, and of what they cost."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.items import StoredJob
from jobchain.aws.jobs import JobStore
from jobchain.aws.queue import JobQueue
from jobchain.domain import Attempt, DailyBudget, NewJob, Tier
from jobchain.errors import CallReport, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText
from jobchain.prices import FREE, PriceList
from jobchain.spending import Estimate, Spending, Usage
from jobchain_api.call_views import MAX_ANSWERS_BYTES
from jobchain_api.service import JobService
from tests.conftest import make_runner
from tests.fake_model.answers import CHECKLIST, DIAGRAM, SUMMARY
from tests.fake_model.llm import Said, ScriptedLLM
from tests.fake_model.replies import MODEL, USAGE
from tests.fakes import FakeClock
from tests.gateway import Api
from tests.stores import Stores

INVOCATION = timedelta(minutes=5)
TEXT = "Passwords must be long. They must be stored hashed."
EVENT_ID = "0b6c2f4e-0000-4000-8000-000000000001"
BUSY = TransientModelError("the model's server answered 503", report=CallReport(cause="overloaded", request_id="req-1"))
LATE = TransientModelError("the model's server timed out", report=CallReport(maybe_billed=True))
REFUSED = PermanentModelError("model_refused", "the model refuses this text", CallReport(request_id="req-9"))
NOTHING = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0}


class Stage:
    """A job, the API that shows it, and a worker whose model follows a script."""

    def __init__(self, api: Api, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self._api = api
        self._stores = stores
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self.prices = PriceList.load()
        self.create()

    def create(self, event_id: str = EVENT_ID, budget: DailyBudget | None = None, key_id: str = "") -> None:
        new = NewJob(event_id, "local", "guideline_checklist", {"guidelines": TEXT}, "f", key_id=key_id)
        if budget:
            new = NewJob(event_id, "local", new.job_name, new.payload, "f", key_id=key_id, daily_budget=budget)
        self._stores.admission.create(new, timedelta(days=30))
        self.event_id = event_id

    def run(self, *script: Said) -> None:
        """One delivery of the job's message, with these answers of the model."""
        llm = ScriptedLLM(script, self._clock)
        llm.takes = timedelta(seconds=2)
        runner = make_runner(self._stores, self._queue, llm, self._logger, prices=self.prices)
        asyncio.run(runner.run(self.event_id, self._clock() + INVOCATION))

    def wait(self, by: timedelta = timedelta(hours=1)) -> None:
        self._clock.advance(by)

    def read(self, query: str = "?include=attempts") -> Any:
        answer = self._api("GET", f"/jobs/{self.event_id}{query}")
        assert answer.status == 200
        return answer.body


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def stage(api: Api, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> Stage:
    return Stage(api, stores, queue, clock, logger)


class TestTheFailedCallsOfAJob:
    def test_are_told_with_cause_answer_and_cost_if_they_are_asked_for(self, stage: Stage) -> None:
        stage.run({"nonsense": "<b>1</b>"}, SUMMARY, BUSY)

        bad, busy = stage.read()["failed_attempts"]

        assert (bad["step"], bad["outcome"], bad["answer"]) == (
            "summary",
            "unusable_answer",
            '{"nonsense": "<b>1</b>"}',
        )
        assert bad["cause"]
        assert bad["usage"] == usage_of(USAGE)
        assert (bad["model"], bad["tier"], bad["estimated"]) == (MODEL, "standard", False)
        assert bad["cost_usd"] > 0
        assert (bad["started_at"], bad["finished_at"]) == ("2026-11-22T10:00:00.000Z", "2026-11-22T10:00:02.000Z")
        assert (busy["step"], busy["outcome"], busy["cause"]) == ("checklist", "model_unavailable", "overloaded")
        assert (busy["answer"], busy["request_id"], busy["cost_usd"]) == (None, "req-1", 0)

    def test_are_null_unless_they_are_asked_for(self, stage: Stage) -> None:
        stage.run(BUSY)

        assert stage.read("")["failed_attempts"] is None

    def test_are_an_empty_list_of_a_job_without_any(self, stage: Stage) -> None:
        stage.run(SUMMARY, CHECKLIST, DIAGRAM)

        assert stage.read()["failed_attempts"] == []

    def test_are_told_the_oldest_first_over_several_claims(self, stage: Stage) -> None:
        for error in (BUSY, LATE, REFUSED):
            stage.run(error)
            stage.wait()

        outcomes = [call["outcome"] for call in stage.read()["failed_attempts"]]

        assert outcomes == ["model_unavailable", "model_unavailable", "model_refused"]

    def test_have_no_more_of_raw_answers_than_fits_an_answer_the_newest_kept(
        self, stage: Stage, stores: Stores, clock: FakeClock
    ) -> None:
        claim = stores.claim(EVENT_ID, clock() + INVOCATION)
        raw = "ä" * 20_000
        count = MAX_ANSWERS_BYTES // len(raw.encode()) + 5
        for number in range(count):
            stores.claims.save_attempt(claim, number + 1, "m", failed_call(raw))

        answers = [call["answer"] for call in stage.read()["failed_attempts"]]

        assert answers == [None] * 5 + [raw] * (count - 5)

    @pytest.mark.parametrize("query", ["attempts,nonsense", "nonsense", "", "Attempts", "attempts,", "prompt"])
    def test_are_refused_with_any_other_value_by_its_field(self, api: Api, stage: Stage, query: str) -> None:
        answer = api("GET", f"/jobs/{stage.event_id}?include={query}")

        assert (answer.status, answer.body["type"]) == (422, "urn:jobchain:problem:invalid-request")
        assert answer.body["errors"] == {"include": "must be a comma-separated list of: input, prompts, attempts"}

    def test_of_another_tenant_s_job_are_not_told(self, api: Api, stage: Stage, stores: Stores) -> None:
        other = "0b6c2f4e-0000-4000-8000-000000000002"
        stores.admission.create(NewJob(other, "theirs", "guideline_checklist", {}, "f"), timedelta(days=30))

        assert api("GET", f"/jobs/{other}?include=attempts").status == 404


class TestAStep:
    def test_that_is_tried_again_says_how_often_it_failed(self, stage: Stage) -> None:
        stage.run(SUMMARY, BUSY)
        stage.wait()
        stage.run(BUSY)

        summary, checklist, diagram = stage.read("")["steps"]

        assert [step["failed_tries"] for step in (summary, checklist, diagram)] == [0, 2, 0]
        assert (checklist["status"], checklist["calls"], checklist["started_at"]) == ("pending", None, None)

    def test_that_failed_has_its_time_model_calls_and_cost(self, stage: Stage) -> None:
        stage.run(LATE)
        stage.wait()
        stage.run({"nonsense": 1}, REFUSED)

        step, *later = stage.read()["steps"]

        assert (step["name"], step["status"], step["model"], step["tier"]) == ("summary", "failed", MODEL, "standard")
        assert (step["calls"], step["retries"], step["failed_tries"], step["request_id"]) == (3, 2, 1, "req-9")
        assert (step["started_at"], step["finished_at"]) == ("2026-11-22T11:00:04.000Z", "2026-11-22T11:00:06.000Z")
        assert step["usage"]["input_tokens"] > step["estimated"]["input_tokens"] > 0
        assert step["estimated"]["calls"] == 1
        assert all(other["calls"] is None for other in later)

    def test_that_failed_adds_up_to_its_job(self, stage: Stage) -> None:
        stage.run(LATE)
        stage.wait()
        stage.run({"nonsense": 1}, REFUSED)

        job = stage.read()

        for name in ("usage", "calls", "retries", "cost_usd", "estimated"):
            assert job["steps"][0][name] == job[name]

    def test_that_completed_has_the_request_and_the_tier_and_all_calls_of_its_run(self, stage: Stage) -> None:
        answer = AnswerText(MODEL, USAGE, '{"summary": "Short."}', Tier.FLEX, "req-2")
        stage.run({"nonsense": 1}, answer, CHECKLIST, DIAGRAM)

        step = stage.read()["steps"][0]

        assert (step["status"], step["request_id"], step["tier"]) == ("completed", "req-2", "flex")
        assert (step["calls"], step["retries"], step["usage"]) == (2, 1, usage_of(USAGE + USAGE))

    def test_with_failed_calls_of_a_part_has_those_while_the_part_is_missing(
        self, stage: Stage, stores: Stores, clock: FakeClock
    ) -> None:
        claim = stores.claim(EVENT_ID, clock() + INVOCATION)
        stores.claims.save_attempt(claim, 1, "m", failed_call("x", step="summary.part02"))
        stores.claims.release(claim, timedelta(0), {"summary.part02": 2, "summary.part02@flex": 3}, {})

        step = stage.read()["steps"][0]

        assert (step["name"], step["calls"], step["failed_tries"]) == ("summary", 1, 5)


class TestWaiting:
    def test_for_a_retry_says_since_and_until_when_and_why(self, stage: Stage, api: Api) -> None:
        stage.run(BUSY)

        waiting = stage.read("")["waiting_for"]

        assert waiting["reason"] == "retry"
        assert waiting["since"] == "2026-11-22T10:00:02.000Z"
        assert "2026-11-22T10:00:10.000Z" <= waiting["until"] <= "2026-11-22T10:00:14.000Z"
        assert waiting["detail"] == "try 1: the model's server answered 503"
        assert api("GET", "/jobs").body["jobs"][0]["waiting_for"] == waiting

    @pytest.mark.parametrize("reason", ["retry", "budget"])
    def test_that_is_retryable_ends_at_a_retry_and_the_next_retry_is_refused(
        self, stage: Stage, api: Api, reason: str
    ) -> None:
        if reason == "budget":
            stage.create("0b6c2f4e-0000-4000-8000-000000000002", DailyBudget(tokens=1))
        stage.run(SUMMARY if reason == "budget" else BUSY)
        job = stage.read("")
        path = f"/jobs/{job['event_id']}/retry"

        first, second = api("POST", path), api("POST", path)

        assert (job["waiting_for"]["reason"], job["waiting_for"]["retryable"]) == (reason, True)
        assert (first.status, first.body["waiting_for"]["retryable"]) == (200, False)
        assert second.status == 409

    def test_for_the_next_day_names_the_limit(self, stage: Stage, api: Api) -> None:
        stage.create("0b6c2f4e-0000-4000-8000-000000000002", DailyBudget(tokens=1))
        stage.run(SUMMARY)

        job = stage.read("")

        assert (job["status"], job["waiting_for"]["reason"]) == ("pending", "budget")
        assert job["waiting_for"]["until"].startswith("2026-11-23T00:0")
        assert "tokens_per_day" in job["waiting_for"]["detail"]
        assert api("GET", "/jobs?status=pending").body["jobs"][0]["waiting_for"] == job["waiting_for"]

    def test_is_over_when_a_worker_runs_the_job(self, stage: Stage, stores: Stores, clock: FakeClock) -> None:
        stage.run(BUSY)
        stage.wait()
        stores.claim(EVENT_ID, clock() + INVOCATION)

        assert stage.read("")["waiting_for"] is None

    @pytest.mark.parametrize("end", [REFUSED, SUMMARY])
    def test_is_over_when_the_job_ends(self, stage: Stage, end: Said) -> None:
        stage.run(BUSY)
        stage.wait()
        stage.run(end, CHECKLIST, DIAGRAM)

        job = stage.read("")

        assert job["status"] in ("failed", "completed")
        assert job["waiting_for"] is None

    def test_is_over_when_the_job_is_cancelled(self, stage: Stage, api: Api) -> None:
        stage.run(BUSY)

        answer = api("POST", f"/jobs/{EVENT_ID}/cancel")

        assert (answer.body["status"], answer.body["waiting_for"]) == ("cancelled", None)

    def test_for_a_later_try_ends_at_a_retry_and_keeps_the_tries(
        self, stage: Stage, api: Api, stores: Stores, clock: FakeClock
    ) -> None:
        stage.run(BUSY)
        before = stage.read("")

        answer = api("POST", f"/jobs/{EVENT_ID}/retry")

        assert (answer.status, answer.body["status"]) == (200, "pending")
        assert answer.body["waiting_for"]["reason"] == "queue"
        assert answer.body["deadline_at"] == before["deadline_at"]
        assert answer.body["steps"][0]["failed_tries"] == 1
        stores.claim(EVENT_ID, clock() + INVOCATION)
        assert stage.read("")["status"] == "processing"

    def test_ends_once_where_a_worker_claims_the_job_before_a_retry_does(
        self, stage: Stage, api: Api, stores: Stores, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage.run(BUSY)
        read = JobStore._read
        seen = []

        def read_and_claim(self: JobStore, tenant: str, event_id: str, first: str = "META") -> StoredJob:
            found = read(self, tenant, event_id, first)
            seen.append(found.meta["status"])
            if len(seen) == 1:
                stage.wait()
                stores.claim(EVENT_ID, clock() + INVOCATION)
            return found

        monkeypatch.setattr(JobStore, "_read", read_and_claim)

        answer = api("POST", f"/jobs/{EVENT_ID}/retry")

        assert (answer.status, seen) == (409, ["pending", "processing"])
        assert "it is being run" in answer.body["detail"]

    def test_for_a_worker_needs_no_retry_and_the_refusal_of_one_says_so(self, stage: Stage, api: Api) -> None:
        answer = api("POST", f"/jobs/{EVENT_ID}/retry")

        assert answer.status == 409
        assert answer.body["detail"].endswith("is pending: it already waits for its turn, so there is nothing to retry")

    def test_is_not_said_of_a_job_that_runs_nor_can_that_be_retried(
        self, stage: Stage, api: Api, stores: Stores, clock: FakeClock
    ) -> None:
        stage.run(BUSY)
        stage.wait()
        stores.claim(EVENT_ID, clock() + INVOCATION)

        answer = api("POST", f"/jobs/{EVENT_ID}/retry")

        assert answer.status == 409
        assert answer.body["detail"].endswith("is processing: it is being run, so there is nothing to retry")

    def test_is_for_a_worker_once_the_time_of_a_stored_reason_is_over(self, stage: Stage) -> None:
        stage.run(BUSY)
        until = stage.read("")["waiting_for"]["until"]
        stage.wait()

        assert stage.read("")["waiting_for"] == {
            "reason": "queue",
            "since": until,
            "until": None,
            "detail": "the job waits for a worker",
            "retryable": False,
        }


class TestWhatCallsCost:
    def test_says_which_part_is_an_estimate_in_job_list_and_day(self, stage: Stage, api: Api) -> None:
        stage.run(LATE)

        job = stage.read("")

        assert job["estimated"]["calls"] == 1
        assert job["estimated"]["input_tokens"] == job["usage"]["input_tokens"] > len(TEXT)
        assert job["estimated"]["output_tokens"] == job["usage"]["output_tokens"] == 3_000
        assert job["estimated"]["cost_usd"] == job["cost_usd"] > 0
        assert api("GET", "/jobs").body["jobs"][0]["estimated"] == job["estimated"]
        assert api("GET", "/stats").body["today"]["estimated"] == job["estimated"]

    def test_has_no_estimate_if_the_server_told_all(self, stage: Stage) -> None:
        stage.run(SUMMARY, CHECKLIST, DIAGRAM)

        job = stage.read()

        assert job["estimated"] == NOTHING
        assert [step["estimated"] for step in job["steps"]] == [NOTHING] * 3

    def test_counts_the_tokens_that_a_cache_was_written_with(self, stage: Stage) -> None:
        usage = Usage(input_tokens=900, cached_tokens=100, output_tokens=5, cache_write_tokens=700)
        stage.run(AnswerText(MODEL, usage, '{"summary": "Short."}'), REFUSED)

        job = stage.read("")

        assert job["usage"] == job["steps"][0]["usage"] == usage_of(usage)

    @pytest.mark.parametrize(("unlisted", "cost"), [(FREE, 0), (None, None)])
    def test_is_0_of_a_free_model_and_null_of_one_without_a_price(
        self, stage: Stage, api: Api, unlisted: Any, cost: float | None
    ) -> None:
        stage.prices = PriceList({}, unlisted=unlisted)
        stage.run(SUMMARY, LATE)

        job, today = stage.read(), api("GET", "/stats").body["today"]

        for costs in (job, job["steps"][0], job["failed_attempts"][0], today, today["by_model"][MODEL]):
            assert costs["cost_usd"] == cost
        assert job["estimated"]["cost_usd"] == cost

    def test_adds_up_by_model_and_by_key(self, stage: Stage, api: Api) -> None:
        stage.run(SUMMARY, CHECKLIST, DIAGRAM)
        stage.create("0b6c2f4e-0000-4000-8000-000000000002", key_id="3f9c")
        stage.run(LATE)

        today = api("GET", "/stats").body["today"]

        assert today["by_model"].keys() == {MODEL}
        assert today["by_key"].keys() == {"", "3f9c"}
        assert today["by_key"]["3f9c"]["estimated"]["calls"] == 1
        for parts in (today["by_model"], today["by_key"]):
            for read in READERS:
                assert sum(map(read, parts.values())) == pytest.approx(read(today))


READERS: list[Callable[[Mapping[str, Any]], float]] = [
    lambda spent: spent["calls"],
    lambda spent: spent["retries"],
    lambda spent: spent["cost_usd"],
    lambda spent: spent["usage"]["input_tokens"],
    lambda spent: spent["estimated"]["output_tokens"],
]


def usage_of(usage: Usage) -> dict[str, int]:
    """`usage` as the API tells it."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def failed_call(answer: str, step: str = "summary") -> Attempt:
    """A call whose answer did not fit."""
    return Attempt(
        step=step,
        started_at="2026-11-22T10:00:00.000Z",
        finished_at="2026-11-22T10:00:02.000Z",
        model="m",
        tier=Tier.STANDARD,
        spending=Spending(Usage(input_tokens=5), Decimal("0.01"), calls=1, estimated=Estimate()),
        outcome="unusable_answer",
        cause="summary: is missing",
        answer=answer,
    )
