"""Admits new jobs: stores those whose ids are free and whose tenant has quota, with the first usage record."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import MAX_WRITES, MOVE_TRIES, StoredJob, job_key
from jobchain.aws.listing import is_replay
from jobchain.aws.meta import existing_job, job_of, new_meta
from jobchain.aws.quotas import SHARDS, QuotaCounter, Room, quota_counters, remaining_quota
from jobchain.aws.table import Table, TransactionCanceled
from jobchain.aws.texts import text_items
from jobchain.aws.usage import UsageRecord
from jobchain.aws.writes import Write, check, epoch, key, put_new
from jobchain.domain import Clock, Job, NewJob
from jobchain.errors import JobchainError, JobExists, JobNotFound, LimitReached, Unavailable
from jobchain.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Outcome = Job | JobExists | JobNotFound | LimitReached | Unavailable
"""The result of admission for one job: the stored job, or why it is not stored. JobNotFound: its source is deleted."""


class _NotAdmitted(Exception):
    """A transaction stored none of its jobs: some exist already, or the counters' remaining quota is too small."""

    def __init__(self, existing: Mapping[str, JobExists], rooms: Sequence[Room]) -> None:
        super().__init__("not admitted")
        self.existing = dict(existing)
        self.rooms = list(rooms)


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
        prepared = [_prepared(new, now, epoch(now + retention)) for new in jobs]
        outcomes: dict[str, Outcome] = {}
        silent: Unavailable | None = None
        for chunk in _chunks(prepared, MAX_WRITES - SHARDS * len(counters)):
            # Once the table stores none of a chunk, the caller does not wait for it with every further chunk.
            if silent:
                outcomes |= {job.event_id: silent for job in chunk}
                continue
            found = self._create_chunk(chunk, counters, now)
            errors = [outcome for outcome in found.values() if isinstance(outcome, Unavailable)]
            silent = errors[0] if len(errors) == len(chunk) else None
            outcomes |= found
        return [outcomes[new.event_id] for new in jobs]

    def find_many(self, event_ids: Sequence[str]) -> dict[str, JobExists]:
        """Those of up to 100 jobs that are stored already, by id."""
        return {event_id: existing_job(meta) for event_id, meta in self._metas(event_ids).items()}

    def _metas(self, event_ids: Sequence[str]) -> dict[str, Item]:
        metas = self._table.get_many([job_key(event_id) for event_id in event_ids])
        return {meta["pk"].removeprefix("JOB#"): meta for meta in metas}

    def _create_chunk(
        self, jobs: Sequence["_Prepared"], counters: Sequence[QuotaCounter], now: datetime
    ) -> dict[str, Outcome]:
        """The outcomes of jobs whose METAs fit in one transaction.

        The texts are written first: META names them, so that no reader finds a job without its text, and a text
        without a job is found by none.
        """
        try:
            self._table.put_many([item for job in jobs for item in job.texts])
        except Unavailable as error:
            return {job.event_id: error for job in jobs}
        outcomes = self._admit(jobs, counters, now)
        refused = (JobExists, JobNotFound, LimitReached)
        unused = [item for job in jobs if isinstance(outcomes[job.event_id], refused) for item in job.texts]
        # Where this fails, they expire with the retention of jobs.
        with suppress(Unavailable):
            self._table.delete_many([key(item["pk"], item["sk"]) for item in unused])
        return outcomes

    def _admit(
        self, jobs: Sequence["_Prepared"], counters: Sequence[QuotaCounter], now: datetime
    ) -> dict[str, Outcome]:
        wanted = list(jobs)
        outcomes: dict[str, Outcome] = {}
        rooms = [counter.shares for counter in counters]
        for _ in range(MOVE_TRIES):
            for counter, room in zip(counters, rooms, strict=True):
                outcomes |= {job.event_id: counter.refusal() for job in wanted[sum(room) :]}
                wanted = wanted[: sum(room)]
            if not wanted:
                return outcomes
            try:
                self._create_all(wanted, counters, rooms, now)
            except _NotAdmitted as reasons:
                outcomes |= reasons.existing
                wanted = [job for job in wanted if job.event_id not in reasons.existing]
                rooms = reasons.rooms
            except JobNotFound as gone:
                return outcomes | {job.event_id: gone for job in wanted}
            except Unavailable as error:
                return outcomes | self._stored_or(error, wanted)
            else:
                return outcomes | {job.event_id: job.stored for job in wanted}
        # Other requests took the remaining quota first each time.
        refusal = counters[-1].refusal() if counters else Unavailable("too much at once: try again")
        return outcomes | {job.event_id: refusal for job in wanted}

    def _create_all(
        self, jobs: Sequence["_Prepared"], counters: Sequence[QuotaCounter], rooms: Sequence[Room], now: datetime
    ) -> None:
        """Stores all of the jobs or none. Raises _NotAdmitted: jobs that exist come first, then the quotas.

        Raises JobNotFound where the job does not exist any more that one of them is a fork of.
        """
        tenant, key_id = jobs[0].meta["tenant"], jobs[0].meta.get("key_id", "")
        metas = {job.event_id: put_new(job.meta) for job in jobs}
        admitted = [counter.admit(len(jobs), room) for counter, room in zip(counters, rooms, strict=True)]
        sources = [job.source for job in jobs if job.source]
        # A fork is admitted alone, so that no transaction has both.
        record = UsageRecord(created=len(jobs), replay=all(is_replay(job.meta) for job in jobs))
        try:
            self._table.transact(
                lambda: [*metas.values(), *sources, *chain(*admitted), *record.writes(tenant, key_id, now)]
            )
        except TransactionCanceled as canceled:
            found = {event_id: canceled.found(meta) for event_id, meta in metas.items()}
            own = {job.event_id: job.meta["uid"] for job in jobs}
            if any(meta and meta.get("uid") == own[event_id] for event_id, meta in found.items()):
                return  # written by an earlier try, whose answer was lost; the job has changed since
            existing = {event_id: existing_job(meta) for event_id, meta in found.items() if meta}
            if not existing and any(canceled.found(source) is not None for source in sources):
                raise JobNotFound("the job to fork was deleted") from None
            left = list(rooms)
            for place, (counter, writes) in enumerate(zip(counters, admitted, strict=True)):
                if not existing and any(canceled.found(write) is not None for write in writes):
                    left[place] = remaining_quota(self._table, tenant, counter, len(jobs))
            raise _NotAdmitted(existing, left) from None

    def _stored_or(self, error: Unavailable, wanted: Sequence["_Prepared"]) -> dict[str, Outcome]:
        """For each job itself, where it is stored although the answer was lost; else the error."""
        outcomes: dict[str, Outcome] = {job.event_id: error for job in wanted}
        with suppress(Unavailable):
            stored = self._metas(list(outcomes))
            for job in wanted:
                if meta := stored.get(job.event_id):
                    same = meta.get("uid") == job.meta["uid"]
                    outcomes[job.event_id] = job.stored if same else existing_job(meta)
        return outcomes


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A new job's items: META, and those of its text. `source` checks that the job exists which it is a fork of."""

    event_id: str
    meta: Item
    texts: list[Item]
    source: Write | None = None

    @property
    def stored(self) -> Job:
        """The job, once it is stored."""
        return job_of(StoredJob(self.meta, tuple(self.texts)))


def _prepared(new: NewJob, now: datetime, expires_at: int) -> _Prepared:
    uid = secrets.token_hex(4)
    meta, texts = new_meta(new, uid, now, expires_at), text_items(new, uid, now, expires_at)
    source = None
    if new.forked_from:
        created = {":created_at": new.source_created_at}
        source = check(job_key(new.forked_from.event_id), "created_at = :created_at", created)
    return _Prepared(new.event_id, meta, texts, source)


def _chunks(jobs: Sequence[_Prepared], most: int) -> Iterator[Sequence[_Prepared]]:
    """`jobs` in groups of which each fits in one transaction."""
    return (jobs[start : start + most] for start in range(0, len(jobs), most))
