"""Deliveries that are due: their messages were lost, or are longer off than the queue can delay them."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.outbox import DeliveryKey, due, partition
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.writes import epoch, key, update
from jobchain.domain import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that waits for a try, as the sweeper has read it; `sends` are the sweeper's messages since the last.

    `due_at` is in seconds since 1970.
    """

    key: DeliveryKey
    webhook_id: str
    due_at: int
    sends: int


class DueDeliveryStore:
    """Reads due deliveries and postpones them. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def due(self, shard: int, limit: int) -> tuple[list[DueDelivery], bool]:
        """Up to `limit` deliveries of a shard that are due, the oldest first; whether the shard may have more."""
        then = epoch(self._clock())
        condition, values = "due_shard = :shard AND due_at <= :then", {":shard": shard, ":then": then}
        entries, _ = next(self._table.index_pages("due", condition, values, limit))
        # The index may be a moment late, and holds only keys.
        keys = [key(entry["pk"], entry["sk"]) for entry in entries]
        found = [_due_delivery(item) for item in (self._table.get_many(keys) if keys else []) if "due_at" in item]
        found = [delivery for delivery in found if delivery.due_at <= then]
        return sorted(found, key=lambda delivery: delivery.due_at), len(entries) == limit

    def postpone(self, delivery: DueDelivery, until: datetime) -> bool:
        """Makes it due again at `until`, and counts a message. False where it has changed since it was read."""
        seen = {":seen": delivery.due_at}
        later = update(
            delivery.key.item_key, "due_at = :seen", seen, due(delivery.webhook_id, until), added={"sends": 1}
        )
        try:
            self._table.write(later)
        except ConditionFailed:
            return False
        return True


def _due_delivery(item: Item) -> DueDelivery:
    tenant = item["pk"].removeprefix(partition(""))
    sends = int(item.get("sends", 0))
    return DueDelivery(DeliveryKey(tenant, item["sk"]), item["webhook_id"], int(item["due_at"]), sends)
