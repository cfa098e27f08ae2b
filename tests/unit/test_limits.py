"""The limits of a key: how much a tenant may post, and what keeps it out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws import quotas
from jobchain.aws.table import Table
from jobchain.domain import FinishedStep, JobError, Status
from jobchain.limits import Limits
from jobchain.spending import Spending, Usage
from jobchain_api.auth import Caller
from jobchain_api.service import JobService
from tests.conftest import Items
from tests.fakes import FakeClock
from tests.gateway import Answer, Api
from tests.stores import Stores

LEASE = timedelta(minutes=5)
BODY = {"input_text": "Be careful."}

As = Callable[..., Api]


@pytest.fixture
def with_limits(service: JobService, logger: Logger) -> As:
    """The API as a tenant sees it whose key has these limits."""

    def api(tenant: str = "acme", **limits: Any) -> Api:
        return Api(service, logger, lambda _: Caller(tenant, Limits(**limits)))

    return api


def batch(api: Api, count: int, **more: object) -> list[Any]:
    """The statuses of a batch's results."""
    entries = [{**BODY, **more} for _ in range(count)]
    return [result["status"] for result in api("POST", "/jobs/batch", {"jobs": entries}).body["results"]]


def assert_refused(answer: Answer, limit: str, retry_after: int) -> None:
    assert answer.status == 429
    assert answer.body["type"] == "urn:jobchain:problem:limit-reached"
    assert answer.body["limit"] == limit
    assert limit in answer.body["detail"]
    assert answer.headers["Retry-After"] == str(retry_after)


class TestJobsAMinute:
    def test_are_let_in_up_to_the_limit_and_again_in_the_next_minute(self, with_limits: As, clock: FakeClock) -> None:
        api = with_limits(jobs_per_minute=2)
        clock.advance(timedelta(seconds=18))

        assert [api("POST", "/jobs", BODY).status for _ in range(2)] == [201, 201]
        assert_refused(api("POST", "/jobs", BODY), "jobs_per_minute", 42)

        clock.advance(timedelta(seconds=42))
        assert api("POST", "/jobs", BODY).status == 201

    def test_count_the_jobs_of_batches(self, with_limits: As) -> None:
        api = with_limits(jobs_per_minute=5)
        api("POST", "/jobs", BODY)

        assert batch(api, 6) == ["pending"] * 4 + [429] * 2

    def test_count_retries(self, with_limits: As) -> None:
        api = with_limits(jobs_per_minute=1)
        event_id = api("POST", "/jobs", BODY).body["event_id"]
        api("POST", f"/jobs/{event_id}/cancel")

        assert_refused(api("POST", f"/jobs/{event_id}/retry"), "jobs_per_minute", 60)

    def test_do_not_count_looking(self, with_limits: As) -> None:
        api = with_limits(jobs_per_minute=2)
        event_id = api("POST", "/jobs", BODY).body["event_id"]

        paths = (f"/jobs/{event_id}", "/jobs", "/stats", "/chains")
        assert {api("GET", path).status for path in paths * 3} == {200}
        assert api("POST", "/jobs", BODY).status == 201

    def test_do_not_count_what_is_refused(self, with_limits: As) -> None:
        api = with_limits(jobs_per_minute=1)

        assert api("POST", "/jobs", {}).status == 422
        assert api("POST", "/jobs", BODY).status == 201

    def test_are_each_tenants_own(self, with_limits: As) -> None:
        assert with_limits("one", jobs_per_minute=1)("POST", "/jobs", BODY).status == 201
        assert with_limits("two", jobs_per_minute=1)("POST", "/jobs", BODY).status == 201


class TestJobsUnfinishedAtOnce:
    def test_are_let_in_up_to_the_limit_and_again_when_one_ends(
        self, with_limits: As, stores: Stores, clock: FakeClock
    ) -> None:
        api = with_limits(unfinished_jobs=2)
        first, second = (api("POST", "/jobs", BODY).body["event_id"] for _ in range(2))
        assert_refused(api("POST", "/jobs", BODY), "unfinished_jobs", 10)

        stores.claims.finish(stores.claim(first, clock() + LEASE))
        assert api("POST", "/jobs", BODY).status == 201
        assert_refused(api("POST", "/jobs", BODY), "unfinished_jobs", 10)

        api("POST", f"/jobs/{second}/cancel")
        assert api("POST", "/jobs", BODY).status == 201

    def test_count_the_jobs_of_batches(self, with_limits: As) -> None:
        api = with_limits(unfinished_jobs=40)
        assert batch(api, 35) == ["pending"] * 35

        assert batch(api, 10) == ["pending"] * 5 + [429] * 5
        assert batch(api, 2) == [429] * 2

    def test_bound_a_batch_that_is_larger(self, with_limits: As) -> None:
        assert batch(with_limits(unfinished_jobs=3), 5) == ["pending"] * 3 + [429] * 2

    def test_count_retries(self, with_limits: As) -> None:
        api = with_limits(unfinished_jobs=1)
        event_id = api("POST", "/jobs", BODY).body["event_id"]
        api("POST", f"/jobs/{event_id}/cancel")
        assert api("POST", "/jobs", BODY).status == 201

        assert_refused(api("POST", f"/jobs/{event_id}/retry"), "unfinished_jobs", 10)
        assert api("GET", f"/jobs/{event_id}").body["status"] == "cancelled"

    def test_are_counted_anew_only_when_they_are_in_the_way(
        self, with_limits: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted = []
        count = quotas.count_unfinished

        def counting(table: Table, tenant: str, most: int) -> Counter[Status]:
            counted.append(most)
            return count(table, tenant, most)

        monkeypatch.setattr(quotas, "count_unfinished", counting)
        api = with_limits(unfinished_jobs=10)

        # The counter is made by a count.
        for _ in range(10):
            event_id = api("POST", "/jobs", BODY).body["event_id"]
            api("POST", f"/jobs/{event_id}/cancel")
        assert counted == [10]

        assert api("POST", "/jobs", BODY).status == 201
        assert counted == [10, 10]


def test_a_count_that_is_out_of_date_lets_nobody_past_the_limit(
    with_limits: As, stores: Stores, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a full house, of which one leaves
    api = with_limits(unfinished_jobs=2)
    first, _ = (api("POST", "/jobs", BODY).body["event_id"] for _ in range(2))
    stores.claims.finish(stores.claim(first, clock() + LEASE))
    count = quotas.count_unfinished

    # when somebody takes the free place while another one counts
    def slow(table: Table, tenant: str, most: int) -> Counter[Status]:
        counted = count(table, tenant, most)
        monkeypatch.setattr(quotas, "count_unfinished", count)
        assert api("POST", "/jobs", BODY).status == 201
        return counted

    monkeypatch.setattr(quotas, "count_unfinished", slow)

    # then that one comes too late
    assert api("POST", "/jobs", BODY).status == 429
    assert stores.jobs.unfinished("acme", 10).total() == 2


class TestTheBudgetOfADay:
    @pytest.fixture
    def spend(self, stores: Stores, clock: FakeClock) -> Callable[[Api, Spending], None]:
        def spend(api: Api, spent: Spending) -> None:
            event_id = api("POST", "/jobs", BODY).body["event_id"]
            stores.claims.fail(stores.claim(event_id, clock() + LEASE), JobError("model_refused", "no"), {"m": spent})

        return spend

    def test_of_tokens(self, with_limits: As, spend: Callable[[Api, Spending], None], clock: FakeClock) -> None:
        api = with_limits(tokens_per_day=100)
        spend(api, Spending(Usage(input_tokens=60, output_tokens=39)))
        assert api("POST", "/jobs", BODY).status == 201

        spend(api, Spending(Usage(output_tokens=1)))
        assert_refused(api("POST", "/jobs", BODY), "tokens_per_day", 14 * 3600)
        assert batch(api, 2) == [429, 429]

        clock.advance(timedelta(hours=14))
        assert api("POST", "/jobs", BODY).status == 201

    def test_of_dollars(self, with_limits: As, spend: Callable[[Api, Spending], None]) -> None:
        api = with_limits(cost_usd_per_day=Decimal("0.5"))
        spend(api, Spending(known_cost_usd=Decimal("0.49")))
        assert api("POST", "/jobs", BODY).status == 201

        spend(api, Spending(known_cost_usd=Decimal("0.01")))
        assert_refused(api("POST", "/jobs", BODY), "cost_usd_per_day", 14 * 3600)

    def test_keeps_retries_out_too(self, with_limits: As, spend: Callable[[Api, Spending], None]) -> None:
        api = with_limits(tokens_per_day=1)
        event_id = api("POST", "/jobs", BODY).body["event_id"]
        api("POST", f"/jobs/{event_id}/cancel")
        spend(api, Spending(Usage(output_tokens=1)))

        assert_refused(api("POST", f"/jobs/{event_id}/retry"), "tokens_per_day", 14 * 3600)


@pytest.mark.parametrize("limits", [{"jobs_per_minute": 1}, {"unfinished_jobs": 1}, {"tokens_per_day": 0}])
def test_no_limit_keeps_a_replay_out(with_limits: As, limits: dict[str, int]) -> None:
    with_limits()("POST", "/jobs", BODY, {"Idempotency-Key": "key"})
    api = with_limits(**limits)
    api("POST", "/jobs", BODY)

    replayed = api("POST", "/jobs", BODY, {"Idempotency-Key": "key"})
    results = api("POST", "/jobs/batch", {"jobs": [BODY, {**BODY, "idempotency_key": "key"}]}).body["results"]

    assert (replayed.status, replayed.headers.get("Idempotent-Replayed")) == (200, "true")
    assert [result["status"] for result in results] == [429, "pending"]
    assert api("POST", "/jobs", {"input_text": "other"}, {"Idempotency-Key": "key"}).status == 422


def test_a_job_that_is_refused_leaves_nothing_behind(with_limits: As, items: Items) -> None:
    api = with_limits(unfinished_jobs=1, jobs_per_minute=5)
    api("POST", "/jobs", BODY)
    before = items.all()

    assert api("POST", "/jobs", BODY).status == 429
    assert items.all() == before
    assert api("GET", "/stats").body["today"]["created"] == 1


def test_both_limits_of_jobs_hold_together(with_limits: As, clock: FakeClock) -> None:
    api = with_limits(jobs_per_minute=3, unfinished_jobs=4)

    assert batch(api, 5) == ["pending"] * 3 + [429] * 2
    clock.advance(timedelta(minutes=1))
    assert batch(api, 5) == ["pending"] + [429] * 4


def spent_view(calls: int) -> dict[str, Any]:
    """What calls of 10, 1, 5 and 2 tokens for 0.001 dollars are to a caller."""
    return {
        "calls": calls,
        "retries": 0,
        "usage": {
            "input_tokens": 10 * calls,
            "cached_tokens": calls,
            "cache_write_tokens": 0,
            "output_tokens": 5 * calls,
            "reasoning_tokens": 2 * calls,
        },
        "cost_usd": pytest.approx(0.001 * calls),
        "estimated": {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0},
    }


class TestTheBooks:
    def test_of_a_day_are_those_of_its_jobs(self, with_limits: As, stores: Stores, clock: FakeClock) -> None:
        api = with_limits()
        spent = Spending(Usage(10, 1, 5, 2), Decimal("0.001"), calls=1)
        ids = [api("POST", "/jobs", BODY).body["event_id"] for _ in range(5)]
        # one completes, one fails, one is put off and then cancelled; two wait
        claims = [stores.claim(event_id, clock() + LEASE) for event_id in ids[:3]]
        for claim in claims[:2]:
            stores.save_step(claim, 0, FinishedStep("summary", "s", "m", "v", "t", "t", spent))
        stores.claims.finish(claims[0], {"m": spent})
        stores.claims.fail(claims[1], JobError("model_refused", "no"), {"m": spent, "other": spent})
        stores.claims.release(claims[2], timedelta(0), {}, {"m": spent})
        api("POST", f"/jobs/{ids[2]}/cancel")

        stats = api("GET", "/stats").body

        assert stats["jobs"] == {"pending": 2, "processing": 0, "completed": 1, "failed": 1, "cancelled": 1}
        used = spent_view(4)
        assert stats["today"] == {
            "date": "2026-11-22",
            "created": 5,
            **used,
            "by_model": {"m": spent_view(3), "other": spent_view(1)},
            "by_key": {"": used},
            "by_chain": {"guideline_checklist": used},
            "replays": {"created": 0, "completed": 0, "failed": 0, "cancelled": 0, **spent_view(0)},
        }
        assert stats["queue"] is None

    def test_begin_anew_each_day(self, with_limits: As, clock: FakeClock) -> None:
        api = with_limits()
        api("POST", "/jobs", BODY)
        clock.advance(timedelta(days=1))

        stats = api("GET", "/stats").body

        assert (stats["today"]["date"], stats["today"]["created"]) == ("2026-11-23", 0)
        assert stats["jobs"]["pending"] == 1

    def test_do_not_know_what_a_model_without_a_price_costs(
        self, with_limits: As, stores: Stores, clock: FakeClock
    ) -> None:
        api = with_limits()
        event_id = api("POST", "/jobs", BODY).body["event_id"]
        unpriced = Spending(Usage(10, 0, 5, 0), unpriced_calls=1)
        stores.claims.fail(stores.claim(event_id, clock() + LEASE), JobError("model_refused", "no"), {"m": unpriced})

        assert api("GET", "/stats").body["today"]["cost_usd"] is None

    def test_count_a_step_once_however_often_it_is_stored(
        self, with_limits: As, stores: Stores, clock: FakeClock
    ) -> None:
        api = with_limits()
        claim = stores.claim(api("POST", "/jobs", BODY).body["event_id"], clock() + LEASE)
        step = FinishedStep("summary", "s", "m", "v", "t", "t", Spending(Usage(10, 0, 5, 0)))

        stores.save_step(claim, 0, step)
        stores.save_step(claim, 0, replace(step, output="again"))
        for _ in range(2):  # the answer to the first one was lost
            stores.claims.finish(claim, {"m": step.spending})

        assert api("GET", "/stats").body["today"]["usage"]["input_tokens"] == 10

    def test_do_not_say_more_than_so_many_are_unfinished(self, with_limits: As, stores: Stores) -> None:
        batch(with_limits(), 12)

        assert stores.jobs.unfinished("acme", most=10).total() == 10

    def test_show_an_operator_the_queues(self, service: JobService, logger: Logger) -> None:
        operator = Api(service, logger, lambda _: Caller("ops", operator=True))
        operator("POST", "/jobs", BODY)

        # The dead letters of these tests are the queue's own messages.
        depth = {"waiting": 1, "in_flight": 0, "delayed": 0, "dead_letters": 1}
        assert operator("GET", "/stats").body["queue"] == depth
