"""Workers, callers and sweepers that come in between each other, and answers that are lost at that moment."""

from datetime import timedelta
from typing import Any

import pytest

from jobchain.aws.jobs import JobStore
from jobchain.chains.chain import Step
from jobchain.domain import Claim, DailyBudget, Status
from jobchain.errors import JobIsFinal, TransientModelError, Unavailable
from jobchain.spending import Spending
from tests.deployment import AFTER_LEASE, INVOCATION, RETENTION, TENANT, Deployment, Fault
from tests.fake_model.llm import WorkerVanished
from tests.unit.test_settling import CALL, ESTIMATE, MODEL, NOTHING, Workers, bill

BAD = {"summary": ""}


@pytest.fixture
def workers(deployment: Deployment) -> Workers:
    deployment.create()
    return Workers(deployment)


def ended(deployment: Deployment) -> dict[Status, int]:
    return dict(deployment.stores.usage.today(TENANT).ended)


# --- 1: cancel reads twice, and looks at the status of the first read only -----------------------


def between_the_reads_of_cancel(monkeypatch: pytest.MonkeyPatch, event: Any) -> None:
    read = JobStore._read

    def read_and(self: JobStore, tenant: str, event_id: str, first: str = "META") -> Any:
        if first == "ATTEMPT":
            event()
        return read(self, tenant, event_id, first)

    monkeypatch.setattr(JobStore, "_read", read_and)


def test_cancel_does_not_change_a_job_that_a_slow_worker_completes_meanwhile(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = workers.claim()
    workers.store(claim)
    workers.deployment.clock.advance(AFTER_LEASE)
    between_the_reads_of_cancel(monkeypatch, lambda: workers.claims.finish(claim, bill(CALL)))

    with pytest.raises(JobIsFinal):
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)

    assert (workers.deployment.job().status, ended(workers.deployment)) == (
        Status.COMPLETED,
        {Status.COMPLETED: 1},
    )


def test_cancel_does_not_end_a_job_that_another_worker_holds(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.claim()
    workers.deployment.clock.advance(AFTER_LEASE)
    lease_until = workers.deployment.clock() + INVOCATION
    taken: list[Any] = []

    def take() -> None:
        if not taken:
            taken.append(workers.claims.claim(workers.deployment.event_id, lease_until, lambda *_: (MODEL, ESTIMATE)))

    between_the_reads_of_cancel(monkeypatch, take)
    job = workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
    assert job.status is Status.PROCESSING
    assert workers.claims.check(taken[0]) is True


# --- 2: metrics ----------------------------------------------------------------------------------


def test_a_release_that_a_cancel_turned_into_an_end_is_metered_where_its_answer_is_lost(deployment: Deployment) -> None:
    deployment.create()
    deployment.llm.meanwhile = lambda: deployment.stores.jobs.cancel(TENANT, deployment.event_id)
    left: list[Fault | None] = [None, "lost"]
    deployment.faults.choose = lambda called: left.pop(0) if called == "TransactWriteItems" and left else None
    job = deployment.run(TransientModelError("503"))
    assert job.status is Status.CANCELLED
    deployment.spent()


@pytest.mark.parametrize("then", ["cancel", "claim"])
def test_a_release_is_metered_where_its_answer_is_lost_and_the_job_changes_before_it_is_repeated(
    deployment: Deployment, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.create()
    claims = deployment.stores.claims
    release = claims.release

    def release_and(*args: Any) -> bool:
        try:
            return release(*args)
        except Unavailable:
            if then == "cancel":
                deployment.stores.jobs.cancel(TENANT, deployment.event_id)
            else:
                deployment.clock.advance(timedelta(seconds=60))
                deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
            raise

    release_and.__name__ = "release"
    monkeypatch.setattr(claims, "release", release_and)
    deployment.faults.script("TransactWriteItems", "lost")
    deployment.run(TransientModelError("503"))
    deployment.spent()


def test_an_end_is_metered_where_its_answer_is_lost_and_the_job_is_retried_before_it_is_repeated(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.create()
    claims = deployment.stores.claims
    fail = claims.fail

    def fail_and(*args: Any) -> None:
        try:
            fail(*args)
        except Unavailable:
            deployment.stores.jobs.retry(TENANT, deployment.event_id)
            raise

    fail_and.__name__ = "fail"
    monkeypatch.setattr(claims, "fail", fail_and)
    deployment.faults.script("TransactWriteItems", "lost")
    deployment.run(BAD, BAD, BAD)
    deployment.spent()


# --- 3: parked for longer than it is kept --------------------------------------------------------


def test_a_job_is_not_parked_beyond_its_erasure(deployment: Deployment) -> None:
    deployment.create(daily_budget=DailyBudget(tokens=1), key_id="key", deadline=RETENTION)
    deployment.run()  # the summary
    deployment.clock.advance(RETENTION - timedelta(days=1, hours=2))
    # others use up the budget each day
    deployment.create(2, key_id="key")
    deployment.run()
    deployment.event_id = "0b6c2f4e-0000-4000-8000-000000000001"
    job = deployment.run()
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "budget_exceeded"


# --- 4: a fault of the chain's code while a vanished worker is settled ---------------------------


def test_a_fault_of_the_chains_code_in_the_estimate_ends_the_job_by_its_name(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.create(deadline=timedelta(hours=1))
    with pytest.raises(WorkerVanished):
        deployment.run(WorkerVanished())
    deployment.clock.advance(AFTER_LEASE)

    def bug(*_: Any) -> Any:
        raise KeyError("a bug of the new version's request")

    monkeypatch.setattr(Step, "request", bug)
    job = deployment.run_until_final()
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "deadline_exceeded"
    assert "the step's code failed (KeyError)" in job.error.message
    deployment.spent()


# --- 5: recorded by the api or the sweeper, answer lost, not metered -----------------------------


def test_a_cancel_whose_read_back_fails_is_metered(workers: Workers) -> None:
    workers.store(workers.claim())
    workers.deployment.clock.advance(AFTER_LEASE)
    workers.deployment.faults.script("Query", None, None, "refused")
    metered: dict[str, Spending] = {}

    with pytest.raises(Unavailable):
        workers.deployment.stores.jobs.cancel(
            TENANT, workers.deployment.event_id, lambda _chain, model, spending: metered.update({model: spending})
        )

    assert workers.spent == metered[MODEL]


def test_a_sweep_whose_answer_is_lost_is_metered(workers: Workers) -> None:
    for _ in range(5):
        workers.fail_call(workers.claim())
    workers.deployment.clock.advance(AFTER_LEASE)
    workers.deployment.faults.script("TransactWriteItems", "lost")
    workers.deployment.sweep()
    workers.deployment.sweep()
    workers.deployment.spent()


# --- 6: a day below zero -------------------------------------------------------------------------


def test_no_day_is_below_zero(workers: Workers) -> None:
    slow = workers.claim()
    workers.settle(workers.claim())
    before = workers.deployment.day
    assert before == ESTIMATE
    workers.deployment.clock.advance(timedelta(days=1))
    workers.report(slow, CALL)
    assert workers.deployment.day.known_cost_usd >= 0, workers.deployment.day


# --- 7: sweeper does not spin --------------------------------------------------------------------


def test_a_sweep_does_not_read_a_full_page_for_ever_that_it_can_not_postpone(deployment: Deployment) -> None:
    for number in range(30):
        deployment.create(number)
    deployment.clock.advance(timedelta(hours=1))
    deployment.sweeper._page_size = 2
    reads = 0

    def choose(called: str) -> Any:
        nonlocal reads
        if called == "Query":
            reads += 1
            if reads > 200:
                deployment.clock.advance(timedelta(hours=1))
        return "refused" if called == "UpdateItem" else None

    deployment.faults.choose = choose
    deployment.sweep()
    assert reads <= 100


# --- 8: what META says is at risk, when another deployment claims --------------------------------


def test_the_estimate_of_a_cancel_is_that_of_the_worker_that_called(workers: Workers) -> None:
    workers.claim()  # may have called: ESTIMATE is at risk
    workers.deployment.clock.advance(AFTER_LEASE)
    # a deployment that has not the chain any more, or whose model is free; it vanishes before it settles
    until = workers.deployment.clock() + INVOCATION
    workers.claims.claim(workers.deployment.event_id, until, lambda *_: (MODEL, NOTHING))
    workers.deployment.clock.advance(AFTER_LEASE)
    workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
    assert workers.spent == ESTIMATE


# --- 9: a job's own text -------------------------------------------------------------------------


def test_a_repeated_create_whose_job_was_claimed_meanwhile_keeps_its_text(
    deployment: Deployment, dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact = dynamodb.transact_write_items
    did: list[int] = []

    def twice(**parameters: Any) -> Any:
        if not did:
            did.append(1)
            transact(**parameters)
            deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        return transact(**parameters)

    monkeypatch.setattr(dynamodb, "transact_write_items", twice)

    deployment.create()

    assert any(item["sk"].startswith("INPUT#") for item in deployment.items())


def test_report_late_is_repeated(deployment: Deployment) -> None:
    deployment.create()
    other: list[Claim] = []

    def lose() -> None:
        if not other:
            deployment.clock.advance(AFTER_LEASE)
            claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
            other.append(claim)
            deployment.faults.script("TransactWriteItems", "lost")

    deployment.llm.meanwhile = lose
    deployment.run()
    deployment.spent()


def test_the_day_exceeds_its_budget_by_no_more_than_what_the_jobs_in_flight_cost(deployment: Deployment) -> None:
    limit = DailyBudget(tokens=360)  # three calls of 120
    ids = [deployment.create(number, daily_budget=limit, key_id="key") for number in range(10)]
    deployment.run_together(ids)
    used = deployment.day.usage
    assert used.input_tokens + used.output_tokens <= 360 + 10 * 3 * 120
