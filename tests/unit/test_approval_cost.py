"""What a step that a person decides costs in the table's units: docs/explanation/approvals.md has the same numbers."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from benchmarks.capacity import Meter, indexes
from jobchain import Chain, Text
from jobchain.approvals import Decided, Decision
from jobchain.aws.queue import JobQueue
from jobchain.domain import Status
from tests.conftest import TABLE
from tests.deployment import TENANT, Deployment
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

chain = Chain("letters", description="")


@chain.approve
def review(document: Text) -> str:
    return document


@pytest.fixture
def deployment(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> Deployment:
    made = Deployment(dynamodb, queue, clock, logger)
    made.runner = made.worker(chains={"letters": chain.compiled})
    made.create(job_name="letters", payload={"document": "Lock doors."})
    # A worker stores a version of a chain once, and looks at the account once, for all jobs.
    made.runner.versions.prepare()
    _, definition = made.runner.versions._made["letters"]
    made.stores.versions.keep(definition, 10_000_000_000)
    return made


@pytest.fixture
def meter(dynamodb: "DynamoDBClient", template: dict[str, Any], deployment: Deployment) -> Meter:
    schema = template["Resources"]["JobTable"]["Properties"]
    return Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))


def test_parking_costs_a_release_and_an_item_and_a_decision_two_items(deployment: Deployment, meter: Meter) -> None:
    with meter.counting() as parked:
        deployment.run({})
    with meter.counting() as waiting:
        deployment.sweep()
    with meter.counting() as decided:
        deployment.stores.decisions.decide(TENANT, deployment.event_id, "review", Decided(Decision.APPROVE, by="Mia"))
    with meter.counting() as finished:
        assert deployment.run({}).status is Status.COMPLETED

    # The claim, and the release: no call was made, so that the day and `recent` are as they were.
    assert parked.by_item == Counter(META=1 + 2, unfinished=1 + 2, due=2, PARKED=2)
    assert waiting.by_item == Counter()
    assert decided.by_item == Counter(META=2, PARKED=2, due=2, unfinished=2)
    # The claim leaves the job due where it is, and the end is that of any job.
    assert finished.by_item["STEP"] == 1
    assert finished.writes == 2 + 1 + 7
