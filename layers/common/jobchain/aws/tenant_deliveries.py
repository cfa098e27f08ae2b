"""What a tenant sees of its deliveries, and asks of them: a list, one of them, further tries, a test."""

from typing import TYPE_CHECKING, Any

from jobchain.aws.attributes import Item, to_item
from jobchain.aws.deliveries import Delivery, DeliveryState, delivery_of
from jobchain.aws.items import MOVE_TRIES
from jobchain.aws.outbox import GRACE, KEPT, Announce, DeliveryKey, delivery_item, due, partition
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.webhook_ids import time_of
from jobchain.aws.writes import epoch, key, update
from jobchain.domain import Clock, isoformat
from jobchain.errors import DeliveryNotFound, Unavailable
from jobchain.webhooks.events import Receiver, body_of_test

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MOST_SEEN = 1000
"""How many deliveries a page is looked for in at most: a MB, about what one query reads."""

_FIRST, _LAST = "DELIVERY#", "DELIVERY$"


class TenantDeliveries:
    """The deliveries of tenants. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock, announce: Announce) -> None:
        self._table = Table(client, table)
        self._clock = clock
        self._announce = announce

    def recent(
        self,
        tenant: str,
        limit: int,
        before: str | None = None,
        endpoint_id: str | None = None,
        state: DeliveryState | None = None,
    ) -> tuple[list[Delivery], str | None]:
        """Up to `limit` of the tenant's deliveries, the newest first; only those to an endpoint, or in a state.

        `before` is the position that the last page gave, and the second part of the answer that of the next page:
        None where there is none. A page may hold fewer than `limit`, where few of many pass the filter.
        """
        filters, filtered = _filter(endpoint_id, state)
        # One more than asked for tells whether there is a next page.
        page_size = MOST_SEEN // 4 if filters else limit + 1
        start = {"ExclusiveStartKey": to_item(key(partition(tenant), before))} if before else {}
        pages = self._table.index_pages(
            "",
            "pk = :pk AND sk BETWEEN :first AND :last",
            {":pk": partition(tenant), ":first": _FIRST, ":last": _LAST, **filtered},
            page_size,
            ScanIndexForward=False,
            **filters,
            **start,
        )
        found: list[Item] = []
        seen = 0
        for page, last in pages:
            found += page
            seen += page_size
            if len(found) > limit:
                return _all(tenant, found[:limit]), found[limit - 1]["sk"]
            if last and seen >= MOST_SEEN:
                return _all(tenant, found), last["sk"]
        return _all(tenant, found), None

    def get(self, tenant: str, webhook_id: str) -> Delivery:
        """The delivery. Raises DeliveryNotFound."""
        if at := time_of(webhook_id):
            # Those of one moment, which are few.
            for item in self._table.query(partition(tenant), f"{_FIRST}{at}#", f"{_FIRST}{at}$"):
                if item["webhook_id"] == webhook_id:
                    return delivery_of(tenant, item)
        raise DeliveryNotFound("there is no such delivery: use a webhook_id of GET /deliveries")

    def redeliver(self, tenant: str, webhook_id: str) -> Delivery:
        """Lets a delivery be tried now, and gives it as it is then. Raises DeliveryNotFound.

        One that was made or given up has all tries before it again; one that waits for a try keeps its schedule.
        """
        for _ in range(MOVE_TRIES):
            found = self.get(tenant, webhook_id)
            now = self._clock()
            changes = {**due(webhook_id, now + GRACE), "expires_at": epoch(now + KEPT)}
            if found.state is not DeliveryState.WAITING:
                changes |= {"tries": 0, "since": isoformat(now)}
            seen = {":seen": found.tries}
            removed = ("state", "next_at", "sends")
            try:
                item = self._table.write(update(found.key.item_key, "tries = :seen", seen, changes, removed))
            except ConditionFailed:
                # A try was made, or it was redelivered, a moment ago.
                continue
            self._announce([found.key])
            return delivery_of(tenant, item)
        raise Unavailable("the delivery changes too fast: try again")

    def test(self, tenant: str, endpoint_id: str) -> Delivery:
        """A new delivery of a test event to an endpoint, which is not looked up."""
        now = self._clock()
        event, body = body_of_test(endpoint_id, isoformat(now))
        item = delivery_item(tenant, Receiver(endpoint_id), event, body, now)
        self._table.put(item)
        self._announce([DeliveryKey(tenant, item["sk"])])
        return delivery_of(tenant, item)


def _all(tenant: str, items: list[Item]) -> list[Delivery]:
    return [delivery_of(tenant, item) for item in items]


def _filter(endpoint_id: str | None, state: DeliveryState | None) -> tuple[dict[str, Any], Item]:
    """The options of a query for such deliveries, and the values of its filter; both are empty without one."""
    tests: list[str] = []
    values: Item = {}
    if endpoint_id:
        tests.append("endpoint_id = :endpoint")
        values[":endpoint"] = endpoint_id
    if state is DeliveryState.WAITING:
        tests.append("attribute_not_exists(#state)")
    elif state:
        tests.append("#state = :state")
        values[":state"] = state
    if not tests:
        return {}, {}
    options: dict[str, Any] = {"FilterExpression": " AND ".join(tests)}
    if state:
        options["ExpressionAttributeNames"] = {"#state": "state"}
    return options, values
