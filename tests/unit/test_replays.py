"""Replays: forks that are marked. They are in no list and no job count, and what they cost is told apart."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.domain import Status
from jobchain.errors import PermanentModelError
from jobchain.forks import ForkedFrom
from jobchain.outcomes import Outcome
from jobchain_api.durations import Durations
from jobchain_api.service import JobService
from tests.conftest import make_runner, make_sweeper
from tests.deployment import Deployment, vanish_until_it_fails
from tests.fakes import Requests
from tests.gateway import Api

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COUNTS = ("created", "completed", "failed", "cancelled")


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def done(deployment: Deployment) -> str:
    """A job that has completed."""
    event_id = deployment.create(title="a.md", metadata={"team": "legal"}, key_id="k1")
    assert deployment.run().status is Status.COMPLETED
    deployment.clock.advance(timedelta(minutes=1))
    return event_id


@pytest.fixture
def replay(deployment: Deployment, api: Api, done: str) -> Callable[..., str]:
    """Makes a job of a replay; gives its id."""

    def make(replay: str = "r1", **more: Any) -> str:
        deployment.clock.advance(timedelta(minutes=1))
        answer = api("POST", f"/jobs/{done}/fork", {"replay": replay, **more})
        assert answer.status == 201, answer.body
        event_id: str = answer.body["event_id"]
        return event_id

    return make


def listed(api: Api, query: str = "") -> list[str]:
    answer = api("GET", f"/jobs{query}")
    assert answer.status == 200, answer.body
    return [job["event_id"] for job in answer.body["jobs"]]


def counts(view: Any) -> list[int]:
    return [view[name] for name in COUNTS]


def test_a_list_finds_a_job_behind_many_replays_by_a_few_queries(
    deployment: Deployment, dynamodb: "DynamoDBClient", api: Api, done: str
) -> None:
    # given replays that are all newer than the job
    made = deployment.job(done).created_at
    for number in range(60):
        deployment.clock.advance(timedelta(seconds=1))
        deployment.create(100 + number, forked_from=ForkedFrom(done, None, "r1"), source_created_at=made)
    requests = Requests(dynamodb)

    page = api("GET", "/jobs?limit=1").body

    assert [job["event_id"] for job in page["jobs"]] == [done]
    assert page["next_cursor"] is None
    assert requests.new().count("Query") <= 3


class TestAForkWithoutAStep:
    def test_runs_all_steps_again_whatever_the_job_has_completed(
        self, deployment: Deployment, api: Api, done: str
    ) -> None:
        event_id = api("POST", f"/jobs/{done}/fork", {}).body["event_id"]

        job = deployment.run(event_id=event_id)

        assert (job.status, job.spending.calls) == (Status.COMPLETED, 3)
        assert not any(step.copied for step in job.steps)
        view = api("GET", f"/jobs/{event_id}").body
        assert view["forked_from"] == {"event_id": done, "from_step": None, "replay": None}
        assert (view["title"], view["metadata"]) == ("a.md", {"team": "legal"})

    def test_runs_a_job_again_that_has_failed_in_its_first_step(self, deployment: Deployment, api: Api) -> None:
        failed = deployment.create()
        assert deployment.run(PermanentModelError("model_refused", "no")).status is Status.FAILED

        event_id = api("POST", f"/jobs/{failed}/fork", {}).body["event_id"]

        assert deployment.run(event_id=event_id).status is Status.COMPLETED


class TestAReplay:
    @pytest.mark.parametrize("name", ["", "a b", "a" * 65, 7, "ä", "a#b"])
    def test_has_an_id_of_letters_digits_and_dashes(self, api: Api, done: str, name: object) -> None:
        answer = api("POST", f"/jobs/{done}/fork", {"replay": name})

        assert (answer.status, [*answer.body["errors"]]) == (422, ["replay"])
        assert listed(api, "?replays=true") == [done]

    @pytest.mark.parametrize("ended", [False, True], ids=["pending", "ended"])
    def test_is_in_a_list_only_if_it_is_asked_for(
        self, deployment: Deployment, api: Api, done: str, replay: Callable[..., str], ended: bool
    ) -> None:
        ours, other = replay("r1"), replay("r2")
        if ended:
            deployment.run(event_id=ours)

        assert listed(api) == [done]
        assert listed(api, "?replays=false") == [done]
        assert listed(api, "?replays=true") == [other, ours, done]
        assert listed(api, "?replays=only") == [other, ours]
        assert listed(api, "?replays=only&replay=r1") == [ours]
        assert listed(api, "?replay=r1") == [ours]
        assert listed(api, "?replay=r1&replays=true") == [ours]
        assert listed(api, "?replay=r3") == []
        assert api("GET", f"/jobs/{ours}").body["forked_from"]["replay"] == "r1"

    def test_hides_no_job_behind_it_from_a_page(self, api: Api, done: str, replay: Callable[..., str]) -> None:
        for _ in range(5):
            replay()

        answer = api("GET", "/jobs?limit=1")

        assert ([job["event_id"] for job in answer.body["jobs"]], answer.body["next_cursor"]) == ([done], None)

    def test_of_all_replays_hides_none_behind_other_jobs(self, api: Api, done: str, replay: Callable[..., str]) -> None:
        old = replay()
        for _ in range(3):
            api("POST", "/jobs", {"input_text": "a"})

        page = api("GET", "/jobs?replays=only&limit=1").body

        assert [job["event_id"] for job in page["jobs"]] == [old]
        assert api("GET", f"/jobs?replays=true&cursor={page['next_cursor']}").status == 422 or not page["next_cursor"]

    def test_refuses_another_choice_of_replays(self, api: Api) -> None:
        answer = api("GET", "/jobs?replays=some")

        assert (answer.status, [*answer.body["errors"]]) == (422, ["replays"])

    def test_has_cursors_of_its_own(self, api: Api, replay: Callable[..., str]) -> None:
        replay()
        replay()
        cursor = api("GET", "/jobs?replay=r1&limit=1").body["next_cursor"]

        assert len(listed(api, f"?replay=r1&limit=1&cursor={cursor}")) == 1
        assert api("GET", f"/jobs?replays=true&cursor={cursor}").status == 422
        assert api("GET", f"/jobs?replay=r2&cursor={cursor}").status == 422
        assert api("GET", f"/jobs?cursor={cursor}").status == 422


class TestWhatAReplayCosts:
    def test_is_in_the_usage_and_its_jobs_are_not_in_the_counts(
        self, deployment: Deployment, api: Api, replay: Callable[..., str]
    ) -> None:
        before = api("GET", "/usage?by=chain").body
        job = deployment.run(event_id=replay())
        assert job.spending.calls == 3

        after = api("GET", "/usage?by=chain").body

        assert counts(after["days"][-1]) == counts(before["days"][-1]) == [1, 1, 0, 0]
        assert [before["replays"][name] for name in (*COUNTS, "calls", "retries", "cost_usd")] == [0] * 7
        assert counts(after["replays"]) == [1, 1, 0, 0]
        assert after["replays"] == after["days"][-1]["replays"]
        assert after["total"]["calls"] == before["total"]["calls"] + 3 == 6
        for count in ("calls", "cost_usd"):
            both = before["total"][count] + after["replays"][count]
            assert after["total"][count] == pytest.approx(both)
            assert after["days"][-1]["groups"]["guideline_checklist"][count] == pytest.approx(both)
        assert after["days"][-1]["groups"]["guideline_checklist"]["completed"] == 1
        assert after["replays"]["cost_usd"] == pytest.approx(float(job.spending.known_cost_usd))

    def test_is_told_apart_in_the_numbers_of_today(
        self, deployment: Deployment, api: Api, replay: Callable[..., str]
    ) -> None:
        before = api("GET", "/stats").body
        deployment.run(event_id=replay())
        cancelled = replay()
        api("POST", f"/jobs/{cancelled}/cancel")

        after = api("GET", "/stats").body

        assert after["jobs"] == before["jobs"]
        assert after["today"]["created"] == before["today"]["created"] == 1
        assert counts(after["today"]["replays"]) == [2, 1, 0, 1]
        assert after["today"]["calls"] == before["today"]["calls"] + after["today"]["replays"]["calls"] == 6

    def test_is_in_the_metrics_whereas_its_end_is_not(
        self, deployment: Deployment, stores: Any, replay: Callable[..., str]
    ) -> None:
        outcomes: list[Outcome] = []
        deployment.runner = make_runner(
            deployment.stores,
            deployment.queue,
            deployment.llm,
            deployment._logger,
            meter=deployment.meter,
            outcome_meter=outcomes.append,
        )
        deployment.metered.clear()

        deployment.run(event_id=replay())
        deployment.run(PermanentModelError("model_request_refused", "no"), event_id=replay())

        assert sum(spending.calls for _, _, spending in deployment.metered) >= 3
        assert outcomes == []
        deployment.create(7)
        deployment.run()
        assert [outcome.status for outcome in outcomes] == [Status.COMPLETED]

    def test_is_no_failed_job_of_the_metrics_where_its_workers_vanished(
        self, deployment: Deployment, replay: Callable[..., str]
    ) -> None:
        outcomes: list[Outcome] = []
        deployment.sweeper = make_sweeper(
            deployment.stores, deployment.queue, deployment._logger, outcome_meter=outcomes.append
        )
        event_id = replay()

        vanish_until_it_fails(deployment, event_id)
        assert deployment.job(event_id).status is Status.FAILED
        assert outcomes == []

        vanish_until_it_fails(deployment, deployment.create(7))
        assert [outcome.error_type for outcome in outcomes] == ["worker_lost"]

    def test_teaches_nothing_of_how_long_jobs_take(
        self, deployment: Deployment, api: Api, done: str, replay: Callable[..., str]
    ) -> None:
        job = deployment.run(event_id=replay())
        durations = Durations()

        durations.learn(job)
        assert durations.of(job) == []
        durations.learn(deployment.job(done))
        assert len(durations.of(job)) == 1
        assert [found.event_id for found in deployment.stores.jobs.completed("local", 50)] == [done]
