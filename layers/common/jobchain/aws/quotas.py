"""How a key's limits on jobs are checked: by counters in the transaction that admits the jobs."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobchain.aws.attributes import Item
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.writes import Write, epoch, key, update
from jobchain.domain import Status
from jobchain.errors import LimitReached
from jobchain.limits import MAX_COUNTED, Limits

_UNFINISHED_RETRY = timedelta(seconds=10)


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

    def admit(self, jobs: int) -> Write:
        """Counts that many jobs. Its condition fails where the remaining quota is smaller."""
        kept = {"expires_at": epoch(self.now + timedelta(days=400 if self.recounted else 1))}
        condition = "attribute_not_exists(taken) OR taken <= :most"
        return update(self.key, condition, {":most": self.most - jobs}, kept, added={"taken": jobs})

    def refusal(self) -> LimitReached:
        """The error of a job that exceeds the quota."""
        return LimitReached(self.limit, self.most, self.retry_after)


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


def remaining_quota(table: Table, tenant: str, counter: QuotaCounter, found: Item | None) -> int:
    """How many more jobs a counter admits. `found` is its item where it has refused some, None where it has not."""
    if found is None:
        return counter.most
    if not counter.recounted:
        return max(0, counter.most - int(found["taken"]))
    used = count_unfinished(table, tenant, counter.most).total()
    # By its token: the number alone can be the same again after others have recounted it and admitted jobs.
    with suppress(ConditionFailed):
        table.write(update(counter.key, "#token = :seen", {":seen": found["token"]}, {"taken": used}))
    return max(0, counter.most - used)


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
