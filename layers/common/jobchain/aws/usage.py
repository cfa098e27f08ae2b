"""The books of a tenant: what its jobs came to and what they used, day by day (UTC).

A day is several items that are added up when it is read. Each booking goes to one of them at random, in the transaction
that it belongs to: so the books are right to the token, and two transactions seldom meet.
"""

import random
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from jobchain.aws.table import Item, Table, epoch, key
from jobchain.domain import NOTHING_SPENT, Spending, Status, Usage

_SHARDS = 16
# A year's books, and a month to close them.
_KEPT = timedelta(days=400)

_CREATED = "jobs_created"


@dataclass(frozen=True, slots=True)
class Day:
    """What a tenant's jobs came to on one day: how many were created, and how many ended how; what they used."""

    date: str
    created: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    spending: Spending = NOTHING_SPENT


def totals(spending: Spending) -> Item:
    """`spending` as attributes that add up."""
    return {
        **asdict(spending.usage),
        "cost_usd": spending.known_cost_usd,
        "unpriced_calls": spending.unpriced_calls,
        "calls": spending.calls,
        "retries": spending.retries,
    }


def spending_of(item: Item) -> Spending:
    """What `totals` has added up in an item."""
    usage = Usage(**{name: int(item.get(name, 0)) for name in asdict(Usage())})
    counts = (int(item.get(name, 0)) for name in ("unpriced_calls", "calls", "retries"))
    return Spending(usage, item.get("cost_usd", Decimal(0)), *counts)


@dataclass(frozen=True, slots=True)
class Booking:
    """What one transaction adds to its tenant's day."""

    created: int = 0
    ended: Status | None = None
    spent: Spending = NOTHING_SPENT

    def write(self, table: Table, tenant: str, now: datetime) -> list[Any]:
        """The transaction's part that books it; nothing where there is nothing to book."""
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
        return [{"Update": table.add(item, added, {"expires_at": epoch(now + _KEPT)})}]


def read_day(table: Table, tenant: str, now: datetime) -> Day:
    """The tenant's books of the day of `now` so far. Raises Unavailable."""
    created, ended, spending = 0, Counter[Status](), Spending()
    for item in table.query(f"TENANT#{tenant}", f"{_prefix(now)}#", f"{_prefix(now)}$"):
        created += int(item.get(_CREATED, 0))
        ended.update({status: int(item[f"jobs_{status}"]) for status in Status if f"jobs_{status}" in item})
        spending += spending_of(item)
    return Day(f"{now:%Y-%m-%d}", created, ended, spending)


def _prefix(now: datetime) -> str:
    return f"USAGE#{now:%Y-%m-%d}"
