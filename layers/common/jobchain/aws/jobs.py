"""What callers do with stored jobs: read and list them, cancel, retry and delete them."""

import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from jobchain.aws.attributes import Item
from jobchain.aws.items import (
    FREE,
    MAX_WRITES,
    MOVE_TRIES,
    PROCESSING,
    REMOVED_WHEN_FINAL,
    UNFINISHED,
    dispatched,
    job_key,
    job_of,
    read_items,
)
from jobchain.aws.quotas import QuotaCounter, count_unfinished, quota_counters, remaining_quota
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.usage import UsageRecord, write_with_usage
from jobchain.aws.writes import Write, delete, epoch, epoch_ms, key, put_new, update
from jobchain.domain import Clock, Job, Status, Tier, isoformat
from jobchain.errors import JobIsFinal, JobIsNotFinal, JobNotFound, Unavailable
from jobchain.limits import MAX_COUNTED, NO_LIMITS, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# A retried job may wait for its model for half a day at a time.
_LEFT_FOR_A_RETRY = timedelta(days=3)

# The most jobs that are read for one page of a list: few may pass its filter.
_MAX_SEEN = 1000


class JobStore:
    """Reads and changes stored jobs for callers. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def get(self, tenant: str, event_id: str) -> Job:
        """The tenant's job with its completed steps, without its input. Raises JobNotFound."""
        items = read_items(self._table, event_id, first="META", last="STEP$")
        if not items or items[0]["sk"] != "META" or items[0]["tenant"] != tenant:
            raise JobNotFound(f"there is no job {event_id}")
        return job_of(items)

    def recent(
        self,
        tenant: str,
        limit: int,
        before: str | None = None,
        status: Status | None = None,
        job_name: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Up to `limit` of the tenant's jobs, newest first, without steps and metadata; only those of the filters.

        `before` is the position that the last page gave, and the second part of the answer that of the next page:
        None where there is none. A page may hold fewer jobs than `limit`, where few of many pass the filters.
        """
        condition, values = "tenant = :tenant", {":tenant": tenant}
        if before:
            condition, values = f"{condition} AND created_at_id < :before", {**values, ":before": before}
        filters = {name: value for name, value in (("status", status), ("job_name", job_name)) if value}
        options: dict[str, Any] = {}
        if filters:
            values |= {f":{name}": value for name, value in filters.items()}
            options["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in filters)
            options["ExpressionAttributeNames"] = {f"#{name}": name for name in filters}
        # One more than asked for tells whether there is a next page.
        page_size = _MAX_SEEN // 4 if filters else limit + 1
        jobs: list[Job] = []
        seen = 0
        pages = self._table.index_pages("recent", condition, values, page_size, ScanIndexForward=False, **options)
        for page, last in pages:
            jobs += [job_of([meta]) for meta in page]
            seen += page_size
            if len(jobs) > limit:
                return jobs[:limit], _position(jobs[limit - 1])
            if last and seen >= _MAX_SEEN:
                return jobs, last["created_at_id"]
        return jobs, None

    def unfinished(self, tenant: str, most: int = MAX_COUNTED) -> Counter[Status]:
        """How many of the tenant's jobs are pending and processing, as of a moment ago; not over `most` in all."""
        return count_unfinished(self._table, tenant, most)

    def cancel(self, tenant: str, event_id: str) -> Job:
        """Ends a job at once that no worker holds; makes the worker of any other end it before its next step.

        Raises JobNotFound, and JobIsFinal where it has ended already.
        """
        now = self._clock()
        ended = {"status": Status.CANCELLED, "finished_at": isoformat(now), "updated_at": isoformat(now)}
        requested = {"cancel_requested": True, "updated_at": isoformat(now)}

        def change(job: Job) -> None:
            if job.status.final:
                raise JobIsFinal(f"job {event_id} is {job.status} already")
            free = {**UNFINISHED, ":now": epoch_ms(now)}
            end = update(job_key(event_id), FREE, free, ended, REMOVED_WHEN_FINAL)
            try:
                write_with_usage(self._table, end, UsageRecord(ended=Status.CANCELLED), tenant, now)
            except ConditionFailed:
                self._table.write(update(job_key(event_id), "#status = :processing", PROCESSING, requested))

        return self._move(tenant, event_id, change)

    def retry(self, tenant: str, event_id: str, limits: Limits = NO_LIMITS) -> Job:
        """Makes a failed or cancelled job pending again, with its completed steps; its tries are counted from zero.

        Raises JobNotFound, JobIsNotFinal where it has not ended, JobIsFinal where it has completed, and LimitReached
        where one of the limits leaves no quota.
        """
        now = self._clock()
        counters = quota_counters(limits, tenant, now)

        def change(job: Job) -> None:
            _check_retry(job, now)
            pending = _pending_again(job, now)
            admitted = [counter.admit(1) for counter in counters]
            try:
                self._table.transact(lambda: [pending, *admitted])
            except TransactionCanceled as canceled:
                for counter, write in zip(counters, admitted, strict=True):
                    self._check_quota(tenant, counter, canceled.found(write))
                raise

        return self._move(tenant, event_id, change)

    def _check_quota(self, tenant: str, counter: QuotaCounter, found: Item | None) -> None:
        if not remaining_quota(self._table, tenant, counter, found):
            raise counter.refusal() from None

    def delete(self, tenant: str, event_id: str) -> None:
        """Erases a final job and all that it stored. Raises JobNotFound, and JobIsNotFinal."""

        def change(job: Job) -> None:
            if not job.status.final:
                raise JobIsNotFinal(f"job {event_id} is {job.status}: cancel it first")
            items = read_items(self._table, event_id, "INPUT", "STEP$")
            others = [delete(job_key(event_id, item["sk"])) for item in items if item["sk"] != "META"]
            # Of the same claim too: a retry in between may have stored another step.
            values = {":was": job.status, ":claim": job.attempts}
            meta = delete(job_key(event_id), "#status = :was AND claim = :claim", values)
            self._table.transact(lambda: [meta, *others[:MAX_WRITES]])
            # No caller can find these any more, and where this ends in between the table's TTL erases them.
            for start in range(MAX_WRITES, len(others), MAX_WRITES):
                rest = others[start : start + MAX_WRITES]
                self._table.transact(lambda rest=rest: rest)  # type: ignore[misc]

        self._move(tenant, event_id, change, read_back=False)

    def _move(self, tenant: str, event_id: str, change: Callable[[Job], None], *, read_back: bool = True) -> Job:
        """Reads the job and makes `change`, again where the job changed in between; gives the job after it."""
        for _ in range(MOVE_TRIES):
            job = self.get(tenant, event_id)
            with suppress(ConditionFailed, TransactionCanceled):
                change(job)
                return self.get(tenant, event_id) if read_back else job
        raise Unavailable("the job changes too fast: try again")

    def cursor_secret(self) -> bytes:
        """The secret with which this deployment signs the cursors of its lists: made at the first call."""
        where = key("SECRET#cursors", "META")
        while (item := self._table.get(where)) is None:
            new = put_new({**where, "secret": secrets.token_hex(32)})
            with suppress(TransactionCanceled):
                self._table.transact(lambda new=new: [new])  # type: ignore[misc]
        return bytes.fromhex(item["secret"])

    def ping(self) -> None:
        """Raises Unavailable where the table does not answer."""
        self._table.get(job_key("ping"))


def _check_retry(job: Job, now: datetime) -> None:
    """Raises JobIsFinal or JobIsNotFinal where the job cannot be retried."""
    if job.status is Status.COMPLETED:
        raise JobIsFinal(f"job {job.event_id} is completed: there is nothing to retry")
    if not job.status.final:
        raise JobIsNotFinal(f"job {job.event_id} is {job.status}: it is being run already")
    if job.expires_at < epoch(now + _LEFT_FOR_A_RETRY):
        raise JobIsFinal(f"job {job.event_id} is about to be erased: create a new job")


def _pending_again(job: Job, now: datetime) -> Write:
    """The update that makes a final job pending, where its status is still the same."""
    flex = {"flex_until": epoch(now + job.flex_for)} if job.tier is Tier.FLEX else {}
    pending = {"status": Status.PENDING, "updated_at": isoformat(now), **dispatched(job.event_id, now), **flex}
    return update(job_key(job.event_id), "#status = :was", {":was": job.status}, pending, ("error", "finished_at"))


def _position(job: Job) -> str:
    """The job's position in the index `recent`."""
    return f"{job.created_at}#{job.event_id}"
