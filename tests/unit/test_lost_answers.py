"""Writes that are made twice, as the answer to the first one was lost on its way to the SDK: each has one effect."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from jobchain.aws.queue import MAX_DELAY
from jobchain.domain import DailyBudget, Job, NewJob, Status
from jobchain.errors import CallReport, JobExists, TransientModelError, Unavailable
from jobchain.limits import Limits
from jobchain.spending import Spending, Usage
from jobchain_sweeper.resending import MAX_CRASHES
from jobchain_sweeper.sweeper import Sweep
from tests.deployment import AFTER_LEASE, INVOCATION, RETENTION, TENANT, TEXT, Deployment
from tests.fake_model.llm import WorkerVanished

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITES = ("put_item", "update_item", "transact_write_items", "batch_write_item")
BAD = {"summary": ""}
CALL = Spending(Usage(100, 10, 20, 5), Decimal("0.001"), calls=1)


@pytest.fixture
def twice(deployment: Deployment, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment in which every write is made twice, and only the second answer arrives."""

    def made_twice(write: Callable[..., Any]) -> Callable[..., Any]:
        def both(**parameters: Any) -> Any:
            write(**parameters)
            return write(**parameters)

        return both

    for name in WRITES:
        monkeypatch.setattr(dynamodb, name, made_twice(getattr(dynamodb, name)))
    return deployment


def ended(deployment: Deployment) -> tuple[int, dict[Status, int]]:
    """How many jobs were created today, and how many ended how."""
    today = deployment.stores.usage.today(TENANT)
    return today.created, dict(today.ended)


def test_a_job_is_created_and_completed_once(twice: Deployment) -> None:
    twice.create(metadata={"source": "test"})
    job = twice.run()

    assert job.status is Status.COMPLETED
    assert (job.attempts, len(job.steps)) == (1, 3)
    assert twice.spent().calls == len(twice.llm.requests) == 3
    assert ended(twice) == (1, {Status.COMPLETED: 1})


def test_a_batch_is_admitted_once_and_counted_once(twice: Deployment) -> None:
    jobs = [
        NewJob(f"0b6c2f4e-0000-4000-8000-{number:012}", TENANT, "guideline_checklist", {"guidelines": TEXT}, "f")
        for number in range(5)
    ]

    outcomes = twice.stores.admission.create_many(jobs, RETENTION, Limits(jobs_per_minute=5, unfinished_jobs=5))
    assert [type(outcome) for outcome in outcomes] == [Job] * 5
    assert ended(twice) == (5, {})

    outcomes = twice.stores.admission.create_many(jobs, RETENTION)
    assert [type(outcome) for outcome in outcomes] == [JobExists] * 5
    assert all(len(twice.items(new.event_id)) == 2 for new in jobs), "the texts of the second post are erased"


def test_a_job_fails_once_with_all_its_calls(twice: Deployment) -> None:
    twice.create()
    job = twice.run(BAD, BAD, BAD)

    assert job.status is Status.FAILED
    assert twice.spent().calls == 3
    assert len(twice.stores.jobs.details(TENANT, job.event_id).attempts) == 3
    assert ended(twice) == (1, {Status.FAILED: 1})


def test_a_job_is_released_once_and_run_again(twice: Deployment) -> None:
    twice.create()
    twice.run(TransientModelError("503", report=CallReport(maybe_billed=True)))
    assert twice.meta()["tries"] == {"summary": 1, "summary@unanswered": 1}
    twice.clock.advance(MAX_DELAY)

    job = twice.run()

    assert (job.status, job.attempts) == (Status.COMPLETED, 2)
    assert (twice.spent().calls, twice.spent().estimated.calls) == (4, 1)


def test_a_job_is_parked_once(twice: Deployment) -> None:
    twice.create(daily_budget=DailyBudget(tokens=1), key_id="key")
    job = twice.run()

    assert (job.status, len(job.steps)) == (Status.PENDING, 1)
    assert twice.spent().calls == 1


def test_a_worker_that_vanished_is_settled_once(twice: Deployment) -> None:
    twice.create()
    with pytest.raises(WorkerVanished):
        twice.run(BAD, WorkerVanished())
    twice.clock.advance(AFTER_LEASE)

    job = twice.run()

    assert (job.status, job.attempts) == (Status.COMPLETED, 2)
    assert (twice.spent().calls, twice.spent().estimated.calls) == (5, 1)


@pytest.mark.parametrize("settled", [False, True])
def test_a_slow_worker_reports_once(twice: Deployment, settled: bool) -> None:
    twice.create()
    slow = twice.stores.claim(twice.event_id, twice.clock() + INVOCATION)
    twice.clock.advance(AFTER_LEASE)
    other = twice.stores.claim(twice.event_id, twice.clock() + INVOCATION)
    spent = {"m": CALL}
    if settled:
        twice.stores.claims.settle(other, {"m": CALL + CALL})

    added = [twice.stores.claims.report_late(slow, spent) for _ in range(2)]

    assert added == [{"m": CALL - CALL - CALL} if settled else spent, {}]
    assert twice.day == twice.job().spending == CALL


def test_a_pending_job_is_cancelled_once(twice: Deployment) -> None:
    twice.create()
    job = twice.stores.jobs.cancel(TENANT, twice.event_id)

    assert job.status is Status.CANCELLED
    assert ended(twice) == (1, {Status.CANCELLED: 1})


def test_a_running_job_is_cancelled_once(twice: Deployment) -> None:
    twice.create()
    twice.llm.meanwhile = lambda: twice.stores.jobs.cancel(TENANT, twice.event_id)

    job = twice.run()

    assert (job.status, len(job.steps)) == (Status.CANCELLED, 1)
    assert twice.spent().calls == 1
    assert ended(twice) == (1, {Status.CANCELLED: 1})


def test_a_job_whose_worker_vanished_is_cancelled_and_settled_once(twice: Deployment) -> None:
    twice.create()
    with pytest.raises(WorkerVanished):
        twice.run(BAD, WorkerVanished())
    twice.clock.advance(AFTER_LEASE)

    recorded: dict[str, Spending] = {}
    job = twice.stores.jobs.cancel(
        TENANT, twice.event_id, lambda _chain, model, spending: recorded.update({model: spending})
    )

    assert recorded == {"gpt-6-luna": job.spending}
    assert (job.spending.calls, job.spending.estimated.calls) == (2, 1)
    assert twice.day == job.spending


def test_a_failed_job_is_retried_once(twice: Deployment) -> None:
    twice.create()
    twice.run(BAD, BAD, BAD)

    job = twice.stores.jobs.retry(TENANT, twice.event_id, Limits(jobs_per_minute=1))

    assert job.status is Status.PENDING
    assert twice.run().status is Status.COMPLETED
    assert twice.spent().calls == 6


def test_the_sweeper_sends_a_job_once(twice: Deployment) -> None:
    twice.create()
    twice.clock.advance(timedelta(minutes=5))

    assert twice.sweep() == Sweep(sent=1)
    assert twice.meta()["sends"] == 2
    assert twice.sweep() == Sweep()


def test_the_sweeper_fails_a_job_once(twice: Deployment) -> None:
    twice.create()
    for _ in range(MAX_CRASHES):
        twice.stores.claim(twice.event_id, twice.clock() + INVOCATION)
        twice.clock.advance(AFTER_LEASE)

    assert twice.sweep() == Sweep(failed=1)
    assert ended(twice) == (1, {Status.FAILED: 1})


def test_a_deletion_leaves_nothing(deployment: Deployment) -> None:
    """Of a transaction that only deletes, the SDK's second try is told by DynamoDB's own token."""
    deployment.create(metadata={"source": "test"})
    deployment.run(BAD)
    deployment.faults.script("TransactWriteItems", "lost")

    with pytest.raises(Unavailable):
        deployment.stores.jobs.delete(TENANT, deployment.event_id)

    assert deployment.items() == []
