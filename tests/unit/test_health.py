"""`GET /health`: the table's write path, the sweeper, the breaker and the model, none of which it asks often."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger
from botocore.stub import Stubber

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.deployment_checks import SweepReport, TableCheck
from jobchain.aws.queue import JobQueue
from jobchain.breaker import ModelAccount
from jobchain.domain import NewJob
from jobchain.model_check import ModelCheck
from jobchain_api.health import KEPT, HealthCheck
from jobchain_api.service import JobService
from tests.conftest import TABLE, make_service, make_sweeper
from tests.fakes import FakeClock, silence
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

CHECKED_AT = "2026-11-20T10:00:00.000Z"
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def test_nothing_is_known_of_sweeps_and_of_the_model_before_the_first_check(api: Api) -> None:
    assert api("GET", "/health").body == {
        "status": "ok",
        "table": "ok",
        "queue": "ok",
        "breaker": "closed",
        "last_sweep_seconds": None,
        "oldest_due_seconds": None,
        "model": None,
    }


class TestTheModel:
    def test_has_no_days_to_count_without_an_end(self, api: Api, stores: Stores) -> None:
        stores.model_checks.save(ModelCheck("gpt-6-luna", True, None, CHECKED_AT))

        assert api("GET", "/health").body["model"] == {
            "name": "gpt-6-luna",
            "known": True,
            "shutdown_date": None,
            "days_left": None,
        }

    @pytest.mark.parametrize(
        ("end", "left"), [(date(2027, 1, 23), 62), (date(2026, 11, 22), 0), (date(2026, 11, 1), -21)]
    )
    def test_has_the_days_left_of_today(self, api: Api, stores: Stores, clock: FakeClock, end: date, left: int) -> None:
        stores.model_checks.save(ModelCheck("gpt-6-luna", True, end, CHECKED_AT))

        answer = api("GET", "/health")

        assert clock().date() == date(2026, 11, 22)
        assert (answer.status, answer.body["model"]["shutdown_date"]) == (200, end.isoformat())
        assert answer.body["model"]["days_left"] == left

    def test_that_is_unknown_does_not_make_the_api_unwell(self, api: Api, stores: Stores) -> None:
        stores.model_checks.save(ModelCheck("gpt-6-luna", False, None, CHECKED_AT))

        answer = api("GET", "/health")

        assert answer.status == 200
        assert answer.body["model"]["known"] is False


class TestTheTable:
    @pytest.mark.parametrize("code", ["AccessDeniedException", "KMSDisabledException", "ResourceNotFoundException"])
    def test_that_can_be_read_and_not_written_is_a_500_that_tells_no_code(
        self, api: Api, dynamodb: "DynamoDBClient", log: io.StringIO, code: str
    ) -> None:
        with Stubber(dynamodb) as stubber:
            stubber.add_client_error("put_item", code)
            answer = api("GET", "/health")

        assert (answer.status, answer.body["type"]) == (500, "urn:jobchain:problem:internal-error")
        assert answer.body["detail"] == "the table refuses this deployment: tell its operator"
        (line,) = map(json.loads, log.getvalue().splitlines())
        assert (line["level"], line["code"]) == ("ERROR", code)

    def test_that_is_throttled_is_a_503(self, api: Api, dynamodb: "DynamoDBClient") -> None:
        with Stubber(dynamodb) as stubber:
            stubber.add_client_error("put_item", "ThrottlingException")
            answer = api("GET", "/health")

        assert answer.status == 503
        assert "Retry-After" in answer.headers

    def test_and_a_queue_that_fail_together_are_told_together(
        self, api: Api, dynamodb: "DynamoDBClient", sqs: "SQSClient"
    ) -> None:
        silence(sqs)
        with Stubber(dynamodb) as stubber:
            stubber.add_client_error("put_item", "AccessDeniedException")
            answer = api("GET", "/health")

        assert answer.status == 500
        assert answer.body["detail"] == (
            "the table refuses this deployment: tell its operator; the queue does not answer"
        )


class TestManyRequests:
    @pytest.fixture
    def calls(self, dynamodb: "DynamoDBClient", sqs: "SQSClient") -> list[str]:
        calls: list[str] = []
        for client in (dynamodb, sqs):
            client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
        return calls

    def test_are_answered_from_one_check(self, api: Api, clock: FakeClock, calls: list[str]) -> None:
        for _ in range(50):
            assert api("GET", "/health").status == 200
            clock.advance(KEPT / 100)

        assert sorted(calls) == ["GetItem", "GetItem", "GetItem", "GetQueueAttributes", "PutItem"]

    def test_see_a_fault_within_seconds_and_its_end_at_once(
        self, api: Api, clock: FakeClock, dynamodb: "DynamoDBClient"
    ) -> None:
        assert api("GET", "/health").status == 200
        clock.advance(KEPT)

        with Stubber(dynamodb) as stubber:
            stubber.add_client_error("put_item", "AccessDeniedException")
            assert api("GET", "/health").status == 500

        assert api("GET", "/health").status == 200


class TestTheSweeper:
    def test_is_told_by_the_age_of_its_last_run(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        stores.sweeps.save(SweepReport(clock(), 7 * SECOND))
        clock.advance(40 * SECOND)

        answer = api("GET", "/health").body

        assert (answer["last_sweep_seconds"], answer["oldest_due_seconds"], answer["status"]) == (40, 7, "ok")

    @pytest.mark.parametrize(
        ("since", "oldest", "status"),
        [(5 * MINUTE, 15 * MINUTE, "ok"), (6 * MINUTE, 0 * SECOND, "degraded"), (MINUTE, 16 * MINUTE, "degraded")],
    )
    def test_that_is_silent_or_behind_degrades_the_deployment(
        self, api: Api, stores: Stores, clock: FakeClock, since: timedelta, oldest: timedelta, status: str
    ) -> None:
        stores.sweeps.save(SweepReport(clock(), oldest))
        clock.advance(since)

        answer = api("GET", "/health")

        assert (answer.status, answer.body["status"]) == (200, status)

    def test_finds_for_how_long_the_oldest_job_was_due(
        self, stores: Stores, queue: JobQueue, logger: Logger, clock: FakeClock
    ) -> None:
        sweeper = make_sweeper(stores, queue, logger)
        assert sweeper.sweep(clock() + MINUTE).oldest_due_seconds == 0
        for number in range(2):
            event_id = f"0b6c2f4e-0000-4000-8000-{number:012}"
            stores.admission.create(NewJob(event_id, "local", "guideline_checklist", {}, "f"), timedelta(days=30))
            clock.advance(MINUTE)

        # Both became due five minutes after they were stored.
        clock.advance(10 * MINUTE)

        assert sweeper.sweep(clock() + MINUTE).oldest_due_seconds == 7 * 60
        assert sweeper.sweep(clock() + MINUTE).oldest_due_seconds == 0


def test_an_open_breaker_degrades_the_deployment_and_its_reason_stays_inside(
    stores: Stores, queue: JobQueue, dynamodb: "DynamoDBClient", clock: FakeClock, logger: Logger
) -> None:
    account = ModelAccount("models.test", "secret", "gpt-6-luna")
    breakers = BreakerStore(dynamodb, TABLE, account, clock)
    breakers.open("model_quota_exceeded", clock())
    check = HealthCheck(
        table=TableCheck(dynamodb, TABLE, clock),
        queue=queue,
        model_checks=stores.model_checks,
        sweeps=stores.sweeps,
        breakers=breakers,
        clock=clock,
    )
    service = make_service(stores, queue, logger, health=check)

    answer = Api(service, logger)("GET", "/health")

    assert (answer.status, answer.body["status"], answer.body["breaker"]) == (200, "degraded", "open")
    assert "quota" not in json.dumps(answer.body)


def test_the_report_of_a_sweep_is_read_as_it_was_stored(stores: Stores) -> None:
    report = SweepReport(datetime(2026, 11, 22, 10, 0, tzinfo=UTC), timedelta(minutes=3))
    stores.sweeps.save(report)

    assert stores.sweeps.last() == report
