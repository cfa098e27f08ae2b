"""What a job tells of its calls of the model: those that failed, what it waits for, and what all of it cost."""

import json
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from jobchain.domain import DailyBudget
from tests.conformance.api import CHAIN, TEXT, Api, Job, expect_problem
from tests.conformance.faulty_model import NONSENSE, RETRY_AFTER, order
from tests.conformance.target import Target

NOT_ESTIMATED = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0}


@pytest.fixture(scope="module")
def failed(api: Api) -> Job:
    """A job of which one answer did not fit, and whose model then refused the request."""
    text = f"{TEXT} {order('garble')} {order('refuse')}"
    job = read(api, api.finished(api.submit(text))["event_id"])
    assert job["status"] == "failed"
    return job


def read(api: Api, event_id: str) -> Job:
    """The job with its failed calls."""
    job: Job = api.http.get(f"/jobs/{event_id}", params={"include": "attempts"}).raise_for_status().json()
    return job


class TestWhatIsBehindAJob:
    def test_is_told_if_it_is_asked_for(self, api: Api) -> None:
        event_id = api.finished(api.submit())["event_id"]
        asked = {"include": "input,prompts,attempts"}

        job = api.http.get(f"/jobs/{event_id}", params=asked).raise_for_status().json()

        assert job["input"] == {"guidelines": TEXT}
        assert [prompt["step"] for prompt in job["prompts"]] == [step["name"] for step in job["steps"]]
        assert all(prompt["same_as_sent"] for prompt in job["prompts"])
        assert TEXT in job["prompts"][0]["input"]
        assert len(job["answered_calls"]) + len(job["failed_attempts"]) == job["calls"]
        for call in job["answered_calls"]:
            assert job["started_at"] <= call["started_at"] <= call["finished_at"] <= job["finished_at"]

    def test_is_not_told_otherwise(self, api: Api) -> None:
        job = api.job(api.submit())

        assert (job["input"], job["prompts"], job["answered_calls"]) == (None, None, None)


class TestDailyUsage:
    def test_of_today_is_that_of_the_numbers_and_its_groups_add_up(self, api: Api) -> None:
        api.finished(api.submit())

        def read(by: str) -> Any:
            (day,) = api.http.get("/usage", params={"from": today(), "by": by}).raise_for_status().json()["days"]
            return day

        def today() -> str:
            return str(api.http.get("/stats").raise_for_status().json()["today"]["date"])

        for by in ("chain", "key", "model"):
            day = read(by)
            assert day["completed"] >= 1
            for name in ("completed", "failed", "cancelled", "calls"):
                assert sum(group[name] for group in day["groups"].values()) == day[name]
        assert CHAIN in read("chain")["groups"]

    def test_can_be_told_for_some_days_alone(self, api: Api) -> None:
        days = (
            api.http.get("/usage", params={"to": "2020-01-02", "from": "2020-01-01"}).raise_for_status().json()["days"]
        )

        assert [day["date"] for day in days] == ["2020-01-01", "2020-01-02"]
        expect_problem(api.http.get("/usage", params={"from": "2020-01-01"}), 422, "invalid-request", "from")
        expect_problem(api.http.get("/usage", params={"day": "2020-01-01"}), 422, "invalid-request", "day")


@pytest.mark.needs("model_faults")
class TestAFailedCall:
    def test_is_kept_with_its_job_and_says_what_went_wrong(self, failed: Job) -> None:
        garbled, refused = failed["failed_attempts"]

        assert (garbled["step"], garbled["outcome"], garbled["answer"]) == ("summary", "unusable_answer", NONSENSE)
        assert "nonsense" in garbled["cause"]
        assert garbled["usage"]["input_tokens"] > 0
        assert (refused["step"], refused["outcome"], refused["answer"]) == ("summary", "model_request_refused", None)
        assert refused["cause"]
        for call in (garbled, refused):
            assert failed["started_at"] <= call["started_at"] <= call["finished_at"] <= failed["finished_at"]
            assert (call["tier"], call["estimated"]) == ("standard", False)

    def test_is_a_part_of_its_step_and_of_its_job(self, failed: Job) -> None:
        step = failed["steps"][0]

        assert (step["status"], step["calls"], step["model"]) == ("failed", 2, failed["failed_attempts"][-1]["model"])
        assert step["finished_at"] == failed["failed_attempts"][-1]["finished_at"]
        for name in ("usage", "calls", "retries", "cost_usd", "estimated"):
            assert step[name] == failed[name]
        assert failed["estimated"]["calls"] == 0

    def test_is_told_only_to_who_asks_for_it(self, api: Api, failed: Job) -> None:
        job = api.job(failed["event_id"])

        assert job["failed_attempts"] is None
        asked = ("steps", "failed_attempts", "answered_calls")
        assert {name: job[name] for name in job if name not in asked} == {
            name: failed[name] for name in job if name not in asked
        }

    def test_has_another_etag_than_the_job_without_it(self, api: Api, failed: Job) -> None:
        path = f"/jobs/{failed['event_id']}"
        with_calls, without = (api.http.get(path, params=params) for params in ({"include": "attempts"}, {}))

        assert with_calls.headers["ETag"] != without.headers["ETag"]
        again = api.http.get(
            path, params={"include": "attempts"}, headers={"If-None-Match": with_calls.headers["ETag"]}
        )
        assert (again.status_code, again.content) == (304, b"")

    def test_stays_when_the_job_is_retried_and_completes(self, api: Api) -> None:
        event_id = api.submit(f"{TEXT} {order('refuse')}")
        api.finished(event_id)

        api.http.post(f"/jobs/{event_id}/retry").raise_for_status()
        api.finished(event_id)

        job = read(api, event_id)
        assert (job["status"], job["error"]) == ("completed", None)
        assert [call["outcome"] for call in job["failed_attempts"]] == ["model_request_refused"]
        assert job["calls"] == sum(step["calls"] for step in job["steps"]) + 1

    def test_is_erased_with_its_job(self, api: Api) -> None:
        event_id = api.submit(f"{TEXT} {order('garble')} {order('refuse')}")
        api.finished(event_id)

        api.http.delete(f"/jobs/{event_id}").raise_for_status()

        answer = api.http.get(f"/jobs/{event_id}", params={"include": "attempts"})
        expect_problem(answer, 404, "job-not-found")


class TestWhatIsIncluded:
    @pytest.mark.parametrize("include", ["nonsense", "attempts,nonsense", "", "ATTEMPTS", "attempts;attempts"])
    def test_is_refused_if_it_is_not_known_with_what_is(self, api: Api, include: str) -> None:
        answer = api.http.get(f"/jobs/{uuid4()}", params={"include": include})

        problem = expect_problem(answer, 422, "invalid-request", "include")
        assert "attempts" in problem["errors"]["include"]

    @pytest.mark.needs("two_tenants")
    def test_is_not_told_to_another_tenant(self, api: Api, other: Api) -> None:
        event_id = api.submit()

        answer = other.http.get(f"/jobs/{event_id}", params={"include": "attempts"})

        expect_problem(answer, 404, "job-not-found")


class TestWaiting:
    @pytest.mark.needs("model_faults")
    def test_for_a_retry_says_why_and_until_when_and_is_over_then(self, api: Api) -> None:
        event_id = api.submit(f"{TEXT} {order('throttle')}")
        waiting = api.waiting(event_id, "retry")

        waits = waiting["waiting_for"]
        assert (waiting["status"], waits["retryable"]) == ("pending", True)
        assert "429" in waits["detail"]
        assert seconds(waits["since"], waits["until"]) >= RETRY_AFTER
        assert waiting["steps"][0]["failed_tries"] == 1
        assert listed(api, event_id)["waiting_for"] == waits
        job = api.finished(event_id)
        assert (job["status"], job["waiting_for"]) == ("completed", None)
        assert seconds(waits["until"], job["steps"][0]["started_at"]) >= 0

    @pytest.mark.needs("parts")
    def test_for_the_next_day_follows_a_budget_that_is_used_up(self, api: Api, target: Target) -> None:
        event_id = api.unsent(budget=DailyBudget(tokens=1))
        send(target, event_id)

        job = api.waiting(event_id, "budget")

        assert (job["status"], job["waiting_for"]["retryable"]) == ("pending", True)
        assert "tokens_per_day" in job["waiting_for"]["detail"]
        until = datetime.fromisoformat(job["waiting_for"]["until"])
        assert (until.hour, until.minute <= 10) == (0, True)
        cancelled = api.http.post(f"/jobs/{event_id}/cancel").json()
        assert (cancelled["status"], cancelled["waiting_for"]) == ("cancelled", None)

    @pytest.mark.needs("parts")
    def test_in_the_queue_is_not_ended_by_a_retry(self, api: Api) -> None:
        event_id = api.unsent()

        job = api.waiting(event_id, "queue")

        assert (job["status"], job["waiting_for"]["retryable"]) == ("pending", False)
        expect_problem(api.http.post(f"/jobs/{event_id}/retry"), 409, "job-is-not-final", "nothing to retry")

    # A breaker stops all jobs of the stack until a call goes well.
    @pytest.mark.needs("model_faults", "alone")
    def test_for_the_model_s_account_is_over_once_that_works(self, api: Api) -> None:
        event_id = api.submit(f"{TEXT} {order('unauthorize')}")

        waiting = api.waiting(event_id, "account")

        assert (waiting["status"], waiting["error"]) == ("pending", None)
        assert "API key" in waiting["waiting_for"]["detail"]
        assert "Traceback" not in json.dumps(waiting)
        job = read(api, api.finished(event_id)["event_id"])
        assert (job["status"], job["error"], job["waiting_for"]) == ("completed", None, None)
        assert [call["outcome"] for call in job["failed_attempts"]] == ["model_unauthorized"]

    def test_is_null_of_a_job_that_completed(self, api: Api) -> None:
        assert api.finished(api.submit())["waiting_for"] is None


class TestWhatCallsCost:
    def test_is_no_estimate_where_the_server_told_it(self, api: Api) -> None:
        job = api.finished(api.submit())

        assert job["estimated"] == NOT_ESTIMATED
        assert [step["estimated"] for step in job["steps"]] == [NOT_ESTIMATED] * len(job["steps"])
        assert all(step["tier"] == "standard" for step in job["steps"])

    def test_adds_up_to_the_day_by_model_and_by_key(self, api: Api) -> None:
        api.finished(api.submit())

        today = api.http.get("/stats").raise_for_status().json()["today"]

        for parts in (today["by_model"], today["by_key"]):
            assert parts
            for name in ("calls", "retries"):
                assert sum(part[name] for part in parts.values()) == today[name]
            for name, count in today["usage"].items():
                assert sum(part["usage"][name] for part in parts.values()) == count


def listed(api: Api, event_id: str) -> dict[str, Any]:
    """The job as the newest page of the list has it."""
    jobs = api.http.get("/jobs", params={"limit": 100}).raise_for_status().json()["jobs"]
    return next(job for job in jobs if job["event_id"] == event_id)


def seconds(since: str, until: str) -> float:
    """From one moment to another."""
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def send(target: Target, event_id: str) -> None:
    """Sends the job's message, as the api does."""
    assert target.parts
    target.parts.client("sqs").send_message(
        QueueUrl=target.parts.queue_url,
        MessageBody=json.dumps({"event_id": event_id}),
        MessageGroupId=target.tenant,
    )
