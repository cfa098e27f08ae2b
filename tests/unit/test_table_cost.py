"""What a job costs in the table's units: a text is written once, whatever becomes of its job."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from benchmarks.capacity import Meter, Units, indexes
from jobchain.aws.queue import JobQueue
from jobchain_worker.consumer import Consumer
from tests.conftest import TABLE, make_runner, make_service
from tests.fake_model.llm import SchemaLLM
from tests.fakes import FakeClock, FakeContext
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SMALL = "Passwords must be long."
LARGE = "Doors must be locked. " * 4545  # 99,990 characters


@dataclass(frozen=True)
class Cost:
    """What a job's three parts cost."""

    post: Units
    work: Units
    get: Units


@pytest.fixture
def run_job(
    dynamodb: "DynamoDBClient",
    template: dict[str, Any],
    queue: JobQueue,
    event_loop: asyncio.AbstractEventLoop,
    clock: FakeClock,
    logger: Logger,
) -> Callable[[str], Cost]:
    """Posts a text, runs its job and reads it, through everything but HTTP."""
    meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(template["Resources"]["JobTable"]["Properties"]))
    stores = Stores(dynamodb, TABLE, clock)
    api = Api(make_service(stores, queue, logger), logger)
    # Texts are not cut, so that a large one takes the same steps as a small one.
    runner = make_runner(stores, queue, SchemaLLM(), logger, max_input_tokens=1_000_000)
    consumer = Consumer(runner, event_loop, clock, logger)

    def run(text: str) -> Cost:
        with meter.counting() as post:
            event_id = api("POST", "/jobs", {"input_text": text}).body["event_id"]
        record = {"messageId": "m", "body": json.dumps({"event_id": event_id})}
        context = cast(LambdaContext, FakeContext(timedelta(minutes=5)))
        with meter.counting() as work:
            assert consumer.consume({"Records": [record]}, context) == {"batchItemFailures": []}
        with meter.counting() as get:
            assert api("GET", f"/jobs/{event_id}").body["status"] == "completed"
        return Cost(post, work, get)

    return run


def test_a_job_costs_so_many_units_and_calls(run_job: Callable[[str], Cost]) -> None:
    cost = run_job(SMALL)

    assert cost == Cost(
        # META, INPUT and the daily usage in a transaction; META is in all three indexes.
        post=Units(table_writes=6, index_writes=3, reads=0, calls=1),
        # The claim, a transaction of three items for each step and one of two for the end; each moves META in `recent`,
        # the claim and the end in the other indexes too. What is read is the job.
        work=Units(table_writes=23, index_writes=12, reads=1, calls=6),
        get=Units(table_writes=0, index_writes=0, reads=1, calls=1),
    )


def test_a_text_is_written_once_and_read_once_however_many_steps_there_are(run_job: Callable[[str], Cost]) -> None:
    small, large = run_job(SMALL), run_job(LARGE)

    # A transaction's writes count twice.
    kilobytes = len(LARGE) / 1024
    assert large.post.table_writes - small.post.table_writes == pytest.approx(2 * kilobytes, abs=2)
    assert large.post.index_writes == small.post.index_writes
    assert large.work.writes == small.work.writes
    assert large.work.reads - small.work.reads == pytest.approx(kilobytes / 4, abs=1)
    assert large.get == small.get
