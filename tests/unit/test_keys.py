"""How keys are stored, found, listed and revoked, on moto's table."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from jobchain.aws.api_keys import MAX_LENGTH, PREFIX, ApiKeyStore, hashed
from jobchain.domain import isoformat
from jobchain.errors import KeyNotFound, Unavailable
from jobchain.limits import NO_LIMITS, Limits
from tests.conftest import TABLE
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def keys(dynamodb: "DynamoDBClient", clock: FakeClock) -> ApiKeyStore:
    return ApiKeyStore(dynamodb, TABLE, clock)


class TestANewKey:
    def test_is_found_by_its_hash_as_it_was_made(self, keys: ApiKeyStore, clock: FakeClock) -> None:
        limits = Limits(
            jobs_per_minute=10, unfinished_jobs=5, tokens_per_day=100_000, cost_usd_per_day=Decimal("2.500001")
        )

        secret, made = keys.create("acme", "laptop", limits, operator=True, valid_for=timedelta(days=30))

        assert keys.find(hashed(secret)) == made
        assert (made.tenant, made.name, made.limits, made.operator) == ("acme", "laptop", limits, True)
        assert made.created_at == isoformat(clock())
        assert made.valid_until == isoformat(clock() + timedelta(days=30))

    def test_has_no_limits_and_no_end_unless_it_gets_some(self, keys: ApiKeyStore) -> None:
        secret, _ = keys.create("acme", "laptop")

        found = keys.find(hashed(secret))

        assert found
        assert (found.limits, found.operator, found.valid_until) == (NO_LIMITS, False, None)

    @pytest.mark.parametrize("limits", [Limits(jobs_per_minute=1), Limits(cost_usd_per_day=Decimal("0.000001"))])
    def test_keeps_one_limit_without_the_others(self, keys: ApiKeyStore, limits: Limits) -> None:
        secret, _ = keys.create("acme", "laptop", limits)

        found = keys.find(hashed(secret))

        assert found
        assert found.limits == limits

    def test_is_stored_as_its_hash_alone(self, keys: ApiKeyStore, dynamodb: "DynamoDBClient") -> None:
        secret, _ = keys.create("acme", "laptop", Limits(jobs_per_minute=1), valid_for=timedelta(days=1))

        stored = json.dumps(dynamodb.scan(TableName=TABLE)["Items"])

        assert hashed(secret) in stored
        assert secret.removeprefix(PREFIX) not in stored

    def test_begins_as_every_key_does_and_can_be_sent(self, keys: ApiKeyStore) -> None:
        secrets = {keys.create("acme", "laptop")[0] for _ in range(10)}

        assert len(secrets) == 10
        assert all(secret.startswith(PREFIX) and len(secret) <= MAX_LENGTH for secret in secrets)

    def test_that_is_valid_for_no_time_is_over_at_once(self, keys: ApiKeyStore, clock: FakeClock) -> None:
        _, made = keys.create("acme", "laptop", valid_for=timedelta(0))

        assert made.is_over(clock())


def test_a_key_is_over_from_the_end_of_its_time_on(keys: ApiKeyStore, clock: FakeClock) -> None:
    _, made = keys.create("acme", "laptop", valid_for=timedelta(days=1))

    clock.advance(timedelta(days=1) - timedelta(milliseconds=1))
    before = made.is_over(clock())
    clock.advance(timedelta(milliseconds=1))

    assert (before, made.is_over(clock())) == (False, True)


def test_a_hash_that_is_not_stored_is_not_found(keys: ApiKeyStore) -> None:
    assert keys.find(hashed("jc_unknown")) is None


class TestTheList:
    def test_goes_by_tenant_with_the_oldest_first(self, keys: ApiKeyStore, clock: FakeClock) -> None:
        for tenant, name in (("b", "third"), ("a-b", "second"), ("a", "first"), ("b", "fourth")):
            keys.create(tenant, name)
            clock.advance(timedelta(seconds=1))

        assert [api_key.name for api_key in keys.list()] == ["first", "second", "third", "fourth"]

    def test_of_a_tenant_has_no_others(self, keys: ApiKeyStore) -> None:
        for tenant in ("a", "a-b", "ab", "b"):
            keys.create(tenant, f"of {tenant}")

        assert [api_key.name for api_key in keys.list("a")] == ["of a"]

    def test_shows_what_became_of_a_key(self, keys: ApiKeyStore) -> None:
        _, made = keys.create("acme", "laptop")
        revoked = keys.revoke(made.key_id)

        assert keys.list() == [revoked]

    def test_is_empty_at_first(self, keys: ApiKeyStore) -> None:
        assert keys.list() == []


class TestRemoving:
    def test_leaves_nothing_of_the_key(self, keys: ApiKeyStore, dynamodb: "DynamoDBClient") -> None:
        secret, made = keys.create("acme", "laptop")

        keys.remove(made.key_id)

        assert keys.find(hashed(secret)) is None
        assert dynamodb.scan(TableName=TABLE)["Items"] == []

    def test_leaves_other_keys_as_they_are(self, keys: ApiKeyStore) -> None:
        _, other = keys.create("acme", "other")
        _, made = keys.create("acme", "laptop")

        keys.remove(made.key_id)
        keys.remove(made.key_id)

        assert keys.list() == [other]


class TestRevoking:
    def test_marks_the_key_and_changes_nothing_else(self, keys: ApiKeyStore, clock: FakeClock) -> None:
        secret, made = keys.create("acme", "laptop", Limits(cost_usd_per_day=Decimal(1)))
        clock.advance(timedelta(days=1))

        revoked = keys.revoke(made.key_id)

        assert revoked.revoked_at == isoformat(clock())
        assert keys.find(hashed(secret)) == revoked
        assert (revoked.tenant, revoked.limits, revoked.created_at) == (made.tenant, made.limits, made.created_at)

    def test_leaves_other_keys_alone(self, keys: ApiKeyStore) -> None:
        other, _ = keys.create("acme", "other")
        _, made = keys.create("acme", "laptop")

        keys.revoke(made.key_id)

        found = keys.find(hashed(other))
        assert found
        assert found.revoked_at is None

    def test_twice_keeps_the_first_date(self, keys: ApiKeyStore, clock: FakeClock) -> None:
        _, made = keys.create("acme", "laptop")
        first = keys.revoke(made.key_id)
        clock.advance(timedelta(days=1))

        assert keys.revoke(made.key_id) == first

    @pytest.mark.parametrize("key_id", ["", "0123456789ab", "jc_key"])
    def test_an_id_that_is_not_there_is_told(self, keys: ApiKeyStore, key_id: str) -> None:
        keys.create("acme", "laptop")

        with pytest.raises(KeyNotFound, match="list the keys"):
            keys.revoke(key_id)


def test_a_table_that_is_not_there_is_unavailable(dynamodb: "DynamoDBClient", clock: FakeClock) -> None:
    keys = ApiKeyStore(dynamodb, "another", clock)

    with pytest.raises(Unavailable):
        keys.create("acme", "laptop")
    with pytest.raises(Unavailable):
        keys.list()
