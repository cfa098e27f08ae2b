"""A key's limit on requests: kept by all environments together, for a fraction of a write each."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from jobchain.aws.request_quotas import RequestQuotas
from jobchain.errors import LimitReached, Unavailable
from tests.conftest import TABLE
from tests.fakes import FakeClock, silence

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SECOND = timedelta(seconds=1)


@pytest.fixture
def quotas(dynamodb: "DynamoDBClient", clock: FakeClock) -> RequestQuotas:
    return RequestQuotas(dynamodb, TABLE, clock)


def admitted(quotas: RequestQuotas, tries: int, most: int, key_id: str = "a") -> int:
    """How many of `tries` requests are admitted."""
    count = 0
    for _ in range(tries):
        try:
            quotas.take("acme", key_id, most)
        except LimitReached:
            continue
        count += 1
    return count


@pytest.mark.parametrize("most", [1, 3, 49, 50, 120, 250])
def test_one_environment_admits_as_many_as_the_limit_says(quotas: RequestQuotas, most: int) -> None:
    assert admitted(quotas, most + 20, most) == most


def test_a_refusal_lasts_until_the_next_minute(quotas: RequestQuotas, clock: FakeClock) -> None:
    clock.advance(18 * SECOND)
    admitted(quotas, 3, 3)

    with pytest.raises(LimitReached) as caught:
        quotas.take("acme", "a", 3)

    assert (caught.value.limit, caught.value.retry_after) == ("requests_per_minute", 42 * SECOND)
    clock.advance(42 * SECOND)
    assert admitted(quotas, 5, 3) == 3


def test_all_environments_together_never_pass_the_limit(dynamodb: "DynamoDBClient", clock: FakeClock) -> None:
    environments = [RequestQuotas(dynamodb, TABLE, clock) for _ in range(4)]

    counts = [admitted(environments[turn % 4], 1, 100) for turn in range(400)]

    assert sum(counts) == 100


def test_a_key_does_not_use_up_the_limit_of_another(quotas: RequestQuotas) -> None:
    assert admitted(quotas, 5, 2, "a") == 2
    assert admitted(quotas, 5, 2, "b") == 2


def test_a_request_costs_a_fraction_of_a_write_and_a_refused_one_none(
    quotas: RequestQuotas, dynamodb: "DynamoDBClient"
) -> None:
    calls: list[str] = []
    dynamodb.meta.events.register("before-call", lambda model, **_: calls.append(model.name))

    admitted(quotas, 500, 500)
    assert calls == ["UpdateItem"] * 50

    admitted(quotas, 1000, 500)
    assert len(calls) <= 52


def test_a_table_that_fails_admits_nothing(quotas: RequestQuotas, dynamodb: "DynamoDBClient") -> None:
    silence(dynamodb)

    with pytest.raises(Unavailable):
        quotas.take("acme", "a", 10)
