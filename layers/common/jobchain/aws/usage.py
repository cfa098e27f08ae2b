"""A tenant's daily usage: its jobs by how they ended, and their usage records, by day (UTC).

A day is several items that are summed when it is read. Each usage record is added to one of them at random, in the
transaction that it belongs to: so daily usage is exact to the token, and transactions seldom conflict.
"""

import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import spending_of, totals
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.writes import Write, add, epoch, key
from jobchain.domain import Clock, DailyUsage, Status
from jobchain.spending import NOTHING_SPENT, Spending

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
        created, ended, spending = 0, Counter[Status](), Spending()
        for item in self._table.query(f"TENANT#{tenant}", f"{_prefix(now)}#", f"{_prefix(now)}$"):
            created += int(item.get(_CREATED, 0))
            ended.update({status: int(item[f"jobs_{status}"]) for status in Status if f"jobs_{status}" in item})
            spending += spending_of(item)
        return DailyUsage(f"{now:%Y-%m-%d}", created, ended, spending)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one transaction adds to its tenant's daily usage."""

    created: int = 0
    ended: Status | None = None
    spent: Spending = NOTHING_SPENT

    def writes(self, tenant: str, now: datetime) -> list[Write]:
        """The transaction's writes that add it; none where it is empty."""
        added: Item = {}
        if self.created:
            added[_CREATED] = self.created
        if self.ended:
            added[f"jobs_{self.ended}"] = 1
        if self.spent != NOTHING_SPENT:
            added |= totals(self.spent)
        if not added:
            return []
        shard = random.randrange(_SHARDS)  # noqa: S311  # no secret
        item = key(f"TENANT#{tenant}", f"{_prefix(now)}#{shard:02}")
        return [add(item, added, {"expires_at": epoch(now + _KEPT)})]


def write_with_usage(table: Table, update: Write, record: UsageRecord, tenant: str, now: datetime) -> None:
    """Makes an update together with its usage record. Raises ConditionFailed where the update's condition fails."""
    if record == UsageRecord():
        table.write(update)
        return
    try:
        table.transact(lambda: [update, *record.writes(tenant, now)])
    except TransactionCanceled as canceled:
        raise ConditionFailed(canceled.found(update)) from canceled


def _prefix(now: datetime) -> str:
    return f"USAGE#{now:%Y-%m-%d}"
