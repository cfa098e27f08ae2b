"""Due jobs: what the sweeper does with them, and how the others make a job due whose message was not sent."""

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from jobchain.aws.items import FREE, REMOVED_WHEN_FINAL, UNFINISHED, job_key, read_job, unchanged
from jobchain.aws.meta import due_job_of, ended_by_another, settling, total_of, unsettled_bill
from jobchain.aws.records import visible_steps
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.usage import UsageRecord, write_with_usage
from jobchain.aws.writes import epoch, epoch_ms, update
from jobchain.domain import Clock, DueJob, JobError, Status
from jobchain.spending import Spending

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DueStore:
    """Reads due jobs and changes when jobs are due. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def due_jobs(self, shard: int, limit: int) -> tuple[list[DueJob], bool]:
        """Up to `limit` unfinished jobs of a shard (0 to `DUE_SHARDS` - 1) that are due, the oldest first.

        The second part of the answer tells whether the shard may have more.
        """
        now = epoch(self._clock())
        condition, values = "due_shard = :shard AND due_at <= :now", {":shard": shard, ":now": now}
        page, _ = next(self._table.index_pages("due", condition, values, limit))
        # The index may be a moment late, and holds only what never changes.
        metas = self._table.get_many([job_key(item["pk"].removeprefix("JOB#")) for item in page]) if page else []
        due = [meta for meta in metas if "due_at" in meta and meta["due_at"] <= now]
        return [due_job_of(meta) for meta in sorted(due, key=lambda meta: int(meta["due_at"]))], len(page) == limit

    def mark_due(self, event_id: str, at: datetime) -> None:
        """Makes a job that no worker holds due at this time, since its message could not be sent."""
        # Where a worker holds it, the message arrived after all.
        values = {**UNFINISHED, ":now": epoch_ms(self._clock())}
        with suppress(ConditionFailed):
            self._table.write(update(job_key(event_id), FREE, values, {"due_at": epoch(at)}))

    def postpone(self, due: DueJob, until: datetime, sends: int = 0) -> bool:
        """Makes a due job due again at `until`, and counts `sends` messages. False where the job has changed."""
        added = {"sends": sends} if sends else {}
        changes = {"due_at": epoch(until)}
        later = update(job_key(due.event_id), *unchanged(due.token), changes, added=added)
        try:
            self._table.write(later)
        except ConditionFailed:
            return False
        return True

    def fail_stalled(self, due: DueJob, error: JobError) -> dict[str, Spending] | None:
        """Fails a due job that no worker holds, and whose last worker stored no step. None where it does not.

        Gives what was recorded of the spending of workers that vanished, by model.
        """
        now = self._clock()
        job = read_job(self._table, due.event_id, "ATTEMPT", "STEP$")
        if job is None or job.meta.get("token", "") != due.token:
            return None
        if any(item.get("claim") == job.meta["claim"] for item in visible_steps(job)):
            return None
        meta = job.meta
        bill = unsettled_bill(job)
        changes = ended_by_another(job, Status.FAILED, now, error)
        if bill:
            changes |= settling(meta, int(meta["claim"]), bill)
        end = update(job_key(due.event_id), *unchanged(due.token), changes, REMOVED_WHEN_FINAL, total_of(bill))
        record = UsageRecord(ended=Status.FAILED, spent=bill)
        try:
            write_with_usage(self._table, end, record, due.tenant, meta.get("key_id", ""), now)
        except ConditionFailed:
            return None
        return bill
