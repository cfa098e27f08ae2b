"""What a worker does with a job: claim it, store its steps, and end it or release it.

A claim raises the job's claim number. Every later write of the worker has the condition that the number is still its
own, so that a worker whose lease has expired is fenced off once another one has claimed the job:

    worker A   claim 1 ── calls the model ── lease expires ─────────────────── save_step: ClaimLost
    worker B                                                claim 2 ── calls the model ── save_step ── finish
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import (
    DISPATCH_GRACE,
    FREE,
    PROCESSING,
    REMOVED_WHEN_FINAL,
    UNFINISHED,
    error_item,
    job_key,
    read_items,
    spending_of,
    step_item,
    step_of,
    tier_of,
    totals,
)
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.usage import UsageRecord, write_with_usage
from jobchain.aws.writes import IfAbsent, Write, epoch, epoch_ms, epoch_ms_up, put_new, update
from jobchain.domain import NOTHING_SPENT, Claim, Clock, FinishedStep, JobError, Spending, Status, isoformat
from jobchain.errors import ClaimLost, JobchainError, JobNotFound, JobNotReady, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NOT_CANCELLED = " AND attribute_not_exists(cancel_requested)"


class ClaimStore:
    """Claims jobs and writes as a claim's holder. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def claim(self, event_id: str, lease_until: datetime) -> Claim:
        """Claims a pending job, or one whose worker's lease has expired, until `lease_until`.

        Raises ClaimLost where another worker holds the job or it is final, JobNotReady where its wait is not over, and
        JobNotFound where a consistent read finds none.
        """
        now = self._clock()
        changes = {
            "status": Status.PROCESSING,
            "lease_until": epoch_ms(lease_until),
            "due_at": epoch(lease_until) + 1,
            "dispatches": 1,
            "started_at": IfAbsent(isoformat(now)),
            "updated_at": isoformat(now),
        }
        condition = f"({FREE}) AND (attribute_not_exists(not_before) OR not_before <= :now)"
        values = {**UNFINISHED, ":now": epoch_ms(now)}
        counted = {"claim": 1, "stalls": 1}
        try:
            meta = self._table.write(update(job_key(event_id), condition, values, changes, ("not_before",), counted))
        except ConditionFailed as failed:
            if failed.item is not None:
                raise _refusal(failed.item, now) from None
            # The job's message is acknowledged for this, so it relies on a consistent read too.
            if self._table.get(job_key(event_id), "pk") is None:
                raise JobNotFound(f"there is no job {event_id}") from None
            raise Unavailable(f"job {event_id} was created while it was being claimed: try again") from None
        return self._read_claim(event_id, int(meta["claim"]))

    def _read_claim(self, event_id: str, number: int) -> Claim:
        items = {item["sk"]: item for item in read_items(self._table, event_id, first="INPUT", last="STEP$")}
        meta = items["META"]
        if meta["claim"] != number:
            raise _claim_lost(event_id)
        return Claim(
            event_id=event_id,
            tenant=meta["tenant"],
            job_name=meta["job_name"],
            number=number,
            payload=json.loads(items["INPUT"]["payload"]),
            expires_at=int(meta["expires_at"]),
            tries={name: int(count) for name, count in meta["tries"].items()},
            steps=tuple(step_of(item) for sk, item in items.items() if sk.startswith("STEP#")),
            spending=spending_of(meta),
            max_cost_usd=meta.get("max_cost_usd"),
            tier=tier_of(meta),
            flex_until=datetime.fromtimestamp(int(meta["flex_until"]), UTC) if "flex_until" in meta else None,
            cancel_requested="cancel_requested" in meta,
        )

    def save_step(self, claim: Claim, position: int, step: FinishedStep) -> bool:
        """Stores a completed step, the `position`th of its chain, and adds its usage to the job's and the day's.

        False where the job's caller has asked to cancel it meanwhile. Raises ClaimLost where the job has a later claim.
        """
        # The first try finds out whether the job is cancelled: a step that is paid for is stored either way.
        meta = self._try_step(claim, position, step, _NOT_CANCELLED)
        if meta is None:
            return True
        cancelled = meta.get("claim") == claim.number and "cancel_requested" in meta
        if cancelled and self._try_step(claim, position, step, "") is None:
            return False
        raise _claim_lost(claim.event_id)

    def _try_step(self, claim: Claim, position: int, step: FinishedStep, still: str) -> Item | None:
        """The META that does not allow the step, under the condition `still`; None where the step is stored."""
        now = self._clock()
        progress = {"updated_at": step.finished_at, "stalls": 0}
        fence = _fenced(claim, progress, spent=step.spending, still=still)
        # It replaces what TTL has left of an older job of the same id.
        item = step_item(claim.event_id, position, step, claim.expires_at)
        put = put_new(item, "expires_at <> :mine", {":mine": claim.expires_at})
        record = UsageRecord(spent=step.spending)
        try:
            self._table.transact(lambda: [fence, put, *record.writes(claim.tenant, now)])
        except TransactionCanceled as canceled:
            # Where only the step's own condition failed, this worker has stored it already, and the answer was lost.
            return canceled.found(fence)
        return None

    def finish(self, claim: Claim) -> None:
        """Completes the job. Raises ClaimLost."""
        self._end(claim, Status.COMPLETED)

    def fail(self, claim: Claim, error: JobError, spent: Spending = NOTHING_SPENT) -> None:
        """Ends the job with an error; `spent` is what was used since the last stored step. Raises ClaimLost."""
        self._end(claim, Status.FAILED, spent, error=error_item(error))

    def end_cancelled(self, claim: Claim) -> None:
        """Ends the job as its caller has asked. Raises ClaimLost."""
        self._end(claim, Status.CANCELLED)

    def _end(self, claim: Claim, status: Status, spent: Spending = NOTHING_SPENT, **attributes: object) -> None:
        now = self._clock()
        changes = {"status": status, "finished_at": isoformat(now), "updated_at": isoformat(now), **attributes}
        end = _fenced(claim, changes, REMOVED_WHEN_FINAL, spent)
        try:
            write_with_usage(self._table, end, UsageRecord(ended=status, spent=spent), claim.tenant, now)
        except ConditionFailed:
            raise _claim_lost(claim.event_id) from None

    def release(self, claim: Claim, wait: timedelta, tries: Mapping[str, int], spent: Spending = NOTHING_SPENT) -> bool:
        """Releases the job as pending; no worker can claim it before `wait` is over.

        It is due `DISPATCH_GRACE` after that. `tries` are the failed tries of each step so far. False where the
        job's caller has asked to cancel it, which ends it instead. Raises ClaimLost.
        """
        now = self._clock()
        changes = {
            "status": Status.PENDING,
            "updated_at": isoformat(now),
            "due_at": epoch(now + wait + DISPATCH_GRACE),
            "not_before": epoch_ms_up(now + wait),
            "dispatches": 1,
            "stalls": 0,
            "tries": dict(tries),
        }
        pending = _fenced(claim, changes, ("lease_until",), spent, _NOT_CANCELLED)
        try:
            write_with_usage(self._table, pending, UsageRecord(spent=spent), claim.tenant, now)
        except ConditionFailed as failed:
            if not (failed.item and "cancel_requested" in failed.item):
                raise _claim_lost(claim.event_id) from None
            self._end(claim, Status.CANCELLED, spent)
            return False
        return True


def _fenced(
    claim: Claim, changes: Item, removed: tuple[str, ...] = (), spent: Spending = NOTHING_SPENT, still: str = ""
) -> Write:
    """An update of META that only the holder of `claim` can make, where `still` holds too."""
    added = totals(spent) if spent != NOTHING_SPENT else {}
    values = {":claimed": claim.number, **PROCESSING}
    condition = "claim = :claimed AND #status = :processing" + still
    return update(job_key(claim.event_id), condition, values, changes, removed, added)


def _claim_lost(event_id: str) -> ClaimLost:
    return ClaimLost(f"job {event_id} was claimed by another worker")


def _refusal(meta: Item, now: datetime) -> JobchainError:
    """Why the job of this META cannot be claimed."""
    if meta["status"] == Status.PENDING:
        wait = timedelta(milliseconds=int(meta["not_before"]) - epoch_ms(now))
        return JobNotReady(meta["tenant"], tier_of(meta), wait)
    return ClaimLost(f"the job is {meta['status']}")
