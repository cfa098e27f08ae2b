"""What callers do with stored jobs: read and list them, cancel, retry and delete them."""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import JsonValue

from jobchain.aws.about import prompts_of
from jobchain.aws.attributes import Item
from jobchain.aws.items import (
    MAX_WRITES,
    MOVE_TRIES,
    PROCESSING,
    StoredJob,
    job_key,
    read_job,
    unchanged,
)
from jobchain.aws.listing import ALL_JOBS, NO_REPLAY, JobFilter, entry_pages
from jobchain.aws.meta import budget_of, job_of, listed_job_of, payload_of, ready_now
from jobchain.aws.outbox import Announce, no_announcement
from jobchain.aws.quotas import QuotaCounter, Room, count_unfinished, quota_counters, remaining_quota
from jobchain.aws.records import attempt_of
from jobchain.aws.retrying import check_retry, is_waiting, pending_again
from jobchain.aws.settling import end_unheld, has_unsettled
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.texts import is_being_posted
from jobchain.aws.writes import delete, epoch_ms, key, put_new, update
from jobchain.domain import Attempt, Clock, Job, Status, isoformat
from jobchain.errors import JobIsFinal, JobIsNotFinal, JobNotFound, Unavailable
from jobchain.limits import MAX_COUNTED, NO_LIMITS, Limits
from jobchain.outcomes import CANCELLED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from jobchain.aws.history import HistoryPage
    from jobchain.chains.definition import Definition
    from jobchain.metrics import Meter, OutcomeMeter

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
_MAX_READ = 100

MAX_SEEN = 1000
"""The most jobs that are read for one page of a list: few may pass its filter."""

MAX_ATTEMPTS = 1000
"""The most failed calls of a job that are kept."""


@dataclass(frozen=True, slots=True)
class JobDetails:
    """A job with its payload, and the newest of its failed calls: up to `MAX_ATTEMPTS`, the oldest first.

    `definitions` are those of the versions of its chain that its steps and calls name. `prompts` are the job's own
    ones, by their steps.
    """

    job: Job
    payload: JsonValue
    attempts: list[Attempt]
    definitions: "Mapping[str, Definition]" = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)


class JobStore:
    """Reads and changes stored jobs for callers. Every method raises Unavailable where the table does not answer."""

    def __init__(
        self, client: "DynamoDBClient", table: str, clock: Clock, announce: Announce = no_announcement
    ) -> None:
        """`announce` sends the messages of the events of jobs that are cancelled."""
        self._table = Table(client, table)
        self._clock = clock
        self._announce = announce

    def get(self, tenant: str, event_id: str) -> Job:
        """The tenant's job with its completed steps, without its input. Raises JobNotFound."""
        return job_of(self._read(tenant, event_id))

    def details(self, tenant: str, event_id: str, *, attempts: bool = True, definitions: bool = False) -> JobDetails:
        """The same with its payload, and with its failed calls and the definitions of its chain if they are wanted.

        Raises JobNotFound.
        """
        stored = self._read(tenant, event_id, "ATTEMPT" if attempts else "INPUT")
        found = stored.of_kind("ATTEMPT")
        found.sort(key=lambda item: (int(item["claim"]), int(item["number"])))
        # Of a job that has expired, TTL may have erased the text first.
        payload = payload_of(stored) if stored.of_kind("INPUT") else None
        job, calls = job_of(stored), [attempt_of(item) for item in found[-MAX_ATTEMPTS:]]
        named = self._definitions(job, calls) if definitions else {}
        return JobDetails(job, payload, calls, named, prompts_of(stored))

    def _definitions(self, job: Job, attempts: Sequence[Attempt]) -> "Mapping[str, Definition]":
        # Imported at its first use: a new environment of the api starts without it.
        from jobchain.aws.versions import read_definitions  # noqa: PLC0415

        versions = {*(step.chain_version for step in job.steps), *(attempt.chain_version for attempt in attempts)}
        return read_definitions(self._table, sorted(versions - {""})[:_MAX_READ])

    def history(self, tenant: str, event_id: str, after: str | None, limit: int) -> "HistoryPage":
        """A page of the job's events, see `read_history`. Raises JobNotFound, InvalidRequest."""
        from jobchain.aws.history import read_history  # noqa: PLC0415

        return read_history(self._table, tenant, event_id, after, limit)

    def _read(self, tenant: str, event_id: str, first: str = "META") -> StoredJob:
        job = read_job(self._table, event_id, first)
        if job is None or job.meta["tenant"] != tenant:
            raise JobNotFound(f"there is no job {event_id}")
        return job

    def recent(
        self, tenant: str, limit: int, before: str | None = None, wanted: JobFilter = ALL_JOBS
    ) -> tuple[list[Job], str | None]:
        """Up to `limit` of the tenant's jobs, newest first, without steps and metadata; only those that are `wanted`.

        `before` is the position that the last page gave, and the second part of the answer that of the next page:
        None where there is none. A page may hold fewer jobs than `limit`, where few of many pass the filter.
        """
        jobs: list[Job] = []
        seen = 0
        for page_size, page, last in entry_pages(self._table, tenant, before, wanted, limit, MAX_SEEN):
            listed = self._listed([entry for entry in page if wanted.names(entry)])
            jobs += [job for job in listed if wanted.status in (None, job.status)]
            seen += page_size
            if len(jobs) > limit:
                return jobs[:limit], _position(jobs[limit - 1])
            if last and seen >= MAX_SEEN:
                return jobs, last["created_at_id"]
        return jobs, None

    def _listed(self, entries: Sequence[Item]) -> list[Job]:
        """The jobs of entries of the index `recent`. It tells how most jobs ended; of the others META is read."""
        ended = {entry["pk"]: listed_job_of(entry) for entry in entries}
        keys = [key(pk, "META") for pk, job in ended.items() if job is None]
        metas: dict[str, Item] = {}
        for start in range(0, len(keys), _MAX_READ):
            metas |= {meta["pk"]: meta for meta in self._table.get_many(keys[start : start + _MAX_READ])}
        # One that is not found was deleted a moment ago.
        running = {pk: job_of(StoredJob(meta)) for pk, meta in metas.items()}
        found = (ended[entry["pk"]] or running.get(entry["pk"]) for entry in entries)
        return [job for job in found if job]

    def completed(self, tenant: str, among: int) -> list[Job]:
        """Those of the tenant's newest `among` jobs that have completed, but for replays, newest first, as in lists."""
        pages = self._table.index_pages(
            "recent",
            "tenant = :tenant",
            {":tenant": tenant, ":completed": Status.COMPLETED},
            among,
            ScanIndexForward=False,
            FilterExpression=f"final_status = :completed AND {NO_REPLAY}",
        )
        entries, _ = next(pages)
        return [job for entry in entries if (job := listed_job_of(entry))]

    def unfinished(self, tenant: str, most: int = MAX_COUNTED) -> Counter[Status]:
        """How many of the tenant's jobs are pending and processing, as of a moment ago; not over `most` in all."""
        return count_unfinished(self._table, tenant, most)

    def cancel(
        self,
        tenant: str,
        event_id: str,
        meter: "Meter" = lambda *_: None,
        outcome_meter: "OutcomeMeter" = lambda _: None,
    ) -> Job:
        """Ends a job at once that no worker holds; makes the worker of any other end it before its next step.

        `meter` is told what is recorded of the spending of workers that vanished, and `outcome_meter` of a job that is
        ended at once and is no replay.
        Raises JobNotFound, and JobIsFinal where it has ended already.
        """

        def change(job: StoredJob) -> None:
            status = Status(job.meta["status"])
            if status.final:
                raise JobIsFinal(f"job {event_id} is {status} already")
            now = self._clock()
            if status is Status.PROCESSING and int(job.meta["lease_until"]) >= epoch_ms(now):
                requested = {"cancel_requested": True, "updated_at": isoformat(now)}
                self._table.write(update(job_key(event_id), "#status = :processing", PROCESSING, requested))
                return
            if has_unsettled(job.meta):
                seen = job.meta["token"]
                job = self._read(tenant, event_id, "ATTEMPT")
                if job.meta["token"] != seen:
                    raise ConditionFailed(job.meta)  # a worker has ended or claimed it in between: look again
            end = end_unheld(self._table, job, Status.CANCELLED, now, self._announce)
            # At once, as the caller may get no answer after this.
            for model, spending in end.spending.items():
                meter(job.meta["job_name"], model, spending)
            if not end.is_replay:
                outcome_meter(CANCELLED)

        return self._move(tenant, event_id, change)

    def retry(self, tenant: str, event_id: str, limits: Limits | None = NO_LIMITS) -> Job:
        """Makes a failed or cancelled job pending again, with its completed steps; its tries are counted from zero.

        From now on it has the daily budget of `limits`. A job that waits for a later time waits no longer: that takes
        no quota, and its tries stay. Without limits (None), an operator retries it: only a failed job, which keeps its
        budget, and takes no quota.

        Raises JobNotFound, JobIsNotFinal where it runs or waits for a worker, JobIsFinal where it has completed, and
        LimitReached where one of the limits leaves no quota.
        """
        now = self._clock()
        counters = quota_counters(limits, tenant, now) if limits is not None else []
        rooms = [counter.shares for counter in counters]

        def change(stored: StoredJob) -> None:
            job = job_of(stored)
            if limits is not None and is_waiting(stored.meta, now):
                ready, removed = ready_now(stored.meta, now)
                self._table.write(update(job_key(event_id), *unchanged(stored.meta.get("token", "")), ready, removed))
                return
            check_retry(job, now)
            if limits is None and job.status is Status.CANCELLED:
                raise JobIsFinal(f"job {event_id} was cancelled by its caller")
            budget = limits.daily_budget if limits is not None else budget_of(stored.meta)
            pending = pending_again(job, stored.meta, budget, now)
            admitted = [counter.admit(1, room) for counter, room in zip(counters, rooms, strict=True)]
            try:
                self._table.transact(lambda: [pending, *chain(*admitted)])
            except TransactionCanceled as canceled:
                for place, (counter, writes) in enumerate(zip(counters, admitted, strict=True)):
                    if any(canceled.found(write) is not None for write in writes):
                        rooms[place] = self._room(tenant, counter)
                raise

        return self._move(tenant, event_id, change)

    def _room(self, tenant: str, counter: QuotaCounter) -> Room:
        """The room for one job. Raises LimitReached where there is none."""
        room = remaining_quota(self._table, tenant, counter, 1)
        if not sum(room):
            raise counter.refusal() from None
        return room

    def delete(self, tenant: str, event_id: str) -> None:
        """Erases a final job and all that it stored. Raises JobNotFound, and JobIsNotFinal."""
        now = self._clock()

        def change(job: StoredJob) -> None:
            status = Status(job.meta["status"])
            if not status.final:
                raise JobIsNotFinal(f"job {event_id} is {status}: cancel it first")
            items = self._table.query(job.meta["pk"], "ATTEMPT", "STEP$")
            erased = [item["sk"] for item in items if item["sk"] != "META" and not is_being_posted(item, job.meta, now)]
            others = [delete(job_key(event_id, sk)) for sk in erased]
            # In the same state: a retry in between may have stored another step.
            meta = delete(job_key(event_id), *unchanged(job.meta.get("token", "")))
            self._table.transact(lambda: [meta, *others[:MAX_WRITES]])
            # No caller can find these any more, and where this ends in between the table's TTL erases them.
            for start in range(MAX_WRITES, len(others), MAX_WRITES):
                rest = others[start : start + MAX_WRITES]
                self._table.transact(lambda rest=rest: rest)  # type: ignore[misc]

        self._move(tenant, event_id, change, read_back=False)

    def _move(self, tenant: str, event_id: str, change: Callable[[StoredJob], None], *, read_back: bool = True) -> Job:
        """Reads the job and makes `change`, again where the job changed in between; gives the job after it."""
        for _ in range(MOVE_TRIES):
            job = self._read(tenant, event_id)
            with suppress(ConditionFailed, TransactionCanceled):
                change(job)
                return self.get(tenant, event_id) if read_back else job_of(job)
        raise Unavailable("the job changes too fast: try again")

    def cursor_secret(self) -> bytes:
        """The secret with which this deployment signs the cursors of its lists: made at the first call."""
        where = key("SECRET#cursors", "META")
        while (item := self._table.get(where)) is None:
            new = put_new({**where, "secret": secrets.token_hex(32)})
            with suppress(TransactionCanceled):
                self._table.transact(lambda new=new: [new])  # type: ignore[misc]
        return bytes.fromhex(item["secret"])


def _position(job: Job) -> str:
    """The job's position in the index `recent`."""
    return f"{job.created_at}#{job.event_id}"
