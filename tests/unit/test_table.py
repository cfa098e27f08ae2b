"""What a canceled transaction tells about its writes."""

from typing import TYPE_CHECKING

import pytest

from jobchain.aws.table import ConditionFailed, FailedCondition, Table, TransactionCanceled
from jobchain.aws.writes import Write, delete, key, put, put_new, update
from tests.conftest import TABLE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = key("JOB#1", "META")
STORED = {**KEY, "claim": "one"}


@pytest.fixture
def table(dynamodb: "DynamoDBClient") -> Table:
    """The table with one item."""
    table = Table(dynamodb, TABLE)
    table.transact(lambda: [put(STORED)])
    return table


def canceled(table: Table, *writes: Write) -> TransactionCanceled:
    with pytest.raises(TransactionCanceled) as caught:
        table.transact(lambda: writes)
    return caught.value


class TestACanceledTransaction:
    def test_names_the_write_whose_condition_failed_and_the_item_that_it_found(self, table: Table) -> None:
        other, taken = put(key("JOB#2", "META")), put_new(STORED)

        error = canceled(table, other, taken)

        assert error.failed == (FailedCondition(taken, STORED),)
        assert (error.found(taken), error.found(other)) == (STORED, None)

    def test_names_each_write_of_several_by_itself(self, table: Table) -> None:
        first, second = put_new(STORED), delete(key("JOB#2", "META"), "claim = :claim", {":claim": "one"})

        error = canceled(table, first, second)

        assert (error.found(first), error.found(second)) == (STORED, {})

    def test_does_not_take_an_equal_write_for_the_failed_one(self, table: Table) -> None:
        error = canceled(table, put_new(STORED))

        assert error.found(put_new(STORED)) is None

    def test_has_made_none_of_its_writes(self, table: Table) -> None:
        canceled(table, put(key("JOB#2", "META")), put_new(STORED))

        assert table.get(key("JOB#2", "META")) is None


def test_an_update_whose_condition_fails_tells_the_item_that_it_found(table: Table) -> None:
    with pytest.raises(ConditionFailed) as caught:
        table.write(update(KEY, "claim = :claim", {":claim": "two"}, {"claim": "three"}))

    assert caught.value.item == STORED
