"""A tenant's daily usage: its jobs by how they ended, and what they used, by day (UTC), API key, model and chain.

A day is several items that are summed when it is read. Each record is added to one of them, picked at random, in the
transaction that it belongs to: so daily usage is exact to the token, and transactions seldom conflict.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import spending_of, totals
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.writes import Write, add, epoch, key
from jobchain.daily_usage import DailyUsage, UsageGroup
from jobchain.domain import Clock, Status
from jobchain.errors import Unavailable
from jobchain.spending import NOTHING_SPENT, Bill

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SHARDS = 16
# The usage of a year, and a month to evaluate it.
_KEPT = timedelta(days=400)

_CREATED = "jobs_created"
_REPLAY = "replay"

# The most items that one look at several days reads, but for the last page. Of some 300 bytes each, they take about 200
# read units.
_MAX_ITEMS = 5000


class UsageStore:
    """Reads daily usage. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def today(self, tenant: str) -> DailyUsage:
        """The tenant's usage of this day (UTC) so far."""
        day = f"{self._clock():%Y-%m-%d}"
        return _daily(day, self._table.query(f"TENANT#{tenant}", f"USAGE#{day}#", f"USAGE#{day}$"))

    def days(self, tenant: str, first: date, last: date) -> tuple[list[DailyUsage], date | None]:
        """The tenant's usage from one day (UTC) to another, both included, and the day to go on with: None at the end.

        It may be a moment out of date. It ends early, after a whole day, when it has read `_MAX_ITEMS`: a day has up to
        16 items for each API key, model and chain.
        """
        found: dict[str, list[Item]] = {}
        read = 0
        complete = last
        pages = self._table.query_pages(f"TENANT#{tenant}", f"USAGE#{first}#", f"USAGE#{last}$", consistent=False)
        for page in pages:
            for item in page:
                found.setdefault(item["sk"].split("#", 2)[1], []).append(item)
            read += len(page)
            # The last day of a page may go on with the next one.
            if read > _MAX_ITEMS and len(found) > 1:
                complete = date.fromisoformat(max(found)) - timedelta(days=1)
                break
        days = [str(first + timedelta(days=number)) for number in range((complete - first).days + 1)]
        following = complete + timedelta(days=1) if complete < last else None
        return [_daily(day, found.get(day, [])) for day in days], following


def _daily(day: str, items: Sequence[Item]) -> DailyUsage:
    """The sum of a day's items."""
    parts = [(item, UsageGroup(_ended(item), spending_of(item))) for item in items]
    whole = sum((group for _, group in parts), UsageGroup())
    replayed = [item for item in items if _REPLAY in item]
    replays = sum((UsageGroup(_jobs(item), spending_of(item)) for item in replayed), UsageGroup())
    return DailyUsage(
        day,
        sum(int(item.get(_CREATED, 0)) for item in items if _REPLAY not in item),
        whole.ended,
        whole.spending,
        replays=replays,
        replays_created=sum(int(item.get(_CREATED, 0)) for item in replayed),
        models=_grouped(parts, "model"),
        keys=_grouped(parts, "key_id"),
        chains=_grouped(parts, "job_name"),
    )


def _ended(item: Item) -> Counter[Status]:
    """The jobs that ended. Replays are counted apart, whereas what they cost is a part of every sum."""
    return Counter() if _REPLAY in item else _jobs(item)


def _jobs(item: Item) -> Counter[Status]:
    return Counter({status: int(item[f"jobs_{status}"]) for status in Status if f"jobs_{status}" in item})


def _grouped(parts: Sequence[tuple[Item, UsageGroup]], attribute: str) -> dict[str, UsageGroup]:
    """The sums of the items by the value of an attribute, without those that only count created jobs."""
    groups: dict[str, UsageGroup] = {}
    for item, group in parts:
        if group != UsageGroup():
            name = item.get(attribute, "")
            groups[name] = groups.get(name, UsageGroup()) + group
    return groups


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one transaction adds to its tenant's daily usage; `spent` is by the model that was asked.

    `chain` is that of the one job which it is about; jobs are created in transactions of several chains. `replay`
    if the jobs are parts of a replay.
    """

    created: int = 0
    ended: Status | None = None
    spent: Bill = field(default_factory=dict)
    chain: str = ""
    replay: bool = False

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
        return [self._addition(tenant, key_id, model, counted, now) for model, counted in added.items()]

    def _addition(self, tenant: str, key_id: str, model: str, added: Item, now: datetime) -> Write:
        # Not by `random`: environments that were restored from one snapshot would all pick the same items.
        shard = secrets.randbelow(_SHARDS)
        group = f"{model}#{self.chain}" if self.chain or self.replay else model
        marked = f"{group}#{_REPLAY}" if self.replay else group
        item = key(f"TENANT#{tenant}", f"{_prefix(now)}#{key_id}#{marked}#{shard:02}")
        texts = (("key_id", key_id), ("model", model), ("job_name", self.chain))
        named: Item = {name: value for name, value in texts if value}
        if self.replay:
            named[_REPLAY] = True
        return add(item, added, {**named, "expires_at": epoch(now + _KEPT)})


def write_with_usage(
    table: Table,
    update: Write,
    record: UsageRecord,
    tenant: str,
    key_id: str,
    now: datetime,
    tries: int = 1,
    beside: Sequence[Write] = (),
) -> None:
    """Makes an update together with its usage record. Raises ConditionFailed where the update's condition fails.

    The writes `beside` it have no condition of their own, and are made if and only if the update is.

    With several `tries` it is repeated where the table does not answer: it recognizes its result where only the answer
    was lost. `now` is a moment of the day that is added to.
    """
    for _ in range(tries - 1):
        try:
            _write_once(table, update, record, tenant, key_id, now, beside)
        except Unavailable:
            continue
        return
    _write_once(table, update, record, tenant, key_id, now, beside)


def _write_once(
    table: Table,
    update: Write,
    record: UsageRecord,
    tenant: str,
    key_id: str,
    now: datetime,
    beside: Sequence[Write],
) -> None:
    if not (beside or record.writes(tenant, key_id, now)):
        table.write(update)
        return
    try:
        table.transact(lambda: [update, *record.writes(tenant, key_id, now), *beside])
    except TransactionCanceled as canceled:
        raise ConditionFailed(canceled.found(update)) from canceled


def _prefix(now: datetime) -> str:
    return f"USAGE#{now:%Y-%m-%d}"
