"""What a worker does with a job: claim it, store its calls, and end it or release it.

A claim raises the job's claim number. Every change of META has the condition that the number is still the worker's own,
so that a worker whose lease has expired is fenced off once another one has claimed the job:

    worker A   claim 1 ── calls the model ── lease expires ───────────────────── stores step 1.1 ── finish: ClaimLost
    worker B                                                claim 2 ── calls the model ── stores step 2.1 ── finish

What A stores after the claim of B is not shown, as META names the steps that B found. It is billed nevertheless: B has
recorded an estimate of A's call, which A replaces when it finds that it has lost the job.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobchain.approvals import Approval
from jobchain.aws.attributes import Item
from jobchain.aws.claiming import AtRisk, Candidate, candidate_of, claim_of, claiming, refusal_of, risk_item, risk_of
from jobchain.aws.fencing import claim_lost, fenced, holds, record, settled_by, token, unused_version
from jobchain.aws.items import MOVE_TRIES, REMOVED_WHEN_FINAL, StoredJob, job_key, read_job
from jobchain.aws.late_reports import correction_of, late_report
from jobchain.aws.meta import ended, released, waiting_item
from jobchain.aws.outbox import Announce, no_announcement, outbox_of, outbox_of_wait
from jobchain.aws.parking import parked_item, parked_meta
from jobchain.aws.records import attempt_item, step_item
from jobchain.aws.settling import TRIES, bill_item, has_unsettled, total_of
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.usage import write_with_usage
from jobchain.aws.writes import epoch_ms_up, put
from jobchain.domain import Attempt, Claim, Clock, FinishedStep, JobError, Status, WaitingFor, isoformat
from jobchain.errors import JobNotFound, Unavailable
from jobchain.spending import Bill

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NO_BILL: Bill = MappingProxyType({})
"""The bill of a claim that made no call."""

_NOT_CANCELLED = " AND attribute_not_exists(cancel_requested)"


class ClaimStore:
    """Claims jobs and writes as a claim's holder. Every method raises Unavailable where the table does not answer."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        clock: Clock,
        announce: Announce = no_announcement,
        *,
        keep_answers: bool = True,
    ) -> None:
        """`announce` sends the messages of events. `keep_answers`: whether a failed call is stored with its text."""
        self._announce = announce
        self._table = Table(client, table)
        self._clock = clock
        self._keep_answers = keep_answers

    # --- claiming ----------------------------------------------------------------------------------

    def claim(
        self,
        event_id: str,
        lease_until: datetime,
        at_risk: AtRisk,
        admit: Callable[[Candidate], None] = lambda _: None,
        version: Callable[[str], str] = lambda _: "",
    ) -> Claim:
        """Claims a pending job, or one whose worker's lease has expired, until `lease_until`.

        `admit` is called with the job that was read, and raises an error where it must not be claimed now. `version`
        gives the worker's version of the chain of a name, empty where it has none.
        Raises ClaimLost where another worker holds the job or it is final, JobNotReady where its wait is not over, and
        JobNotFound where a consistent read finds none.
        """
        for _ in range(MOVE_TRIES):
            now = self._clock()
            job = self._read_free(event_id, now, "INPUT")
            admit(candidate_of(job, now))
            if has_unsettled(job.meta):
                # Failed calls may be long, and are needed for their costs alone.
                job = self._read_free(event_id, now, "ATTEMPT")
            risk, own = risk_of(job, at_risk), version(job.meta["job_name"])
            try:
                meta = self._table.write(claiming(job, now, lease_until, risk, own))
            except ConditionFailed:
                continue  # another writer changed the job after it was read
            return claim_of(job, int(meta["claim"]), now, risk, meta.get("version", ""))
        raise Unavailable(f"job {event_id} changes too fast: try again")

    def _read_free(self, event_id: str, now: datetime, first: str) -> StoredJob:
        """The job with its items from sort key `first` on. Raises the errors of `claim`."""
        job = read_job(self._table, event_id, first)
        # Of a job that has expired, TTL may have erased the text before the rest.
        if job is None or not job.of_kind("INPUT"):
            raise JobNotFound(f"there is no job {event_id}")
        if refusal := refusal_of(job.meta, now):
            raise refusal
        return job

    def check(self, claim: Claim) -> bool:
        """Whether the job's caller has asked to cancel it. Raises ClaimLost where the job has a later claim."""
        meta = self._table.get(job_key(claim.event_id), ("claim", "uid", "status", "cancel_requested"))
        if not holds(claim, meta):
            raise claim_lost(claim.event_id)
        return "cancel_requested" in (meta or {})

    # --- storing calls -----------------------------------------------------------------------------

    def save_step(self, claim: Claim, number: int, position: int, model: str, step: FinishedStep) -> None:
        """Stores a completed step, the `position`th of its chain, as the claim's record `number`, counted from 1.

        `model` is the one that was asked, empty for a step without a call.
        """
        self._table.put(step_item(claim, number, position, model, step))

    def save_attempt(self, claim: Claim, number: int, model: str, attempt: Attempt) -> None:
        """Stores a call that failed, as the claim's record `number`."""
        if not self._keep_answers:
            attempt = replace(attempt, answer=None)
        # The slot may hold an attempt of an earlier claim, never one of a later.
        self._table.put_unless_newer(attempt_item(claim, number, model, attempt), "claim")

    def settle(self, claim: Claim, bill: Bill) -> Bill:
        """Records the bill of the workers that vanished before this claim, and gives what was added. Raises ClaimLost.

        It must precede the claim's first call: so of several claims in a row that vanished only the first can have
        made calls that are not recorded.
        """
        if claim.unsettled is None:
            return NO_BILL
        now = self._clock()
        first = claim.unsettled.claim
        changes: Item = {
            "settled": claim.number - 1,
            "at_risk": risk_item(claim.at_risk),
            f"late.{first}": bill_item(bill, now),
        }
        still, values = " AND settled = :was", {":was": first - 1}
        write = fenced(claim, "settle", changes, claim.outdated, total_of(bill), still, values)
        try:
            write_with_usage(self._table, write, record(claim, bill), claim.tenant, claim.key_id, now)
        except ConditionFailed as failed:
            if failed.item is None or not holds(claim, failed.item):
                raise claim_lost(claim.event_id) from None
            if str(first) in failed.item["late"]:
                return bill  # it was made before, its answer was lost, and a cancel has changed META since
        else:
            return bill
        # The first worker was only slow, and has recorded its bill itself. Those after it have made no calls: so their
        # claims are settled too, or a later one would mix them up with this one.
        try:
            changes = {"settled": claim.number - 1, "at_risk": risk_item(claim.at_risk)}
            self._table.write(fenced(claim, "settled", changes))
        except ConditionFailed:
            raise claim_lost(claim.event_id) from None
        return NO_BILL

    # --- ending ------------------------------------------------------------------------------------

    def finish(self, claim: Claim, bill: Bill = NO_BILL) -> None:
        """Completes the job, and records the claim's `bill`. Raises ClaimLost."""
        self._end(claim, Status.COMPLETED, bill)

    def fail(self, claim: Claim, error: JobError, bill: Bill = NO_BILL) -> None:
        """Ends the job with an error, and records the claim's `bill`. Raises ClaimLost."""
        self._end(claim, Status.FAILED, bill, error)

    def end_cancelled(self, claim: Claim, bill: Bill = NO_BILL) -> None:
        """Ends the job as its caller has asked, and records the claim's `bill`. Raises ClaimLost."""
        self._end(claim, Status.CANCELLED, bill)

    def _end(self, claim: Claim, status: Status, bill: Bill, error: JobError | None = None) -> None:
        now = self._clock()
        changes = {**ended(status, now, claim.number, claim.started_at, error), **settled_by(claim)}
        end = fenced(claim, "end", changes, (*REMOVED_WHEN_FINAL, *unused_version(claim)), total_of(bill))
        added = record(claim, bill, status)
        outbox = outbox_of(claim.notification, claim.tenant, status, now, error)
        try:
            write_with_usage(self._table, end, added, claim.tenant, claim.key_id, now, beside=outbox.writes)
        except ConditionFailed:
            raise claim_lost(claim.event_id) from None
        self._announce(outbox.keys)

    def release(
        self,
        claim: Claim,
        wait: timedelta,
        tries: Mapping[str, int],
        bill: Bill,
        waiting: WaitingFor | None = None,
        parked: Approval | None = None,
    ) -> bool:
        """Releases the job as pending, and records the claim's `bill`; no worker can claim it before `wait` is over.

        Its holder sends its message with that delay, if the queue can delay it so long; else the sweeper does, when the
        wait is over. `tries` are the failed tries of each step so far, `waiting` says why it
        waits. With a `parked` step, that is stored with the release, and no worker can claim the job before the step is
        decided. False where the job's caller has asked to cancel it, which ends it instead. Raises ClaimLost.
        """
        now = self._clock()
        changes = {
            "status": Status.PENDING,
            "updated_at": isoformat(now),
            **(parked_meta(claim, now + wait) if parked else released(claim, now, wait)),
            "not_before": epoch_ms_up(now + wait),
            "crashes": 0,
            "tries": dict(tries),
            **settled_by(claim),
            **({"waiting_for": waiting_item(waiting)} if waiting else {}),
        }
        removed = ("lease_until", "at_risk", *unused_version(claim))
        pending = fenced(claim, "release", changes, removed, total_of(bill), _NOT_CANCELLED)
        told = outbox_of_wait(claim, waiting, now)
        beside = [*([put(parked_item(claim, parked))] if parked else []), *told.writes]
        try:
            write_with_usage(self._table, pending, record(claim, bill), claim.tenant, claim.key_id, now, beside=beside)
        except ConditionFailed as failed:
            item = failed.item or {}
            # An earlier try may have ended it, and its answer was lost.
            was_ended = item.get("token") == token(claim, "end")
            if not (was_ended or "cancel_requested" in item):
                raise claim_lost(claim.event_id) from None
            self._end(claim, Status.CANCELLED, bill)
            return False
        self._announce(told.keys)
        return True

    # --- having lost the job -----------------------------------------------------------------------

    def report_late(self, claim: Claim, bill: Bill) -> Bill:
        """Records the bill of a worker that has lost the job, in place of what others have recorded for it.

        Gives what was added, by model, which is negative where the estimate was higher.
        """
        for _ in range(MOVE_TRIES):
            now = self._clock()
            meta = self._table.get(job_key(claim.event_id))
            if meta and meta.get("uid", "") == claim.uid and meta.get("billed") == claim.number:
                return bill  # its release or its end was made, the answer was lost, and the job has changed since
            correction = correction_of(claim, meta, bill) if meta else None
            if correction is None:
                return NO_BILL
            added = record(claim, correction.added)
            try:
                report, day = late_report(claim, correction), correction.recorded_at or now
                write_with_usage(self._table, report, added, claim.tenant, claim.key_id, day, TRIES)
            except ConditionFailed:
                continue
            return correction.added
        raise Unavailable(f"job {claim.event_id} changes too fast: try again")
