"""Which of a job's stored steps count."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from jobchain.aws.records import step_item
from jobchain.aws.writes import put
from jobchain.domain import FinishedStep, NewJob
from jobchain.spending import NOTHING_SPENT
from tests.conftest import TABLE
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LEASE = timedelta(minutes=5)


def step(name: str, output: str) -> FinishedStep:
    return FinishedStep(name, output, "m", "v", "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:01.000Z", NOTHING_SPENT)


@pytest.fixture
def event_id(stores: Stores) -> str:
    new = NewJob("0e57051e-3af6-4263-a869-a4fdd0df93d1", "local", "guideline_checklist", {}, "f")
    return stores.admission.create(new, timedelta(days=30)).event_id


def outputs(stores: Stores, event_id: str) -> list[tuple[str, Any]]:
    return [(found.name, found.output) for found in stores.jobs.get("local", event_id).steps]


def test_of_two_steps_of_one_name_that_of_the_later_claim_counts(
    dynamodb: "DynamoDBClient", stores: Stores, clock: FakeClock, event_id: str
) -> None:
    slow = stores.claim(event_id, clock() + LEASE)
    stores.save_step(slow, 1, step("checklist", "of the slow worker"))
    clock.advance(LEASE + timedelta(seconds=1))
    later = stores.claim(event_id, clock() + LEASE)
    assert [found.name for found in later.steps] == ["checklist"]
    # What the later claim's query passed by: it is before a step that was found.
    missed = put(step_item(slow, 1, 0, "m", step("summary", "of the slow worker")))
    dynamodb.put_item(TableName=TABLE, **missed.parameters)

    stores.save_step(later, 0, step("summary", "of the later claim"))

    assert outputs(stores, event_id) == [("summary", "of the later claim"), ("checklist", "of the slow worker")]


def test_a_step_that_a_slow_worker_stores_after_a_later_claim_does_not_count(
    stores: Stores, clock: FakeClock, event_id: str
) -> None:
    slow = stores.claim(event_id, clock() + LEASE)
    stores.save_step(slow, 0, step("summary", "in time"))
    clock.advance(LEASE + timedelta(seconds=1))
    stores.claim(event_id, clock() + LEASE)

    stores.save_step(slow, 1, step("checklist", "late"))

    assert outputs(stores, event_id) == [("summary", "in time")]
