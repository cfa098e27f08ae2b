"""Due jobs: what the sweeper does with them, and how the others make a job due whose message was not sent."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.decisions import decide_overdue
from jobchain.aws.items import FREE, PROCESSING, UNFINISHED, Due, job_key, read_job, unchanged
from jobchain.aws.meta import due_job_of, flex_due
from jobchain.aws.outbox import Announce, no_announcement
from jobchain.aws.records import visible_steps
from jobchain.aws.settling import EndedUnheld, end_unheld
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.writes import epoch, epoch_ms, epoch_ms_up, update
from jobchain.domain import Clock, JobError, Status
from jobchain.due_job import DueJob
from jobchain.outcomes import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
_MAX_READ = 100


class DueStore:
    """Reads due jobs and changes when jobs are due. Every method raises Unavailable where the table does not answer."""

    def __init__(
        self, client: "DynamoDBClient", table: str, clock: Clock, announce: Announce = no_announcement
    ) -> None:
        """`announce` sends the messages of the events of jobs that fail."""
        self._table = Table(client, table)
        self._clock = clock
        self._announce = announce

    def due_jobs(self, shard: int, limit: int, since: timedelta = timedelta(0)) -> tuple[list[DueJob], bool]:
        """Up to `limit` unfinished jobs of a shard of `Due` that are due `since` then or longer, the oldest first.

        The second part of the answer tells whether the shard may have more.
        """
        now = self._clock()
        condition, values = "due_shard = :shard AND due_at <= :then", {":shard": shard, ":then": epoch(now - since)}
        page, _ = next(self._table.index_pages("due", condition, values, limit))
        # The index may be a moment late, and holds only keys.
        due = [meta for meta in self._metas(page) if meta.get("due_shard") == shard and _is_due(meta, now - since)]
        due.sort(key=lambda meta: int(meta["due_at"]))
        return [due_job_of(meta, now) for meta in due], len(page) == limit

    def expired(self) -> Iterator[list[DueJob]]:
        """The unfinished jobs whose workers' leases have expired, in parts, by a scan of all unfinished jobs.

        A part may be empty.
        """
        now = self._clock()
        values = {**PROCESSING, ":now": epoch(now)}
        pages = self._table.scan_index(
            "unfinished",
            "#status = :processing AND due_at <= :now",
            values,
            ExpressionAttributeNames={"#status": "status"},
        )
        for page in pages:
            for start in range(0, max(len(page), 1), _MAX_READ):
                metas = self._metas(page[start : start + _MAX_READ])
                processing = (meta for meta in metas if meta["status"] == Status.PROCESSING and _is_due(meta, now))
                jobs = [due_job_of(meta, now) for meta in processing]
                yield [job for job in jobs if job.held_until and job.held_until < now]

    def _metas(self, entries: Sequence[Item]) -> list[Item]:
        """META of the jobs of entries of an index, by consistent reads."""
        keys = [job_key(entry["pk"].removeprefix("JOB#")) for entry in entries]
        return self._table.get_many(keys) if keys else []

    def mark_due(self, event_id: str, at: datetime) -> None:
        """Makes a job that no worker holds due at this time, since its message could not be sent.

        One that can't run before a later time stays due as it is.
        """
        # Where a worker holds it, the message arrived after all; and where it waits for a later time, a worker did.
        values = {**UNFINISHED, ":now": epoch_ms(self._clock()), ":at": epoch_ms_up(at)}
        free = f"({FREE}) AND (attribute_not_exists(not_before) OR not_before <= :at)"
        changes = {"due_shard": Due.UNSENT.shard(event_id), "due_at": epoch(at), "sends": 0}
        with suppress(ConditionFailed):
            self._table.write(update(job_key(event_id), free, values, changes))

    def postpone(self, due: DueJob, until: datetime, sends: int = 0) -> bool:
        """Makes a due job due again at `until`, and counts `sends` messages. False where the job has changed.

        One whose message was sent to the queue of flex jobs is due when it leaves that queue.
        """
        added = {"sends": sends} if sends else {}
        changes: Item = {"due_shard": Due.SENT.shard(due.event_id), "due_at": epoch(until)}
        if sends and due.flex_until:
            changes = flex_due(due.event_id, due.flex_until)
        later = update(job_key(due.event_id), *unchanged(due.token), changes, added=added)
        try:
            self._table.write(later)
        except ConditionFailed:
            return False
        return True

    def decide_overdue(self, due: DueJob) -> tuple[bool, Outcome | None]:
        """Decides the step for which a due job waits, as its chain says, where no decision has come in time.

        Whether it did, and the outcome of a job that fails by that and is no replay. It does not where the job has
        changed, or its time is not over.
        """
        try:
            outcome = decide_overdue(self._table, due.event_id, due.token, self._clock(), self._announce)
        except (ConditionFailed, TransactionCanceled):
            return False, None
        return True, outcome

    def fail_stalled(self, due: DueJob, error: JobError) -> EndedUnheld | None:
        """Fails a due job that no worker holds, and whose last worker stored no step.

        Gives what metrics are told; None where the job has changed, or its last worker stored a step.
        """
        now = self._clock()
        job = read_job(self._table, due.event_id, "ATTEMPT", "STEP$")
        if job is None or job.meta.get("token", "") != due.token:
            return None
        if any(item.get("claim") == job.meta["claim"] for item in visible_steps(job)):
            return None
        try:
            return end_unheld(self._table, job, Status.FAILED, now, self._announce, error)
        except ConditionFailed:
            return None


def _is_due(meta: Item, then: datetime) -> bool:
    return "due_at" in meta and int(meta["due_at"]) <= epoch(then)
