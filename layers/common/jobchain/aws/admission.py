"""Admits new jobs: stores those whose ids are free and whose tenant has quota, with the first usage record."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import MAX_WRITES, MOVE_TRIES, existing_job, job_key, job_of, new_items
from jobchain.aws.quotas import QuotaCounter, quota_counters, remaining_quota
from jobchain.aws.table import Table, TransactionCanceled
from jobchain.aws.usage import UsageRecord
from jobchain.aws.writes import epoch, put, put_new
from jobchain.domain import Clock, Job, NewJob, isoformat
from jobchain.errors import JobchainError, JobExists, LimitReached, Unavailable
from jobchain.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Outcome = Job | JobExists | LimitReached | Unavailable
"""The result of admission for one job: the stored job, or why it is not stored."""

# A transaction may hold 4 MB: the rest is for what the wire adds.
_MAX_BYTES = 3_500_000


class _NotAdmitted(Exception):
    """A transaction stored none of its jobs: some exist already, or the counters' remaining quota is too small."""

    def __init__(self, existing: Mapping[str, JobExists], remaining: Sequence[int]) -> None:
        super().__init__("not admitted")
        self.existing = dict(existing)
        self.remaining = list(remaining)


class AdmissionStore:
    """Stores new jobs. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def create(self, new: NewJob, retention: timedelta) -> Job:
        """Stores a pending job, due after `DISPATCH_GRACE` in case its message is never sent.

        Raises JobExists, with the job that is stored, where the id is taken.
        """
        (outcome,) = self.create_many([new], retention)
        if isinstance(outcome, JobchainError):
            raise outcome
        return outcome

    def create_many(self, jobs: Sequence[NewJob], retention: timedelta, limits: Limits = NO_LIMITS) -> list[Outcome]:
        """The same for many jobs of one tenant, in as few transactions as they fit in; no id may occur twice.

        Gives the outcome of each, in order: one that cannot be stored affects no other. The first ones are admitted,
        as many as the quotas of `limits` allow.
        """
        if not jobs:
            return []
        now = self._clock()
        counters = quota_counters(limits, jobs[0].tenant, now)
        items = {new.event_id: list(new_items(new, now, epoch(now + retention))) for new in jobs}
        outcomes: dict[str, Outcome] = {}
        silent: Unavailable | None = None
        for chunk in _chunks(jobs, items, most=MAX_WRITES - len(counters)):
            # Once the table stores none of a chunk, the caller does not wait for it with every further chunk.
            if silent:
                outcomes |= dict.fromkeys((new.event_id for new in chunk), silent)
                continue
            found = self._create_chunk(chunk, items, counters, now)
            errors = [outcome for outcome in found.values() if isinstance(outcome, Unavailable)]
            silent = errors[0] if len(errors) == len(chunk) else None
            outcomes |= found
        return [outcomes[new.event_id] for new in jobs]

    def find_many(self, event_ids: Sequence[str]) -> dict[str, JobExists]:
        """Those of up to 100 jobs that are stored already, by id."""
        metas = self._table.get_many([job_key(event_id) for event_id in event_ids])
        return {exists.job.event_id: exists for exists in map(existing_job, metas)}

    def _create_chunk(
        self, jobs: Sequence[NewJob], items: Mapping[str, list[Item]], counters: Sequence[QuotaCounter], now: datetime
    ) -> dict[str, Outcome]:
        """The outcomes of jobs that fit in one transaction."""
        wanted = list(jobs)
        outcomes: dict[str, Outcome] = {}
        remaining = [counter.most for counter in counters]
        for _ in range(MOVE_TRIES):
            for counter, quota in zip(counters, remaining, strict=True):
                outcomes |= {new.event_id: counter.refusal() for new in wanted[quota:]}
                wanted = wanted[:quota]
            if not wanted:
                return outcomes
            try:
                self._create_all(wanted, items, counters, now)
            except _NotAdmitted as reasons:
                outcomes |= reasons.existing
                wanted = [new for new in wanted if new.event_id not in reasons.existing]
                remaining = reasons.remaining
            except Unavailable as error:
                return outcomes | self._stored_or(error, wanted, now)
            else:
                return outcomes | {new.event_id: job_of(items[new.event_id]) for new in wanted}
        # Other requests took the remaining quota first each time.
        refusal = counters[-1].refusal() if counters else Unavailable("too much at once: try again")
        return outcomes | {new.event_id: refusal for new in wanted}

    def _create_all(
        self, jobs: Sequence[NewJob], items: Mapping[str, list[Item]], counters: Sequence[QuotaCounter], now: datetime
    ) -> None:
        """Stores all of the jobs or none. Raises _NotAdmitted: jobs that exist come first, then the quotas."""
        tenant = jobs[0].tenant
        metas = {new.event_id: put_new(items[new.event_id][0]) for new in jobs}
        others = [put(item) for new in jobs for item in items[new.event_id][1:]]
        admitted = [counter.admit(len(jobs)) for counter in counters]
        record = UsageRecord(created=len(jobs))
        try:
            self._table.transact(lambda: [*metas.values(), *admitted, *others, *record.writes(tenant, now)])
        except TransactionCanceled as canceled:
            found = {event_id: canceled.found(meta) for event_id, meta in metas.items()}
            existing = {event_id: existing_job(meta) for event_id, meta in found.items() if meta}
            remaining = [counter.most for counter in counters]
            if not existing:
                remaining = [
                    remaining_quota(self._table, tenant, counter, canceled.found(write))
                    for counter, write in zip(counters, admitted, strict=True)
                ]
            raise _NotAdmitted(existing, remaining) from None

    def _stored_or(self, error: Unavailable, wanted: Sequence[NewJob], now: datetime) -> dict[str, Outcome]:
        """For each job itself, where it is stored although the answer was lost; else the error.

        A job that was stored at another moment belongs to another request.
        """
        outcomes: dict[str, Outcome] = {new.event_id: error for new in wanted}
        with suppress(Unavailable):
            stored = self.find_many(list(outcomes))
            for new in wanted:
                if exists := stored.get(new.event_id):
                    same = exists.fingerprint == new.fingerprint and exists.job.created_at == isoformat(now)
                    outcomes[new.event_id] = exists.job if same else exists
        return outcomes


def _chunks(jobs: Sequence[NewJob], items: Mapping[str, list[Item]], most: int) -> Iterator[list[NewJob]]:
    """`jobs` in groups of which each fits in one transaction."""
    chunk: list[NewJob] = []
    writes = size = 0
    for new in jobs:
        more = sum(len(str(value).encode()) for item in items[new.event_id] for value in (*item, *item.values()))
        if chunk and (writes + len(items[new.event_id]) > most or size + more > _MAX_BYTES):
            yield chunk
            chunk, writes, size = [], 0, 0
        chunk.append(new)
        writes += len(items[new.event_id])
        size += more
    yield chunk
