"""How an operator finds and retries failed jobs, on moto's table and queues."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import DailyBudget, Job, JobError, NewJob, Status, Tier
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.limits import Limits
from jobchain_api.auth import LOCAL_TENANT
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.failed_jobs import ALL_ALIKE, LONGEST_RUN, FailedJobs, Wanted, checked_type
from jobchain_cli.spans import span
from tests.conftest import TABLE, Items, Messages
from tests.deployment import Deployment
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

REFUSED = PermanentModelError("model_request_refused", "the server refuses the request")
BUSY = TransientModelError("the model's server answered 503")
UNFIT = PermanentModelError("unusable_answer", "no answer fits")
HOUR = timedelta(hours=1)


@pytest.fixture
def failed(dynamodb: "DynamoDBClient", sqs: "SQSClient", queue_url: str, clock: FakeClock) -> FailedJobs:
    return FailedJobs(dynamodb, sqs, TABLE, queue_url, "", clock, threads=1)


def wanted(clock: FakeClock, *types: str, tenant: str | None = None, ago: timedelta = HOUR) -> Wanted:
    return Wanted(clock() - ago, clock() - ago - LONGEST_RUN, types, tenant)


def fail(deployment: Deployment, number: int, error: PermanentModelError = REFUSED, **changes: object) -> str:
    event_id = deployment.create(number, **changes)
    assert deployment.run(error).status is Status.FAILED
    return event_id


def outcomes(failed: FailedJobs, wanted: Wanted) -> list[str]:
    """The ids of the jobs that are retried."""
    found = failed.find(wanted).jobs
    return [outcome.job.event_id for part in failed.retry(found) for outcome in part if not outcome.refused]


class TestFinding:
    def test_gives_the_jobs_that_failed_since_then(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock
    ) -> None:
        # given a job that failed earlier, one that failed now, one that completed, and one that waits
        fail(deployment, 1)
        clock.advance(2 * HOUR)
        event_id = fail(deployment, 2)
        deployment.create(3)
        deployment.run()
        deployment.create(4)

        assert [job.event_id for job in failed.find(wanted(clock)).jobs] == [event_id]

    def test_goes_by_the_time_of_the_failure_and_not_of_the_creation(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock
    ) -> None:
        # given a job that failed six days after it was created
        event_id = deployment.create(1, deadline=timedelta(days=7))
        clock.advance(timedelta(days=6))
        deployment.run(REFUSED)

        assert [job.event_id for job in failed.find(wanted(clock)).jobs] == [event_id]

    def test_reads_no_jobs_that_were_created_before_what_is_asked_for(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock
    ) -> None:
        event_id = fail(deployment, 1)
        clock.advance(timedelta(days=10))
        deployment.stores.jobs.retry(LOCAL_TENANT, event_id)
        deployment.run(REFUSED)

        longer = replace(wanted(clock), created_since=clock() - timedelta(days=11))

        assert failed.find(wanted(clock)).jobs == []
        assert [job.event_id for job in failed.find(longer).jobs] == [event_id]

    def test_gives_the_wanted_types_and_counts_the_others(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock
    ) -> None:
        event_id = fail(deployment, 1)
        fail(deployment, 2, UNFIT)

        for types in (("model_request_refused",), ("model_*",), ("model_*", "budget_unknown")):
            found = failed.find(wanted(clock, *types))
            assert [job.event_id for job in found.jobs] == [event_id]
            assert found.others == Counter(unusable_answer=1)
        assert len(failed.find(wanted(clock, "*")).jobs) == 2

    def test_finds_every_tenant_that_has_a_key(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock, dynamodb: "DynamoDBClient"
    ) -> None:
        # given a failed job of a tenant, whose key is revoked
        keys = ApiKeyStore(dynamodb, TABLE, clock)
        _, made = keys.create("acme", "laptop")
        keys.revoke(made.key_id)
        event_id = "0b6c2f4e-0000-4000-8000-000000000007"
        new = NewJob(event_id, "acme", "guideline_checklist", {"guidelines": "Lock doors."}, "f")
        deployment.stores.admission.create(new, timedelta(days=30))
        deployment.llm.script = type(deployment.llm.script)(REFUSED)
        deployment.run_together([event_id])
        other = fail(deployment, 1)

        assert {job.event_id for job in failed.find(wanted(clock)).jobs} == {event_id, other}
        assert [job.event_id for job in failed.find(wanted(clock, tenant="acme")).jobs] == [event_id]

    def test_knows_the_tenant_of_a_stack_without_keys(self) -> None:
        assert ALL_ALIKE == LOCAL_TENANT


class TestRetrying:
    def test_makes_the_jobs_run_again(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock, messages: Messages
    ) -> None:
        ids = [fail(deployment, number) for number in range(1, 13)]

        assert sorted(outcomes(failed, wanted(clock))) == ids
        assert messages.count() == len(ids)
        deployment.llm.script = type(deployment.llm.script)()
        deployment.run_together(ids)
        assert {deployment.job(event_id).status for event_id in ids} == {Status.COMPLETED}

    def test_keeps_the_daily_budget_of_the_job_and_takes_no_quota(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock, items: Items
    ) -> None:
        event_id = fail(deployment, 1, daily_budget=DailyBudget(tokens=1000, cost_usd=Decimal("0.5")))
        before = items.meta(event_id)

        outcomes(failed, wanted(clock))

        after = items.meta(event_id)
        for name in ("tokens_per_day", "cost_usd_per_day"):
            assert after[name] == before[name]
        # A caller's retry has the limits of the caller's key.
        deployment.run(REFUSED)
        deployment.stores.jobs.retry(LOCAL_TENANT, event_id, Limits(tokens_per_day=7))
        assert items.meta(event_id)["tokens_per_day"] == {"N": "7"}

    def test_leaves_a_job_that_its_caller_changed_meanwhile(
        self, failed: FailedJobs, deployment: Deployment, clock: FakeClock
    ) -> None:
        # given failed jobs that were found, and that their caller then retries, cancels after that, or deletes
        left, retried, waiting, cancelled, deleted = (fail(deployment, number) for number in range(1, 6))
        found = failed.find(wanted(clock)).jobs
        for event_id in (retried, waiting, cancelled):
            deployment.stores.jobs.retry(LOCAL_TENANT, event_id)
        deployment.run(BUSY, event_id=waiting)
        deployment.stores.cancel(LOCAL_TENANT, cancelled)
        deployment.stores.jobs.delete(LOCAL_TENANT, deleted)
        before = {event_id: deployment.meta(event_id) for event_id in (retried, waiting, cancelled, deleted)}

        # when an operator retries what was found
        (part,) = failed.retry(found)

        # then only the first one is retried
        assert [outcome.job.event_id for outcome in part if not outcome.refused] == [left]
        assert all(outcome.has_moved for outcome in part if outcome.refused)
        assert {event_id: deployment.meta(event_id) for event_id in before} == before

    def test_leaves_a_job_to_the_sweeper_if_the_queue_does_not_take_it(
        self, deployment: Deployment, clock: FakeClock, dynamodb: "DynamoDBClient", sqs: "SQSClient"
    ) -> None:
        event_id = fail(deployment, 1)
        without_queue = FailedJobs(dynamodb, sqs, TABLE, "https://sqs.test/missing", "", clock, threads=1)

        assert outcomes(without_queue, wanted(clock)) == [event_id]

        assert deployment.sweep().sent == 1

    def test_sends_a_flex_job_to_the_queue_of_flex_jobs(
        self, deployment: Deployment, clock: FakeClock, dynamodb: "DynamoDBClient", sqs: "SQSClient", queue_url: str
    ) -> None:
        flex_url = sqs.create_queue(QueueName="flex")["QueueUrl"]
        event_id = fail(deployment, 1, tier=Tier.FLEX, flex_for=HOUR)
        both = FailedJobs(dynamodb, sqs, TABLE, queue_url, flex_url, clock, threads=1)

        assert outcomes(both, wanted(clock)) == [event_id]

        assert (Messages(sqs, flex_url).count(), Messages(sqs, queue_url).count()) == (1, 0)


@pytest.mark.parametrize("text", ["model_*", "*", "worker_lost", "a"])
def test_a_type_may_end_with_a_star(text: str) -> None:
    assert checked_type(text) == text


@pytest.mark.parametrize("text", ["", "model-failed", "*_failed", "Model", "model_**", "a b"])
def test_another_type_is_refused_by_name(text: str) -> None:
    with pytest.raises(CommandError, match=r"--type .*such as --type 'model_") as refused:
        checked_type(text)
    assert refused.value.code is Code.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172_800), ("3650d", 315_360_000)]
)
def test_a_span_has_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert span("--since", text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "1", "h", "1 h", "-1h", "1.5h", "0s", "3651d", "1w", "1h30m", "9999999d", "１h"])
def test_another_span_is_refused_by_name(text: str) -> None:
    with pytest.raises(CommandError, match=r"--since .*such as --since 1h") as refused:
        span("--since", text)
    assert refused.value.code is Code.USAGE


def test_a_job_that_a_person_has_rejected_is_wanted_by_its_type_alone(clock: FakeClock) -> None:
    rejected = Job(
        "e", "t", "c", Status.FAILED, "", "", error=JobError("approval_rejected", "the step review was rejected")
    )

    assert not wanted(clock).has(rejected)
    assert not wanted(clock, "model_*").has(rejected)
    assert wanted(clock, "approval_rejected").has(rejected)
