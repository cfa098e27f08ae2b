"""What the delivery function does with deliveries: it reads them, and stores what became of each try.

Before a try nothing is written, so that two functions may make the same one: a receiver sees one `webhook-id` twice.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import unpacked
from jobchain.aws.outbox import GRACE, KEPT, DeliveryKey, due, partition
from jobchain.aws.queue import MAX_DELAY
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.webhook_endpoints import endpoint_of, secret_partition, valid_secrets
from jobchain.aws.writes import epoch, key, update
from jobchain.domain import Clock, isoformat
from jobchain.webhooks.events import JOB_URLS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_DELIVERED = timedelta(days=7)
"""How long a delivery is kept that was made."""


class DeliveryState(StrEnum):
    """What became of a delivery: it waits for its next try, was made, or was given up."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Result:
    """How a try ended: the status of the answer, None without one, and what went wrong, in words for its owner."""

    status: int | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for one endpoint. Times are texts of `isoformat`; `next_at` only while it waits for a further try.

    `event_id` is that of the job that it is about, if any; `url` that which the job names itself. `tries` are those
    `since` it was created, or redelivered.
    """

    key: DeliveryKey
    webhook_id: str
    endpoint_id: str
    type: str
    event_id: str | None
    body: str
    created_at: str
    since: str
    tries: int
    state: DeliveryState
    url: str | None = None
    last_at: str | None = None
    last: Result | None = None
    next_at: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A delivery that waits for a try, with where it goes: `url` is None if the endpoint does not exist any more.

    Requests are signed with each of the `secrets`.
    """

    delivery: Delivery
    url: str | None
    secrets: tuple[str, ...]


class DeliveryStore:
    """Reads and changes deliveries. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def read(self, wanted: DeliveryKey) -> Dispatch | None:
        """The delivery, if it waits for a try: None if it was made, was given up or does not exist."""
        item = self._table.get(wanted.item_key)
        if item is None or "due_at" not in item:
            return None
        delivery = delivery_of(wanted.tenant, item)
        url = delivery.url or self._url_of(wanted.tenant, delivery.endpoint_id)
        stored = self._table.query(secret_partition(wanted.tenant, delivery.endpoint_id), "!", "~") if url else []
        return Dispatch(delivery, url, valid_secrets(stored, epoch(self._clock())))

    def _url_of(self, tenant: str, endpoint_id: str) -> str | None:
        item = self._table.get(key(partition(tenant), f"ENDPOINT#{endpoint_id}"))
        if item is None or endpoint_id == JOB_URLS:
            return None
        endpoint = endpoint_of(item)
        return None if endpoint.disabled_at else endpoint.url

    def delivered(self, delivery: Delivery, result: Result) -> None:
        """Stores that the receiver has the event."""
        self._end(delivery, DeliveryState.DELIVERED, result, KEPT_DELIVERED)

    def give_up(self, delivery: Delivery, result: Result) -> None:
        """Stores that there is no further try, unless somebody asks for one."""
        self._end(delivery, DeliveryState.DEAD, result, KEPT)

    def put_off(self, delivery: Delivery, result: Result, pause: timedelta) -> bool:
        """Stores that a try failed; the next one is after `pause`. Whether its message is to be sent now.

        The queue delays it so long if it can. Else the sweeper sends it when the delivery is due.
        """
        now = self._clock()
        by_queue = pause <= MAX_DELAY
        at = now + pause
        changes = {
            **_tried(delivery, result, now),
            "next_at": isoformat(at),
            **due(delivery.webhook_id, at + GRACE if by_queue else at),
        }
        return self._change(delivery, changes, "sends") and by_queue

    def disable(self, tenant: str, endpoint_id: str, because: str) -> None:
        """Lets an endpoint get no more events, until it is enabled again."""
        changes = {"disabled_at": isoformat(self._clock()), "disabled_because": because}
        where = key(partition(tenant), f"ENDPOINT#{endpoint_id}")
        with suppress(ConditionFailed):
            self._table.write(update(where, "attribute_exists(pk) AND attribute_not_exists(disabled_at)", {}, changes))

    def _end(self, delivery: Delivery, state: DeliveryState, result: Result, kept: timedelta) -> None:
        now = self._clock()
        changes = {**_tried(delivery, result, now), "state": state, "expires_at": epoch(now + kept)}
        self._change(delivery, changes, "due_shard", "due_at", "next_at", "sends")

    def _change(self, delivery: Delivery, changes: Item, *removed: str) -> bool:
        """Whether the change was made: it is not where another function has made the same try first."""
        condition, values = "attribute_exists(due_at) AND tries = :seen", {":seen": delivery.tries}
        try:
            self._table.write(update(delivery.key.item_key, condition, values, changes, removed))
        except ConditionFailed:
            return False
        return True


def delivery_of(tenant: str, item: Item) -> Delivery:
    """The delivery that is stored in an item."""
    last = item.get("last")
    return Delivery(
        key=DeliveryKey(tenant, item["sk"]),
        webhook_id=item["webhook_id"],
        endpoint_id=item["endpoint_id"],
        type=item["type"],
        event_id=item.get("event_id"),
        url=item.get("url"),
        body=unpacked(item["body"]),
        created_at=item["created_at"],
        since=item.get("since") or item["created_at"],
        tries=int(item["tries"]),
        state=DeliveryState(item.get("state", DeliveryState.WAITING)),
        last_at=item.get("last_at"),
        last=Result(int(last["status"]) if "status" in last else None, last.get("message", "")) if last else None,
        next_at=item.get("next_at"),
    )


def _tried(delivery: Delivery, result: Result, now: datetime) -> Item:
    status = {} if result.status is None else {"status": result.status}
    message = {"message": result.message} if result.message else {}
    return {"tries": delivery.tries + 1, "last_at": isoformat(now), "last": {**status, **message}}
