"""How a key's limits on jobs are checked: by counters in the transaction that admits the jobs.

A counter is several items, each with a share of the limit, as transactions on one item refuse each other: with one
item, a tenant of 100 requests a second would get a 503 for each fifth. The shares add up to the limit, so that it is
kept to the job. docs/explanation/table.md has the argument.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobchain.aws.attributes import Item
from jobchain.aws.table import Table
from jobchain.aws.writes import Write, epoch, key, update
from jobchain.domain import Status
from jobchain.errors import LimitReached
from jobchain.limits import MAX_COUNTED, Limits

SHARDS = 8
"""The items of a counter. It must not depend on the limit: keys of one tenant with different limits share them."""

_UNFINISHED_RETRY = timedelta(seconds=10)

Room = tuple[int, ...]
"""How many more jobs each shard of a counter admits."""


@dataclass(frozen=True, slots=True)
class QuotaCounter:
    """Counts the jobs that are admitted under one limit, in the transaction that stores them.

    One that is `recounted` only grows: it is an upper bound, and the jobs are counted again when it refuses one. So
    the end of a job need not be counted, and jobs that arrive at the same moment still cannot pass the limit together.
    """

    limit: str
    most: int
    key: Item
    retry_after: timedelta
    now: datetime
    recounted: bool = False

    @property
    def shares(self) -> Room:
        """How many jobs each shard admits in all; together they are the limit."""
        return tuple(self.most // SHARDS + (shard < self.most % SHARDS) for shard in range(SHARDS))

    def admit(self, jobs: int, room: Room) -> list[Write]:
        """Counts that many jobs, which must fit in `room`. A condition fails where its shard has less room."""
        return [self._add(shard, count) for shard, count in _spread(jobs, room).items()]

    def _add(self, shard: int, jobs: int) -> Write:
        kept = {"expires_at": epoch(self.now + timedelta(days=400 if self.recounted else 1))}
        # A shard that is recounted is made by a count alone: before the first one, it would miss earlier jobs.
        fits = "taken <= :most" if self.recounted else "attribute_not_exists(taken) OR taken <= :most"
        return update(self.shard_key(shard), fits, {":most": self.shares[shard] - jobs}, kept, added={"taken": jobs})

    def shard_key(self, shard: int) -> Item:
        """The key of one of the counter's items."""
        return {**self.key, "sk": f"{self.key['sk']}#{shard}"}

    def refusal(self) -> LimitReached:
        """The error of a job that exceeds the quota."""
        return LimitReached(self.limit, self.most, self.retry_after)


def _spread(jobs: int, room: Room) -> Mapping[int, int]:
    """How many of the jobs each shard counts: all are in one, picked at random, if one has room for them."""
    # Not by `random`: environments that were restored from one snapshot would all pick the same shards.
    if fitting := [shard for shard, free in enumerate(room) if free >= jobs]:
        return {secrets.choice(fitting): jobs}
    spread = {}
    for shard in sorted(range(SHARDS), key=lambda shard: -room[shard]):
        if count := min(jobs, room[shard]):
            spread[shard] = count
            jobs -= count
    return spread


def quota_counters(limits: Limits, tenant: str, now: datetime) -> list[QuotaCounter]:
    """The counters that a new job of the tenant has to pass at `now`."""
    counters = []
    if limits.jobs_per_minute is not None:
        minute = now.astimezone(UTC).replace(second=0, microsecond=0)
        where = key(f"TENANT#{tenant}", f"MINUTE#{minute:%Y-%m-%dT%H:%M}")
        wait = minute + timedelta(minutes=1) - now
        counters.append(QuotaCounter("jobs_per_minute", limits.jobs_per_minute, where, wait, now))
    if limits.unfinished_jobs is not None:
        where = key(f"TENANT#{tenant}", "UNFINISHED")
        counters.append(
            QuotaCounter("unfinished_jobs", limits.unfinished_jobs, where, _UNFINISHED_RETRY, now, recounted=True)
        )
    return counters


def remaining_quota(table: Table, tenant: str, counter: QuotaCounter, jobs: int) -> Room:
    """How many more jobs a counter admits, by its items as they are now; it has refused some of `jobs`."""
    sk = counter.key["sk"]
    stored = {item["sk"]: item for item in table.query(counter.key["pk"], f"{sk}#", f"{sk}$")}
    items = [stored.get(f"{sk}#{shard}", {}) for shard in range(SHARDS)]
    taken = [int(item.get("taken", 0)) for item in items]
    complete = len(stored) == SHARDS or not counter.recounted
    if counter.recounted and not (complete and sum(_room(counter, taken)) >= jobs):
        taken = _recounted(table, tenant, counter, items)
    return _room(counter, taken)


def _room(counter: QuotaCounter, taken: Sequence[int]) -> Room:
    # A key with a higher limit may have filled a shard beyond this one's share, which the others must make up for.
    left = max(0, counter.most - sum(taken))
    room = []
    for share, count in zip(counter.shares, taken, strict=True):
        room.append(min(left, max(0, share - count)))
        left -= room[-1]
    return tuple(room)


def _recounted(table: Table, tenant: str, counter: QuotaCounter, items: Sequence[Item]) -> list[int]:
    """The jobs that each shard counts, after it was set to its part of those that are unfinished now.

    All shards change together, and only if none has changed since `items` were read: else a job that was admitted in
    between would be missing. Where that fails, others have counted too, and the shards are as full as they were.
    """
    taken = [int(item.get("taken", 0)) for item in items]
    used = count_unfinished(table, tenant, counter.most).total()
    if used >= counter.most:
        # The count stops there, so that it may be less than another key with a higher limit has counted.
        return [counter.most] * SHARDS
    if used == sum(taken) and all(items):
        return taken
    part = [used // SHARDS + (shard < used % SHARDS) for shard in range(SHARDS)]
    expiry = {"expires_at": epoch(counter.now + timedelta(days=400))}
    writes = []
    for shard, item in enumerate(items):
        # By its token: the number alone can be the same again after others have recounted it and admitted jobs.
        condition, values = ("#token = :seen", {":seen": item["token"]}) if item else ("attribute_not_exists(pk)", {})
        writes.append(update(counter.shard_key(shard), condition, values, {"taken": part[shard], **expiry}))
    return part if table.transact_if_calm(writes) else [counter.most] * SHARDS


def count_unfinished(table: Table, tenant: str, most: int = MAX_COUNTED) -> Counter[Status]:
    """How many of the tenant's jobs are pending and processing, as of a moment ago; not over `most` in all."""
    # Of thousands, only the numbers are returned: those that pass the filter, and all.
    counts = Counter[Status]()
    pages = table.count_index(
        "unfinished",
        "tenant = :tenant",
        {":tenant": tenant, ":processing": Status.PROCESSING},
        most,
        FilterExpression="#status = :processing",
        ExpressionAttributeNames={"#status": "status"},
    )
    for processing, seen in pages:
        counts += Counter({Status.PROCESSING: processing, Status.PENDING: seen - processing})
        if counts.total() >= most:
            break
    return counts
