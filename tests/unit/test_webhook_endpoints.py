"""Endpoints of tenants and their secrets."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from jobchain.aws.deliveries import DeliveryStore
from jobchain.aws.outbox import DeliveryKey, partition
from jobchain.aws.table import Table
from jobchain.aws.webhook_endpoints import (
    MOST_ENDPOINTS,
    EndpointStore,
    secret_partition,
    valid_secrets,
)
from jobchain.aws.writes import epoch, key
from jobchain.errors import EndpointNotFound, TooManyEndpoints
from jobchain.webhooks.events import JOB_URLS, EventType, Receiver
from jobchain_api.receivers import known_receivers
from jobchain_api.webhook_views import endpoint_view
from tests.conftest import TABLE
from tests.fakes import FakeClock, Requests

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

URL = "https://hooks.example.com/in"


@pytest.fixture
def endpoints(dynamodb: "DynamoDBClient", clock: FakeClock) -> EndpointStore:
    return EndpointStore(dynamodb, TABLE, clock)


@pytest.fixture
def table(dynamodb: "DynamoDBClient") -> Table:
    return Table(dynamodb, TABLE)


def secrets_of(table: Table, endpoint_id: str, clock: FakeClock, tenant: str = "a") -> tuple[str, ...]:
    return valid_secrets(table.query(secret_partition(tenant, endpoint_id), "!", "~"), epoch(clock()))


def test_an_endpoint_is_listed_to_its_tenant_alone_and_without_its_secret(endpoints: EndpointStore) -> None:
    created, secret = endpoints.create("a", URL, [EventType.FAILED], ["guideline_checklist"])
    endpoints.create("b", URL)

    assert endpoints.list("a") == [created]
    assert (created.url, created.events, created.chains) == (URL, (EventType.FAILED,), ("guideline_checklist",))
    assert secret not in repr(endpoints.list("a"))
    assert endpoints.list("c") == []


def test_endpoints_are_listed_in_their_order(endpoints: EndpointStore, clock: FakeClock) -> None:
    created = []
    for _ in range(5):
        created.append(endpoints.create("a", URL)[0])
        clock.advance(timedelta(seconds=1))

    assert endpoints.list("a") == created


def test_a_job_is_stamped_with_those_who_want_its_chain(endpoints: EndpointStore) -> None:
    of_all, _ = endpoints.create("a", URL)
    of_one, _ = endpoints.create("a", URL, [EventType.FAILED], ["compare"])
    endpoints.create("a", None)

    found = {receiver.endpoint_id: receiver for receiver in endpoints.receivers("a", "compare")}
    assert found == {
        of_all.endpoint_id: Receiver(of_all.endpoint_id),
        of_one.endpoint_id: Receiver(of_one.endpoint_id, (EventType.FAILED,)),
    }
    assert endpoints.receivers("a", "other") == (Receiver(of_all.endpoint_id),)
    assert endpoints.receivers("b", "compare") == ()


def test_an_endpoint_with_events_that_only_a_later_version_knows_is_listed_and_stamped(
    endpoints: EndpointStore, table: Table
) -> None:
    created, _ = endpoints.create("a", URL, [EventType.FAILED])
    where = key(partition("a"), f"ENDPOINT#{created.endpoint_id}")
    table.put({**(table.get(where) or {}), "events": ["job.postponed"]})

    (found,) = endpoints.list("a")
    assert endpoint_view(found).events == ["job.postponed"]
    assert endpoints.receivers("a", "compare") == (Receiver(created.endpoint_id, ("job.postponed",)),)


def test_a_tenant_has_ten_endpoints_at_most(endpoints: EndpointStore) -> None:
    created = [endpoints.create("a", URL)[0] for _ in range(MOST_ENDPOINTS)]

    with pytest.raises(TooManyEndpoints, match="delete one first"):
        endpoints.create("a", URL)
    endpoints.delete("a", created[0].endpoint_id)
    endpoints.create("a", URL)


def test_endpoints_that_are_created_at_the_same_time_are_ten_at_most(
    dynamodb: "DynamoDBClient", table: Table, endpoints: EndpointStore, clock: FakeClock
) -> None:
    for _ in range(MOST_ENDPOINTS - 1):
        endpoints.create("a", URL)
    others = iter([endpoints])

    def while_another_is_created() -> datetime:
        # The clock is read between the look at the endpoints and the write.
        for other in others:
            other.create("a", URL)
        return clock()

    with pytest.raises(TooManyEndpoints, match="delete one first"):
        EndpointStore(dynamodb, TABLE, while_another_is_created).create("a", URL)
    assert len(endpoints.list("a")) == MOST_ENDPOINTS


def test_a_job_has_ten_receivers_at_most_though_more_endpoints_are_stored(
    endpoints: EndpointStore, table: Table, clock: FakeClock
) -> None:
    created, _ = endpoints.create("a", URL)
    item = table.get(key(partition("a"), f"ENDPOINT#{created.endpoint_id}")) or {}
    for number in range(120):
        table.put({**item, "sk": f"ENDPOINT#ep_{number}"})

    assert len(endpoints.receivers("a", "compare")) == MOST_ENDPOINTS
    assert len(known_receivers(endpoints, clock)("a", "compare")) == MOST_ENDPOINTS


def test_the_endpoint_for_the_urls_of_jobs_exists_once(endpoints: EndpointStore) -> None:
    first, old = endpoints.create("a", None)
    second, new = endpoints.create("a", None)

    assert first == second == endpoints.list("a")[0]
    assert first.endpoint_id == JOB_URLS
    assert old != new


class TestASecret:
    def test_is_valid_for_a_day_after_it_was_replaced(
        self, endpoints: EndpointStore, table: Table, clock: FakeClock
    ) -> None:
        created, old = endpoints.create("a", URL)
        assert secrets_of(table, created.endpoint_id, clock) == (old,)

        clock.advance(timedelta(seconds=1))
        new = endpoints.rotate("a", created.endpoint_id)
        clock.advance(timedelta(hours=24) - timedelta(seconds=1))
        assert secrets_of(table, created.endpoint_id, clock) == (new, old)

        clock.advance(timedelta(seconds=1))
        assert secrets_of(table, created.endpoint_id, clock) == (new,)

    def test_that_is_replaced_twice_in_a_day_leaves_two(
        self, endpoints: EndpointStore, table: Table, clock: FakeClock
    ) -> None:
        created, _ = endpoints.create("a", URL)
        made = []
        for _ in range(4):
            clock.advance(timedelta(minutes=1))
            made.append(endpoints.rotate("a", created.endpoint_id))

        assert secrets_of(table, created.endpoint_id, clock) == (made[-1], made[-2])
        assert len(table.query(secret_partition("a", created.endpoint_id), "!", "~")) == 2

    def test_is_erased_with_its_endpoint(self, endpoints: EndpointStore, table: Table, clock: FakeClock) -> None:
        created, _ = endpoints.create("a", URL)
        clock.advance(timedelta(minutes=1))
        endpoints.rotate("a", created.endpoint_id)

        endpoints.delete("a", created.endpoint_id)

        assert table.query(secret_partition("a", created.endpoint_id), "!", "~") == []
        assert endpoints.list("a") == []

    def test_is_never_read_by_the_store_that_makes_it(
        self, endpoints: EndpointStore, dynamodb: "DynamoDBClient", clock: FakeClock
    ) -> None:
        read: list[str] = []

        def look(parsed: object, **_: object) -> None:
            read.append(repr(parsed))

        dynamodb.meta.events.register("after-call.dynamodb", look)
        created, secret = endpoints.create("a", URL)
        clock.advance(timedelta(minutes=1))
        new = endpoints.rotate("a", created.endpoint_id)
        endpoints.list("a")
        endpoints.delete("a", created.endpoint_id)

        assert read
        assert not [answer for answer in read if secret in answer or new in answer]


@pytest.mark.parametrize("tenant", ["a", "b"])
def test_an_endpoint_that_does_not_exist_or_is_another_tenants_is_not_found(
    endpoints: EndpointStore, tenant: str
) -> None:
    created, _ = endpoints.create("a", URL)
    wanted = created.endpoint_id if tenant == "b" else "ep_none"

    for change in (endpoints.rotate, endpoints.delete, endpoints.enable):
        with pytest.raises(EndpointNotFound, match=f"there is no endpoint {wanted}"):
            change(tenant, wanted)
    assert endpoints.list("a") == [created]


@pytest.mark.parametrize(
    "endpoint_id", ["", "ep_", "a" * 1025, "ep_0123456789ab#", "ep_0123456789ab\n", "ep_0123456789AB"]
)
def test_a_text_that_is_no_id_of_an_endpoint_is_not_looked_up(
    endpoints: EndpointStore, dynamodb: "DynamoDBClient", endpoint_id: str
) -> None:
    # DynamoDB refuses keys of over 1,024 bytes, which would look like an outage.
    requests = Requests(dynamodb)

    for change in (endpoints.get, endpoints.rotate, endpoints.delete, endpoints.enable):
        with pytest.raises(EndpointNotFound):
            change("a", endpoint_id)
    assert requests.new() == []


def test_a_delivery_is_read_in_three_requests(
    endpoints: EndpointStore, dynamodb: "DynamoDBClient", clock: FakeClock, table: Table
) -> None:
    created, secret = endpoints.create("a", URL)
    stored = {"webhook_id": "evt_1", "endpoint_id": created.endpoint_id, "type": "job.completed", "event_id": "e"}
    key = DeliveryKey("a", "DELIVERY#1")
    table.put({**key.item_key, **stored, "body": "{}", "created_at": "", "tries": 0, "due_at": 1, "due_shard": 20})
    requests = Requests(dynamodb)

    found = DeliveryStore(dynamodb, TABLE, clock).read(key)

    assert found
    assert (found.url, found.secrets) == (URL, (secret,))
    assert requests.made == ["GetItem", "GetItem", "Query"]
