"""The daily budget of a key: jobs that are accepted wait for the next day once it is used up."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.aws.queue import MAX_DELAY
from jobchain.daily_usage import DailyUsage
from jobchain.domain import NO_BUDGET, DailyBudget, Status, WaitReason
from jobchain.errors import LimitReached, TransientModelError
from jobchain.limits import Limits
from jobchain.spending import Spending, Usage
from jobchain_sweeper.sweeper import Sweep
from tests.deployment import AFTER_LEASE, TENANT, Deployment
from tests.fake_model.llm import WorkerVanished

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
CALL_COST = Decimal("0.0000191")
JOB_COST = 3 * CALL_COST
SPREAD = timedelta(minutes=10)


def budget(jobs: float) -> DailyBudget:
    """What that many jobs cost."""
    return DailyBudget(cost_usd=Decimal(str(jobs)) * JOB_COST)


@pytest.mark.thorough
def test_of_one_batch_no_more_is_spent_than_the_jobs_in_flight_can_cost(deployment: Deployment) -> None:
    # given 60 jobs that a key's budget does not pay for on one day
    limit = budget(35)
    assert limit.cost_usd
    ids = [deployment.create(number, daily_budget=limit, key_id="key") for number in range(60)]

    # when workers run ten at a time
    for start in range(0, 60, 10):
        deployment.run_together(ids[start : start + 10])

    # then at most those ten have passed the budget, and all others wait for the next day
    assert limit.cost_usd <= deployment.day.known_cost_usd <= limit.cost_usd + 10 * JOB_COST
    waiting = [job for job in map(deployment.job, ids) if job.status is Status.PENDING]
    assert 60 - 45 <= len(waiting) <= 60 - 35
    assert {job.waiting_for.reason for job in waiting if job.waiting_for} == {WaitReason.BUDGET}
    for job in waiting:
        assert job.waiting_for is not None
        assert job.waiting_for.until is not None
        assert MIDNIGHT <= datetime.fromisoformat(job.waiting_for.until) <= MIDNIGHT + SPREAD
        assert "cost_usd_per_day is used up for today" in job.waiting_for.detail

    # and before it they are neither sent nor run
    deployment.clock.now = MIDNIGHT - timedelta(seconds=1)
    assert deployment.sweep() == Sweep()
    asked = len(deployment.llm.requests)
    deployment.run_together([job.event_id for job in waiting])
    assert len(deployment.llm.requests) == asked

    # when the next day has begun, then they are sent and complete
    deployment.clock.now = MIDNIGHT + SPREAD + timedelta(minutes=5, seconds=1)
    assert deployment.sweep() == Sweep(sent=len(waiting))
    deployment.run_together([job.event_id for job in waiting])
    assert {job.status for job in map(deployment.job, ids)} == {Status.COMPLETED}
    assert len(deployment.llm.requests) == 3 * 60


def test_a_job_is_parked_between_two_steps_and_keeps_what_it_has(deployment: Deployment) -> None:
    deployment.create(daily_budget=DailyBudget(cost_usd=CALL_COST), key_id="key")

    job = deployment.run()

    assert [step.name for step in job.steps] == ["summary"]
    assert job.waiting_for is not None
    assert (job.status, job.waiting_for.reason) == (Status.PENDING, WaitReason.BUDGET)
    assert deployment.spent() == job.spending
    assert deployment.meta()["tries"] == {}


def test_a_budget_of_tokens_parks_jobs_too(deployment: Deployment) -> None:
    deployment.create(daily_budget=DailyBudget(tokens=240), key_id="key")

    job = deployment.run()

    assert len(job.steps) == 2
    assert job.waiting_for is not None
    assert "tokens_per_day" in job.waiting_for.detail


def test_what_a_job_is_using_counts_before_it_is_in_the_usage_records(deployment: Deployment) -> None:
    deployment.create(daily_budget=budget(1), key_id="key")
    assert deployment.run().status is Status.COMPLETED

    deployment.create(2, daily_budget=budget(1), key_id="key")
    assert deployment.run().steps == ()


def test_a_job_without_a_budget_reads_no_usage(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_tenant: str) -> DailyUsage:
        raise AssertionError("read")

    deployment.create()
    monkeypatch.setattr(deployment.stores.usage, "today", refuse)

    assert deployment.run().status is Status.COMPLETED


def test_the_estimate_of_a_worker_that_vanished_counts(deployment: Deployment) -> None:
    deployment.create(daily_budget=budget(10), key_id="key")
    with pytest.raises(WorkerVanished):
        deployment.run(WorkerVanished())
    deployment.clock.advance(AFTER_LEASE)

    job = deployment.run()

    assert job.waiting_for is not None
    assert job.waiting_for.reason is WaitReason.BUDGET
    assert deployment.spent().estimated.calls == 1


def test_a_parked_job_can_be_cancelled(deployment: Deployment) -> None:
    deployment.create(daily_budget=DailyBudget(tokens=0), key_id="key")
    deployment.run()

    job = deployment.stores.jobs.cancel(TENANT, deployment.event_id)

    assert (job.status, job.waiting_for, job.spending) == (Status.CANCELLED, None, Spending())


def test_a_retried_job_has_the_budget_of_the_key_that_retries_it(deployment: Deployment) -> None:
    deployment.create(daily_budget=DailyBudget(tokens=0), key_id="key")
    deployment.stores.jobs.cancel(TENANT, deployment.event_id)

    deployment.stores.jobs.retry(TENANT, deployment.event_id, Limits(cost_usd_per_day=Decimal(1)))
    assert deployment.run().status is Status.COMPLETED

    deployment.create(2, key_id="key")
    deployment.stores.jobs.cancel(TENANT, deployment.event_id)
    deployment.stores.jobs.retry(TENANT, deployment.event_id, Limits(tokens_per_day=1))
    assert deployment.run().status is Status.PENDING


def test_a_job_that_waits_for_a_second_try_says_so(deployment: Deployment) -> None:
    deployment.create()
    job = deployment.run(TransientModelError("the model's server answered 503"))

    assert job.waiting_for is not None
    assert job.waiting_for.reason is WaitReason.RETRY
    assert job.waiting_for.detail == "try 1: the model's server answered 503"
    assert job.waiting_for.until is not None
    assert datetime.fromisoformat(job.waiting_for.until) > deployment.clock()

    deployment.clock.advance(MAX_DELAY)
    assert deployment.run().waiting_for is None


@given(tokens=st.integers(0, 10**9), limit=st.none() | st.integers(0, 10**9), seconds=st.integers(0, 86_399))
def test_a_limit_is_reached_by_as_much_and_lasts_until_midnight(tokens: int, limit: int | None, seconds: int) -> None:
    now = MIDNIGHT + timedelta(seconds=seconds)
    limits = Limits(tokens_per_day=limit)
    today = DailyUsage("2026-11-23", spending=Spending(Usage(input_tokens=tokens // 2, output_tokens=-(-tokens // 2))))

    if limit is None or tokens < limit:
        limits.check_daily_usage(today, now)
    else:
        with pytest.raises(LimitReached) as reached:
            limits.check_daily_usage(today, now)
        assert now + reached.value.retry_after == MIDNIGHT + timedelta(days=1)
    assert (limits.daily_budget == NO_BUDGET) == (limit is None)
