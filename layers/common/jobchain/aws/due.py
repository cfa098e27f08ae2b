"""Due jobs: what the sweeper does with them, and how the others make a job due whose message was not sent."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.items import FREE, REMOVED_WHEN_FINAL, UNFINISHED, due_job_of, error_item, job_key
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.usage import UsageRecord, write_with_usage
from jobchain.aws.writes import epoch, epoch_ms, update
from jobchain.domain import Clock, DueJob, JobError, Status, isoformat

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DueStore:
    """Reads due jobs and changes when jobs are due. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def due_jobs(self, shard: int, limit: int) -> list[DueJob]:
        """Up to `limit` unfinished jobs of a shard (0 to `DUE_SHARDS` - 1) that are due, the oldest first."""
        condition, values = "due_shard = :shard AND due_at <= :now", {":shard": shard, ":now": epoch(self._clock())}
        page, _ = next(self._table.index_pages("due", condition, values, limit))
        return [due_job_of(item) for item in page]

    def mark_due(self, event_id: str, at: datetime) -> None:
        """Makes a job that no worker holds due at this time, since its message could not be sent."""
        # Where a worker holds it, the message arrived after all.
        values = {**UNFINISHED, ":now": epoch_ms(self._clock())}
        with suppress(ConditionFailed):
            self._table.write(update(job_key(event_id), FREE, values, {"due_at": epoch(at)}))

    def postpone(self, due: DueJob, by: timedelta) -> bool:
        """Makes a due job due again after `by`. False where another sweeper has done so, or the job has changed."""
        changes = {"due_at": epoch(self._clock() + by)}
        later = update(job_key(due.event_id), "due_at = :was", {":was": due.due_at}, changes, added={"dispatches": 1})
        try:
            self._table.write(later)
        except ConditionFailed:
            return False
        return True

    def fail_stalled(self, due: DueJob, error: JobError) -> bool:
        """Fails a due job that no worker holds. False where the job has changed."""
        now = self._clock()
        changes = {
            "status": Status.FAILED,
            "error": error_item(error),
            "finished_at": isoformat(now),
            "updated_at": isoformat(now),
        }
        values = {**UNFINISHED, ":now": epoch_ms(now), ":was": due.due_at}
        end = update(job_key(due.event_id), f"due_at = :was AND ({FREE})", values, changes, REMOVED_WHEN_FINAL)
        try:
            write_with_usage(self._table, end, UsageRecord(ended=Status.FAILED), due.tenant, now)
        except ConditionFailed:
            return False
        return True
