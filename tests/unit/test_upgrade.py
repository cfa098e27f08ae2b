"""This version on the table of 0.1.0, whose indexes hold other attributes: see docs/how-to/upgrade.md."""

import asyncio
import json
from collections import Counter
from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from benchmarks.capacity import Meter, indexes
from jobchain.aws.claiming import claiming
from jobchain.aws.items import DISPATCH_GRACE, job_key, read_job
from jobchain.aws.queue import JobQueue
from jobchain.aws.table import ConditionFailed, Table
from jobchain.domain import NewJob
from jobchain.spending import NOTHING_SPENT
from jobchain_worker.consumer import Consumer
from tests.conftest import TABLE, make_runner, make_service
from tests.fake_model.llm import SchemaLLM
from tests.fakes import FakeClock, FakeContext
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Of 0.1.0's template; those of `unfinished` are the same.
PROJECTIONS = {
    "recent": {"ProjectionType": "ALL"},
    "due": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["tenant", "dispatches", "stalls", "tier"]},
}


@pytest.fixture
def schema(template: dict[str, Any]) -> dict[str, Any]:
    """The table of 0.1.0, as its template describes it."""
    found: dict[str, Any] = deepcopy(template["Resources"]["JobTable"]["Properties"])
    for index in found["GlobalSecondaryIndexes"]:
        index["Projection"] = PROJECTIONS.get(index["IndexName"], index["Projection"])
    return found


@pytest.fixture
def old_table(dynamodb: "DynamoDBClient", schema: dict[str, Any]) -> "DynamoDBClient":
    """A client of an account that has that table."""
    dynamodb.delete_table(TableName=TABLE)
    described = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    dynamodb.create_table(TableName=TABLE, **{name: schema[name] for name in described})
    return dynamodb


def test_a_job_costs_one_unit_more_on_the_indexes_of_0_1_0(
    old_table: "DynamoDBClient",
    schema: dict[str, Any],
    queue: JobQueue,
    event_loop: asyncio.AbstractEventLoop,
    clock: FakeClock,
    logger: Logger,
) -> None:
    meter = Meter(old_table, boto3.client("dynamodb"), TABLE, indexes(schema))
    stores = Stores(old_table, TABLE, clock)
    api = Api(make_service(stores, queue, logger), logger)
    consumer = Consumer(make_runner(stores, queue, SchemaLLM(), logger), event_loop, clock, logger)
    with meter.counting() as cost:
        event_id = api("POST", "/jobs", {"input_text": "Passwords must be long."}).body["event_id"]
        pending = api("GET", "/jobs").body["jobs"]
        record = {"messageId": "m", "body": json.dumps({"event_id": event_id})}
        assert consumer.consume({"Records": [record]}, cast(LambdaContext, FakeContext())) == {"batchItemFailures": []}
        completed = api("GET", "/jobs").body["jobs"]

    assert [job["status"] for job in (*pending, *completed)] == ["pending", "completed"]
    # `recent` holds all of META, so the claim changes it too. Three units of META are the version's, once for all jobs.
    assert cost.by_item == Counter(INPUT=1, META=8, STEP=3, USAGE=4, recent=3, due=2, unfinished=3)
    assert cost.writes == 24


def test_the_sweeper_finds_due_jobs_in_the_index_of_0_1_0(old_table: "DynamoDBClient", clock: FakeClock) -> None:
    stores = Stores(old_table, TABLE, clock)
    job = stores.admission.create(NewJob("job-1", "local", "guideline_checklist", {}, "f"), timedelta(days=30))
    clock.advance(DISPATCH_GRACE)

    found = [due for shard in range(8) for due in stores.due.due_jobs(shard, 25)[0]]

    assert [due.event_id for due in found] == [job.event_id]


def test_a_claim_notices_that_a_worker_of_0_1_0_was_first(
    dynamodb: "DynamoDBClient", clock: FakeClock, stores: Stores
) -> None:
    table = Table(dynamodb, TABLE)
    stores.admission.create(NewJob("job-1", "local", "guideline_checklist", {}, "f"), timedelta(days=30))
    job = read_job(table, "job-1", "ATTEMPT", "STEP$")
    assert job is not None
    claim = claiming(job, clock(), clock() + timedelta(minutes=5), ("m", NOTHING_SPENT))

    # The claim of 0.1.0 changes no token.
    dynamodb.update_item(
        TableName=TABLE,
        Key={name: {"S": value} for name, value in job_key("job-1").items()},
        UpdateExpression="ADD claim :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )

    with pytest.raises(ConditionFailed):
        table.write(claim)
