"""What makes a unit test slow by itself: the emulated table or queue."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.queue import JobQueue
from tests.deployment import Deployment
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what calls moto as `slow`: each call costs milliseconds, and there are thousands."""
    for item in items:
        if "/unit/" in item.nodeid and "aws" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture
def deployment(
    dynamodb: "DynamoDBClient",
    queue: JobQueue,
    clock: FakeClock,
    logger: Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> Deployment:
    """All functions on one table, whose worker repeats its writes without a pause."""
    monkeypatch.setattr("jobchain_worker.persistence._PAUSE", timedelta(milliseconds=1))
    return Deployment(dynamodb, queue, clock, logger)
