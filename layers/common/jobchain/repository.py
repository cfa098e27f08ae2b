"""The table of jobs. This module is its only writer; each change of state is one conditional write.

A job is several items under one partition key, so that a change of status never rewrites a long text:
META (small: status, claim, times, totals, error), INPUT and METADATA (the caller's, written once) and one
STEP#… for each finished step. The index `due` holds every unfinished job, by the time at which somebody must look at
it again.
"""

import json
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from jobchain.errors import (
    ClaimLost,
    JobchainError,
    JobExists,
    JobIsFinal,
    JobIsNotFinal,
    JobNotFound,
    NotYet,
    Unavailable,
)
from jobchain.model import (
    NOTHING_SPENT,
    Claim,
    Clock,
    DueJob,
    FinishedStep,
    Job,
    JobError,
    NewJob,
    Spending,
    Status,
    Usage,
    isoformat,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Item = dict[str, Any]
R = TypeVar("R")

DUE_SHARDS = 8
"""Partitions of the index `due`, so that its writes are not all one partition's."""

DISPATCH_GRACE = timedelta(minutes=5)
"""How long a job may wait for a worker after its message was sent before somebody must look at it."""

# What a job's status has to be, as conditions and their values.
_PROCESSING: Item = {":processing": Status.PROCESSING}
_UNFINISHED: Item = {":pending": Status.PENDING, **_PROCESSING}
# Nobody holds it. One whose worker died still says "processing", with a dead lease.
_FREE = "#status = :pending OR (#status = :processing AND lease_until < :now)"

_LEFT_WHEN_FINAL = ("due_shard", "due_at", "lease_until", "not_before", "cancel_requested")

_MOVE_TRIES = 5

# DynamoDB refuses a transaction that meets another one at once; it rarely happens twice.
_CONFLICT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class JobRepository:
    """Creates, reads and moves jobs. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    # --- the caller's side ---------------------------------------------------------------------

    def create(self, new: NewJob, retention: timedelta) -> Job:
        """Stores a pending job, due after `DISPATCH_GRACE` in case that its message is never sent.

        Raises JobExists, with the job that is stored, where the id is taken.
        """
        now = self._clock()
        meta, *written_once = _new_items(new, now, expires_at=_epoch(now + retention))
        try:
            reasons = self._transact([self._put_new(meta), *(self._put(item) for item in written_once)])
        except Unavailable:
            # The answer may be lost and the job be stored all the same: then it is accepted.
            stored = self._query(new.event_id, first="META", last="METADATA")
            if not stored or stored[0]["fingerprint"] != new.fingerprint:
                raise
            return _job(stored)
        if reasons:
            meta = _from_item(reasons[0]["Item"])
            raise JobExists(_job([meta]), meta["fingerprint"])
        return _job([meta, *written_once])

    def get(self, tenant: str, event_id: str) -> Job:
        """The tenant's job with its finished steps, without its input. Raises JobNotFound."""
        items = self._query(event_id, first="META", last="STEP$")
        if not items or items[0]["sk"] != "META" or items[0]["tenant"] != tenant:
            raise JobNotFound(f"there is no job {event_id}")
        return _job(items)

    def mark_due(self, event_id: str, at: datetime) -> None:
        """Has the next look at a job that no worker holds fall due at this time, since it could not be sent."""
        # Where a worker holds it, the message arrived after all.
        values = {**_UNFINISHED, ":now": _epoch_ms(self._clock())}
        with suppress(_ConditionFailed):
            self._change(event_id, _FREE, values, {"due_at": _epoch(at)})

    def cancel(self, tenant: str, event_id: str) -> Job:
        """Ends a job at once that no worker holds; has the worker of any other end it before its next step.

        Raises JobNotFound, and JobIsFinal where it has ended already.
        """
        now = self._clock()
        ended = {"status": Status.CANCELLED, "finished_at": isoformat(now), "updated_at": isoformat(now)}
        requested = {"cancel_requested": True, "updated_at": isoformat(now)}

        def change(job: Job) -> None:
            if job.status.final:
                raise JobIsFinal(f"job {event_id} is {job.status} already")
            try:
                self._change(event_id, _FREE, {**_UNFINISHED, ":now": _epoch_ms(now)}, ended, _LEFT_WHEN_FINAL)
            except _ConditionFailed:
                self._change(event_id, "#status = :processing", _PROCESSING, requested)

        return self._move(tenant, event_id, change)

    def retry(self, tenant: str, event_id: str) -> Job:
        """Makes a failed or cancelled job pending again, with its finished steps; its tries are counted anew.

        Raises JobNotFound, JobIsNotFinal where it has not ended, and JobIsFinal where it has completed.
        """
        now = self._clock()
        pending = {
            "status": Status.PENDING,
            "updated_at": isoformat(now),
            "due_shard": _due_shard(event_id),
            "due_at": _epoch(now + DISPATCH_GRACE),
            "dispatches": 1,
            "stalls": 0,
            "tries": {},
        }

        def change(job: Job) -> None:
            if job.status is Status.COMPLETED:
                raise JobIsFinal(f"job {event_id} is completed: there is nothing to retry")
            if not job.status.final:
                raise JobIsNotFinal(f"job {event_id} is {job.status}: it is being run already")
            self._change(event_id, "#status = :was", {":was": job.status}, pending, ("error", "finished_at"))

        return self._move(tenant, event_id, change)

    def delete(self, tenant: str, event_id: str) -> None:
        """Erases a final job and all that it stored. Raises JobNotFound, and JobIsNotFinal."""

        def change(job: Job) -> None:
            if not job.status.final:
                raise JobIsNotFinal(f"job {event_id} is {job.status}: cancel it first")
            items = self._query(event_id, "INPUT", "STEP$")
            others = [_key(event_id, item["sk"]) for item in items if item["sk"] != "META"]
            delete_meta: Any = {
                "TableName": self._table,
                "Key": _to_item(_key(event_id, "META")),
                # Of the same claim too: a retry in between may have stored another step.
                "ConditionExpression": "#status = :was AND claim = :claim",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": _to_item({":was": job.status, ":claim": job.attempts}),
            }
            deletes: list[Any] = [{"Delete": {"TableName": self._table, "Key": _to_item(key)}} for key in others]
            if self._transact([{"Delete": delete_meta}, *deletes]):
                raise _ConditionFailed(None)

        self._move(tenant, event_id, change, read_back=False)

    def _move(self, tenant: str, event_id: str, change: Callable[[Job], None], *, read_back: bool = True) -> Job:
        """Reads the job and makes `change`, again where the job moved in between; gives the job after it."""
        for _ in range(_MOVE_TRIES):
            job = self.get(tenant, event_id)
            with suppress(_ConditionFailed):
                change(job)
                return self.get(tenant, event_id) if read_back else job
        raise Unavailable("the job moves too fast: try again")

    def ping(self) -> None:
        """Raises Unavailable where the table does not answer."""
        with _answering():
            self._client.get_item(TableName=self._table, Key=_to_item(_key("ping", "META")))

    # --- the worker's side ---------------------------------------------------------------------

    def claim(self, event_id: str, lease_until: datetime) -> Claim:
        """Takes a pending job, or one whose worker's lease has run out, until `lease_until`.

        Raises ClaimLost where another worker holds the job or it is final, NotYet where it is put off, JobNotFound
        where there is none.
        """
        now = self._clock()
        changes = {
            "status": Status.PROCESSING,
            "lease_until": _epoch_ms(lease_until),
            "due_at": _epoch(lease_until) + 1,
            "dispatches": 1,
            "started_at": _IfAbsent(isoformat(now)),
            "updated_at": isoformat(now),
        }
        condition = f"({_FREE}) AND (attribute_not_exists(not_before) OR not_before <= :now)"
        values = {**_UNFINISHED, ":now": _epoch_ms(now)}
        try:
            meta = self._change(event_id, condition, values, changes, ("not_before",), {"claim": 1, "stalls": 1})
        except _ConditionFailed as failed:
            if failed.item is None:
                raise JobNotFound(f"there is no job {event_id}") from None
            raise _refused(failed.item, now) from None
        return self._read_claim(event_id, int(meta["claim"]))

    def _read_claim(self, event_id: str, number: int) -> Claim:
        items = {item["sk"]: item for item in self._query(event_id, first="INPUT", last="STEP$")}
        meta = items["META"]
        if meta["claim"] != number:
            raise ClaimLost(f"job {event_id} was claimed by another worker")
        return Claim(
            event_id=event_id,
            tenant=meta["tenant"],
            job_name=meta["job_name"],
            number=number,
            payload=json.loads(items["INPUT"]["payload"]),
            expires_at=int(meta["expires_at"]),
            tries={name: int(count) for name, count in meta["tries"].items()},
            steps=tuple(_step(item) for sk, item in items.items() if sk.startswith("STEP#")),
        )

    def is_cancel_requested(self, claim: Claim) -> bool:
        """Whether the job's worker is asked to end it. Raises ClaimLost where that is not the holder of `claim`."""
        with _answering():
            answer = self._client.get_item(
                TableName=self._table,
                Key=_to_item(_key(claim.event_id, "META")),
                ConsistentRead=True,
                ProjectionExpression="claim, cancel_requested",
            )
        meta = _from_item(answer.get("Item", {}))
        if meta.get("claim") != claim.number:
            raise ClaimLost(f"job {claim.event_id} was claimed by another worker")
        return "cancel_requested" in meta

    def save_step(self, claim: Claim, position: int, step: FinishedStep) -> None:
        """Stores a finished step, the `position`th of its chain, and counts what it took.

        Raises ClaimLost where the claim is not the job's last one any more.
        """
        item = {
            **_key(claim.event_id, f"STEP#{position:02}#{step.name}"),
            "output": _dump(step.output),
            "model": step.model,
            "prompt_version": step.prompt_version,
            "started_at": step.started_at,
            "finished_at": step.finished_at,
            **_totals(step.spending),
            "expires_at": claim.expires_at,
        }
        progress = {"updated_at": step.finished_at, "stalls": 0}
        fence = self._fenced(claim, progress, spent=step.spending)
        reasons = self._transact([{"Update": fence}, self._put_new(item)])
        # Where only the step stands there already, it is our own write, whose answer was lost on its way.
        if reasons and reasons[0].get("Code") == "ConditionalCheckFailed":
            raise ClaimLost(f"job {claim.event_id} was claimed by another worker")

    def finish(self, claim: Claim) -> None:
        """Completes the job. Raises ClaimLost."""
        self._end(claim, Status.COMPLETED)

    def fail(self, claim: Claim, error: JobError, spent: Spending = NOTHING_SPENT) -> None:
        """Ends the job with an error; `spent` is what was used since the last stored step. Raises ClaimLost."""
        self._end(claim, Status.FAILED, spent, error=_error_item(error))

    def end_cancelled(self, claim: Claim) -> None:
        """Ends the job as its caller asked for. Raises ClaimLost."""
        self._end(claim, Status.CANCELLED)

    def _end(self, claim: Claim, status: Status, spent: Spending = NOTHING_SPENT, **attributes: object) -> None:
        now = isoformat(self._clock())
        changes = {"status": status, "finished_at": now, "updated_at": now, **attributes}
        self._change_fenced(claim, changes, _LEFT_WHEN_FINAL, spent)

    def release(self, claim: Claim, wait: timedelta, tries: Mapping[str, int], spent: Spending = NOTHING_SPENT) -> bool:
        """Gives the job back as pending, which no worker can claim before `wait` is over.

        It falls due `DISPATCH_GRACE` after that. `tries` are the failed tries of each step so far. False where the
        job's caller has asked to cancel it, which ends it instead. Raises ClaimLost.
        """
        now = self._clock()
        changes = {
            "status": Status.PENDING,
            "updated_at": isoformat(now),
            "due_at": _epoch(now + wait + DISPATCH_GRACE),
            "not_before": _epoch_ms(now + wait),
            "dispatches": 1,
            "stalls": 0,
            "tries": dict(tries),
        }
        update = self._fenced(claim, changes, ("lease_until",), spent)
        update["ConditionExpression"] += " AND attribute_not_exists(cancel_requested)"
        try:
            self._write(update)
        except _ConditionFailed as failed:
            if not (failed.item and "cancel_requested" in failed.item):
                raise ClaimLost(f"job {claim.event_id} was claimed by another worker") from None
            self._end(claim, Status.CANCELLED, spent)
            return False
        return True

    # --- the sweeper's side --------------------------------------------------------------------

    def due_jobs(self, shard: int, limit: int) -> list[DueJob]:
        """Up to `limit` unfinished jobs of a shard (0 to `DUE_SHARDS` - 1) whose time has come, the oldest first."""
        with _answering():
            answer = self._client.query(
                TableName=self._table,
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due_at <= :now",
                ExpressionAttributeValues=_to_item({":shard": shard, ":now": _epoch(self._clock())}),
                Limit=limit,
            )
        return [_due_job(_from_item(item)) for item in answer["Items"]]

    def postpone(self, due: DueJob, by: timedelta) -> bool:
        """Moves a due job's time on. False where somebody else has moved it, or the job."""
        changes = {"due_at": _epoch(self._clock() + by)}
        try:
            self._change(due.event_id, "due_at = :was", {":was": due.due_at}, changes, added={"dispatches": 1})
        except _ConditionFailed:
            return False
        return True

    def fail_stalled(self, due: DueJob, error: JobError) -> bool:
        """Fails a due job that no worker holds. False where the job has moved on."""
        now = self._clock()
        changes = {
            "status": Status.FAILED,
            "error": _error_item(error),
            "finished_at": isoformat(now),
            "updated_at": isoformat(now),
        }
        condition = f"due_at = :was AND ({_FREE})"
        values = {**_UNFINISHED, ":now": _epoch_ms(now), ":was": due.due_at}
        try:
            self._change(due.event_id, condition, values, changes, _LEFT_WHEN_FINAL)
        except _ConditionFailed:
            return False
        return True

    # --- how it is done ------------------------------------------------------------------------

    def _change_fenced(self, claim: Claim, changes: Item, removed: tuple[str, ...], spent: Spending) -> None:
        try:
            self._write(self._fenced(claim, changes, removed, spent))
        except _ConditionFailed:
            raise ClaimLost(f"job {claim.event_id} was claimed by another worker") from None

    def _fenced(
        self, claim: Claim, changes: Item, removed: tuple[str, ...] = (), spent: Spending = NOTHING_SPENT
    ) -> Any:
        """An update of META that only the holder of `claim` can make."""
        added = _totals(spent) if spent != NOTHING_SPENT else {}
        values = {":claimed": claim.number, **_PROCESSING}
        condition = "claim = :claimed AND #status = :processing"
        return self._update(claim.event_id, condition, values, changes, removed, added)

    def _change(
        self,
        event_id: str,
        condition: str,
        values: Item,
        changes: Item,
        removed: tuple[str, ...] = (),
        added: Item | None = None,
    ) -> Item:
        """Updates META where `condition` holds, and gives it as it is then. Raises _ConditionFailed."""
        return self._write(self._update(event_id, condition, values, changes, removed, added or {}))

    def _write(self, update: Any) -> Item:
        try:
            return _past_conflicts(lambda: self._update_item(update))
        except _ConditionFailed as failed:
            # The answer to the first try was lost, and the SDK's second met our own write.
            if failed.item and _serialize(failed.item.get("token")) == update["ExpressionAttributeValues"][":token"]:
                return failed.item
            raise

    def _update_item(self, update: Any) -> Item:
        with _answering():
            return _from_item(self._client.update_item(**update, ReturnValues="ALL_NEW")["Attributes"])

    def _update(
        self, event_id: str, condition: str, values: Item, changes: Item, removed: tuple[str, ...], added: Item
    ) -> Any:
        """An update of META: `changes` are set, `removed` are removed, to `added` is added.

        Each has a token of its own, by which it knows itself again.
        """
        changes = {**changes, "token": str(uuid4())}
        names = {f"#{name}": name for name in (*changes, *removed)}
        if "#status" in condition:
            names["#status"] = "status"
        expression = "SET " + ", ".join(_assignment(name, value) for name, value in changes.items())
        if removed:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in removed)
        if added:
            expression += " ADD " + ", ".join(f"{name} :{name}" for name in added)
        new = {name: value.value if isinstance(value, _IfAbsent) else value for name, value in changes.items()}
        return {
            "TableName": self._table,
            "Key": _to_item(_key(event_id, "META")),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": _to_item({f":{name}": value for name, value in {**new, **added}.items()})
            | _to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _put(self, item: Item) -> Any:
        return {"Put": {"TableName": self._table, "Item": _to_item(item)}}

    def _put_new(self, item: Item) -> Any:
        write = self._put(item)
        write["Put"]["ConditionExpression"] = "attribute_not_exists(pk)"
        write["Put"]["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return write

    def _transact(self, writes: "list[TransactWriteItemTypeDef]") -> list[Item]:
        """Writes all or nothing. Where a condition failed: the reasons, one for each write; else nothing."""
        return _past_conflicts(lambda: self._transact_once(writes))

    def _transact_once(self, writes: "list[TransactWriteItemTypeDef]") -> list[Item]:
        try:
            # botocore adds a ClientRequestToken, so that its own retries can't meet their own write.
            self._client.transact_write_items(TransactItems=writes)
        except BotoCoreError as error:
            raise Unavailable("the table does not answer") from error
        except ClientError as error:
            reasons: list[Item] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
            codes = {reason.get("Code") for reason in reasons}
            if "ConditionalCheckFailed" in codes:
                return reasons
            if "TransactionConflict" in codes:
                raise _ConflictError("the table is busy with the same job") from error
            raise _unavailable(error, codes) from error
        return []

    def _query(self, event_id: str, first: str, last: str) -> list[Item]:
        """The job's items from sort key `first` to `last`, in order."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=_to_item({":pk": f"JOB#{event_id}", ":first": first, ":last": last}),
        )
        with _answering():
            found = [_from_item(item) for page in pages for item in page["Items"]]
        # TTL erases item by item, days late: what is left of an older job of the same id is not this job's.
        expires_at = {item["expires_at"] for item in found if item["sk"] == "META"}
        return [item for item in found if item["expires_at"] in expires_at]


@dataclass(frozen=True, slots=True)
class _IfAbsent:
    """A value that an attribute gets only where it has none."""

    value: object


class _ConflictError(Unavailable):
    """A write met a transaction on the same item."""


def _past_conflicts(write: Callable[[], R]) -> R:
    """What `write` gives, tried again for a second where it meets a transaction."""
    for pause in _CONFLICT_PAUSES_SECONDS:
        try:
            return write()
        except _ConflictError:
            # Writers that met once would meet again if they all waited for as long.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
    return write()


class _ConditionFailed(Exception):
    """A conditional write found another state; `item` is what it found."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("condition failed")
        self.item = item


def _assignment(name: str, value: object) -> str:
    return f"#{name} = if_not_exists(#{name}, :{name})" if isinstance(value, _IfAbsent) else f"#{name} = :{name}"


def _refused(meta: Item, now: datetime) -> JobchainError:
    """Why a job that stands so can't be claimed."""
    if meta["status"] == Status.PENDING:
        return NotYet(meta["tenant"], timedelta(milliseconds=int(meta["not_before"]) - _epoch_ms(now)))
    return ClaimLost(f"the job is {meta['status']}")


@contextmanager
def _answering() -> Iterator[None]:
    """Turns botocore's errors into ours."""
    try:
        yield
    except BotoCoreError as error:
        raise Unavailable("the table does not answer") from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "TransactionConflictException":
            raise _ConflictError("the table is busy with the same job") from error
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            found: Any = error.response.get("Item")
            raise _ConditionFailed(_from_item(found) if found else None) from error
        raise _unavailable(error) from error


def _unavailable(error: ClientError, reasons: Set[str | None] = frozenset()) -> Exception:
    """Unavailable, unless the request itself is at fault: then that is our bug, and is seen as one."""
    code = error.response["Error"]["Code"]
    if {code, *reasons} & {"ValidationException", "ValidationError", "ItemCollectionSizeLimitExceeded"}:
        return error
    return Unavailable(f"the table refuses for now ({code})")


def _new_items(new: NewJob, now: datetime, expires_at: int) -> Iterator[Item]:
    """The items of a pending job, META first."""
    yield {
        **_key(new.event_id, "META"),
        "tenant": new.tenant,
        "job_name": new.job_name,
        "status": Status.PENDING,
        "created_at": isoformat(now),
        "created_at_id": f"{isoformat(now)}#{new.event_id}",
        "updated_at": isoformat(now),
        "fingerprint": new.fingerprint,
        "claim": 0,
        "dispatches": 1,
        "stalls": 0,
        "tries": {},
        "due_shard": _due_shard(new.event_id),
        "due_at": _epoch(now + DISPATCH_GRACE),
        "expires_at": expires_at,
    }
    yield {**_key(new.event_id, "INPUT"), "payload": _dump(new.payload), "expires_at": expires_at}
    if new.metadata:
        yield {**_key(new.event_id, "METADATA"), "metadata": dict(new.metadata), "expires_at": expires_at}


def _key(event_id: str, sk: str) -> Item:
    return {"pk": f"JOB#{event_id}", "sk": sk}


def _due_shard(event_id: str) -> int:
    return zlib.crc32(event_id.encode()) % DUE_SHARDS


def _epoch(moment: datetime) -> int:
    """Whole seconds, as DynamoDB's TTL wants them."""
    return int(moment.timestamp())


def _epoch_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in values.items()}


def _from_item(item: Mapping[str, Any]) -> Item:
    return {name: _deserialize(value) for name, value in item.items()}


def _dump(value: object) -> str:
    """Compact JSON, with other scripts as they are: six times smaller than escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _totals(spending: Spending) -> Item:
    return {
        **asdict(spending.usage),
        "cost_usd": spending.known_cost_usd,
        "unpriced_calls": spending.unpriced_calls,
    }


def _error_item(error: JobError) -> Item:
    return {name: value for name, value in asdict(error).items() if value is not None}


def _due_job(item: Item) -> DueJob:
    return DueJob(
        event_id=item["pk"].removeprefix("JOB#"),
        tenant=item["tenant"],
        due_at=int(item["due_at"]),
        dispatches=int(item["dispatches"]),
        stalls=int(item["stalls"]),
    )


def _spending(item: Item) -> Spending:
    usage = Usage(**{name: int(item.get(name, 0)) for name in asdict(Usage())})
    return Spending(usage, item.get("cost_usd", Decimal(0)), int(item.get("unpriced_calls", 0)))


def _step(item: Item) -> FinishedStep:
    return FinishedStep(
        name=item["sk"].split("#", 2)[2],
        output=json.loads(item["output"]),
        model=item["model"],
        prompt_version=item["prompt_version"],
        started_at=item["started_at"],
        finished_at=item["finished_at"],
        spending=_spending(item),
    )


def _job(items: list[Item]) -> Job:
    """The job that `items` describe, META first."""
    meta, *others = items
    return Job(
        event_id=meta["pk"].removeprefix("JOB#"),
        tenant=meta["tenant"],
        job_name=meta["job_name"],
        status=Status(meta["status"]),
        created_at=meta["created_at"],
        updated_at=meta["updated_at"],
        started_at=meta.get("started_at"),
        finished_at=meta.get("finished_at"),
        attempts=int(meta["claim"]),
        spending=_spending(meta),
        error=JobError(**meta["error"]) if "error" in meta else None,
        metadata=next((item["metadata"] for item in others if item["sk"] == "METADATA"), {}),
        steps=tuple(_step(item) for item in others if item["sk"].startswith("STEP#")),
    )
