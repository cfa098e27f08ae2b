"""A tenant's daily usage: its jobs by how they ended, and what they used, by day (UTC), API key and model.

A day is several items that are summed when it is read. Each record is added to one of them, picked at random, in the
transaction that it belongs to: so daily usage is exact to the token, and transactions seldom conflict.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import spending_of, totals
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.writes import Write, add, epoch, key
from jobchain.daily_usage import DailyUsage
from jobchain.domain import Clock, Status
from jobchain.errors import Unavailable
from jobchain.spending import NOTHING_SPENT, Bill, Spending, summed, summed_by_model

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SHARDS = 16
# The usage of a year, and a month to evaluate it.
_KEPT = timedelta(days=400)

_CREATED = "jobs_created"


class UsageStore:
    """Reads daily usage. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def today(self, tenant: str) -> DailyUsage:
        """The tenant's usage of this day (UTC) so far."""
        now = self._clock()
        created, ended = 0, Counter[Status]()
        used: list[tuple[str, str, Spending]] = []
        for item in self._table.query(f"TENANT#{tenant}", f"{_prefix(now)}#", f"{_prefix(now)}$"):
            created += int(item.get(_CREATED, 0))
            ended.update({status: int(item[f"jobs_{status}"]) for status in Status if f"jobs_{status}" in item})
            used.append((item.get("model", ""), item.get("key_id", ""), spending_of(item)))
        return DailyUsage(
            f"{now:%Y-%m-%d}",
            created,
            ended,
            spending=summed(spending for _, _, spending in used),
            by_model=summed_by_model((model, spending) for model, _, spending in used if spending != NOTHING_SPENT),
            by_key=summed_by_model((key_id, spending) for _, key_id, spending in used if spending != NOTHING_SPENT),
        )


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one transaction adds to its tenant's daily usage; `spent` is by the model that was asked."""

    created: int = 0
    ended: Status | None = None
    spent: Bill = field(default_factory=dict)

    def writes(self, tenant: str, key_id: str, now: datetime) -> list[Write]:
        """The transaction's writes that add it, one for each model; none where it is empty."""
        counts: Item = {}
        if self.created:
            counts[_CREATED] = self.created
        if self.ended:
            counts[f"jobs_{self.ended}"] = 1
        added = {model: totals(spending) for model, spending in self.spent.items() if spending != NOTHING_SPENT}
        if counts:
            model = next(iter(added), "")
            added[model] = {**added.get(model, {}), **counts}
        return [_addition(tenant, key_id, model, counted, now) for model, counted in added.items()]


def _addition(tenant: str, key_id: str, model: str, added: Item, now: datetime) -> Write:
    # Not by `random`: environments that were restored from one snapshot would all pick the same items.
    shard = secrets.randbelow(_SHARDS)
    item = key(f"TENANT#{tenant}", f"{_prefix(now)}#{key_id}#{model}#{shard:02}")
    named = {name: value for name, value in (("key_id", key_id), ("model", model)) if value}
    return add(item, added, {**named, "expires_at": epoch(now + _KEPT)})


def write_with_usage(
    table: Table, update: Write, record: UsageRecord, tenant: str, key_id: str, now: datetime, tries: int = 1
) -> None:
    """Makes an update together with its usage record. Raises ConditionFailed where the update's condition fails.

    With several `tries` it is repeated where the table does not answer: it recognizes its result where only the answer
    was lost. `now` is a moment of the day that is added to.
    """
    for _ in range(tries - 1):
        try:
            _write_once(table, update, record, tenant, key_id, now)
        except Unavailable:
            continue
        return
    _write_once(table, update, record, tenant, key_id, now)


def _write_once(table: Table, update: Write, record: UsageRecord, tenant: str, key_id: str, now: datetime) -> None:
    if not record.writes(tenant, key_id, now):
        table.write(update)
        return
    try:
        table.transact(lambda: [update, *record.writes(tenant, key_id, now)])
    except TransactionCanceled as canceled:
        raise ConditionFailed(canceled.found(update)) from canceled


def _prefix(now: datetime) -> str:
    return f"USAGE#{now:%Y-%m-%d}"
