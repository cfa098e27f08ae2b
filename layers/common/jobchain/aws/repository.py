"""The table of jobs. This module is its only writer; each change of state is one conditional write.

A job is several items under one partition key, so that a change of status never rewrites a long text:
META (small: status, claim, times, totals, error), INPUT and METADATA (the caller's, written once) and one
STEP#… for each finished step. The index `due` holds every unfinished job, by the time at which somebody must look at
it again.
"""

import json
import secrets
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from jobchain.aws.quotas import Gate
from jobchain.aws.table import ConditionFailed, IfAbsent, Item, Table, dump, epoch, epoch_ms, key
from jobchain.aws.usage import Booking, Day, read_day, spending_of, totals
from jobchain.domain import (
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
    Tier,
    isoformat,
)
from jobchain.errors import (
    ClaimLost,
    JobchainError,
    JobExists,
    JobIsFinal,
    JobIsNotFinal,
    JobNotFound,
    LimitReached,
    NotYet,
    Unavailable,
)
from jobchain.model_check import ModelCheck, read_check, write_check

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Outcome = Job | JobExists | LimitReached | Unavailable
"""What becomes of a job that is to be stored: the job, or why it is not."""

DUE_SHARDS = 8
"""Partitions of the index `due`, so that its writes are not all one partition's."""

DISPATCH_GRACE = timedelta(minutes=5)
"""How long a job may wait for a worker after its message was sent before somebody must look at it."""

# What a job's status has to be, as conditions and their values.
_PROCESSING: Item = {":processing": Status.PROCESSING}
_UNFINISHED: Item = {":pending": Status.PENDING, **_PROCESSING}
# Nobody holds it. One whose worker died still says "processing", with a dead lease.
_FREE = "#status = :pending OR (#status = :processing AND lease_until < :now)"

_NOT_CANCELLED = " AND attribute_not_exists(cancel_requested)"
_LEFT_WHEN_FINAL = ("due_shard", "due_at", "lease_until", "not_before", "cancel_requested")

_MOVE_TRIES = 5

# A retried job may wait for its model for half a day at a time.
_LEFT_FOR_A_RETRY = timedelta(days=3)

MAX_COUNTED = 10_000
"""The most unfinished jobs of a tenant that are counted."""

# What a transaction may hold: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
# One of the writes is the booking; the rest of the 4 MB is for what the wire adds.
_MAX_WRITES = 99
_MAX_BYTES = 3_500_000

# The most jobs that one page of a list looks at: few may pass its filter.
_MAX_SEEN = 1000


class JobRepository:
    """Creates, reads and moves jobs. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    # --- the caller's side ---------------------------------------------------------------------

    def create(self, new: NewJob, retention: timedelta) -> Job:
        """Stores a pending job, due after `DISPATCH_GRACE` in case that its message is never sent.

        Raises JobExists, with the job that is stored, where the id is taken.
        """
        (outcome,) = self.create_many([new], retention)
        if isinstance(outcome, JobchainError):
            raise outcome
        return outcome

    def create_many(self, jobs: Sequence[NewJob], retention: timedelta, gates: Sequence[Gate] = ()) -> list[Outcome]:
        """The same for many jobs of one tenant, in as few transactions as they fit in; no id may come twice.

        Gives what became of each, in order: one that can't be stored harms no other. `gates` let the first ones pass,
        as many as there is room for.
        """
        now = self._clock()
        items = {new.event_id: list(_new_items(new, now, epoch(now + retention))) for new in jobs}
        outcomes: dict[str, Outcome] = {}
        silent: Unavailable | None = None
        for chunk in _chunks(jobs, items, most=_MAX_WRITES - len(gates)):
            # Once the table stores none of a part, nobody shall wait for it part after part.
            found = {new.event_id: silent for new in chunk} if silent else self._create_chunk(chunk, items, gates, now)
            errors = [outcome for outcome in found.values() if isinstance(outcome, Unavailable)]
            silent = errors[0] if len(errors) == len(chunk) else None
            outcomes |= found
        return [outcomes[new.event_id] for new in jobs]

    def _create_chunk(
        self, jobs: Sequence[NewJob], items: Mapping[str, list[Item]], gates: Sequence[Gate], now: datetime
    ) -> dict[str, Outcome]:
        """What became of jobs that fit in one transaction."""
        wanted = list(jobs)
        outcomes: dict[str, Outcome] = {}
        rooms = [gate.most for gate in gates]
        for _ in range(_MOVE_TRIES):
            for gate, room in zip(gates, rooms, strict=True):
                outcomes |= {new.event_id: gate.refusal() for new in wanted[room:]}
                wanted = wanted[:room]
            if not wanted:
                return outcomes
            try:
                found = self._create_all(wanted, items, gates, now)
                if found is None:
                    return outcomes | {new.event_id: _job(items[new.event_id]) for new in wanted}
                # What keeps one from being stored has kept all: those whose ids are taken, then those without room.
                taken = {new.event_id: _exists(meta) for new, meta in zip(wanted, found, strict=False) if meta}
                outcomes |= taken
                if not taken:
                    tenant, stood = wanted[0].tenant, found[len(wanted) :]
                    rooms = [self._room(tenant, *gate) for gate in zip(gates, stood, strict=False)]
            except Unavailable as error:
                return outcomes | self._stored_or(error, wanted, now)
            wanted = [new for new in wanted if new.event_id not in taken]
        # Others were always faster to take what room there was.
        refusal = gates[-1].refusal() if gates else Unavailable("too much at once: try again")
        return outcomes | {new.event_id: refusal for new in wanted}

    def _create_all(
        self, jobs: Sequence[NewJob], items: Mapping[str, list[Item]], gates: Sequence[Gate], now: datetime
    ) -> list[Item | None] | None:
        """Stores all of the jobs or none: then gives what was in the way of each, and after those of each gate."""
        metas = [self._table.put_new(items[new.event_id][0]) for new in jobs]
        others = [self._table.put(item) for new in jobs for item in items[new.event_id][1:]]
        passed = [gate.write(self._table, len(jobs)) for gate in gates]
        booking = Booking(created=len(jobs))
        return self._table.transact(
            lambda: [*metas, *passed, *others, *booking.write(self._table, jobs[0].tenant, now)]
        )

    def _room(self, tenant: str, gate: Gate, found: Item | None) -> int:
        """How many jobs may pass a gate, which was `found` in the way of some; None: it was not."""
        if found is None:
            return gate.most
        if not gate.recounted:
            return max(0, gate.most - int(found["taken"]))
        used = self.unfinished(tenant, gate.most).total()
        # By its token, as others may have let go of as many as they have taken since.
        with suppress(ConditionFailed):
            self._table.change(gate.key, "#token = :seen", {":seen": found["token"]}, {"taken": used})
        return max(0, gate.most - used)

    def _stored_or(self, error: Unavailable, wanted: Sequence[NewJob], now: datetime) -> dict[str, Outcome]:
        """For each job itself, where it is stored all the same, as only the answer was lost; else the error.

        One that is stored since another moment is another request's.
        """
        outcomes: dict[str, Outcome] = {new.event_id: error for new in wanted}
        with suppress(Unavailable):
            stored = self.find_many(list(outcomes))
            for new in wanted:
                if exists := stored.get(new.event_id):
                    ours = exists.fingerprint == new.fingerprint and exists.job.created_at == isoformat(now)
                    outcomes[new.event_id] = exists.job if ours else exists
        return outcomes

    def find_many(self, event_ids: Sequence[str]) -> dict[str, JobExists]:
        """Those of up to 100 jobs that are stored already, by id."""
        metas = self._table.get_many([_key(event_id, "META") for event_id in event_ids])
        return {exists.job.event_id: exists for exists in map(_exists, metas)}

    def get(self, tenant: str, event_id: str) -> Job:
        """The tenant's job with its finished steps, without its input. Raises JobNotFound."""
        items = self._query(event_id, first="META", last="STEP$")
        if not items or items[0]["sk"] != "META" or items[0]["tenant"] != tenant:
            raise JobNotFound(f"there is no job {event_id}")
        return _job(items)

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
            jobs += [_job([meta]) for meta in page]
            seen += page_size
            if len(jobs) > limit:
                return jobs[:limit], _position(jobs[limit - 1])
            if last and seen >= _MAX_SEEN:
                return jobs, last["created_at_id"]
        return jobs, None

    def unfinished(self, tenant: str, most: int = MAX_COUNTED) -> Counter[Status]:
        """How many of the tenant's jobs are pending and processing, as it was a moment ago; not over `most` in all."""
        # Of thousands, only the numbers come back: those that the filter lets through, and all.
        counts = Counter[Status]()
        values = {":tenant": tenant, **_PROCESSING}
        names = {"#status": "status"}
        for processing, seen in self._table.count_index(
            "unfinished",
            "tenant = :tenant",
            values,
            most,
            FilterExpression="#status = :processing",
            ExpressionAttributeNames=names,
        ):
            counts += Counter({Status.PROCESSING: processing, Status.PENDING: seen - processing})
            if counts.total() >= most:
                break
        return counts

    def today(self, tenant: str) -> Day:
        """The tenant's books of this day (UTC) so far."""
        return read_day(self._table, tenant, self._clock())

    def mark_due(self, event_id: str, at: datetime) -> None:
        """Has the next look at a job that no worker holds fall due at this time, since it could not be sent."""
        # Where a worker holds it, the message arrived after all.
        values = {**_UNFINISHED, ":now": epoch_ms(self._clock())}
        with suppress(ConditionFailed):
            self._change(event_id, _FREE, values, {"due_at": epoch(at)})

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
                free = {**_UNFINISHED, ":now": epoch_ms(now)}
                update = self._table.update(_key(event_id, "META"), _FREE, free, ended, _LEFT_WHEN_FINAL)
                self._write_booked(update, tenant, Booking(ended=Status.CANCELLED))
            except ConditionFailed:
                self._change(event_id, "#status = :processing", _PROCESSING, requested)

        return self._move(tenant, event_id, change)

    def retry(self, tenant: str, event_id: str, gates: Sequence[Gate] = ()) -> Job:
        """Makes a failed or cancelled job pending again, with its finished steps; its tries are counted anew.

        Raises JobNotFound, JobIsNotFinal where it has not ended, JobIsFinal where it has completed, and LimitReached
        where one of the gates has no room.
        """
        now = self._clock()
        pending = {
            "status": Status.PENDING,
            "updated_at": isoformat(now),
            "due_shard": _due_shard(event_id),
            "due_at": epoch(now + DISPATCH_GRACE),
            "dispatches": 1,
            "stalls": 0,
            "tries": {},
        }

        def change(job: Job) -> None:
            if job.status is Status.COMPLETED:
                raise JobIsFinal(f"job {event_id} is completed: there is nothing to retry")
            if not job.status.final:
                raise JobIsNotFinal(f"job {event_id} is {job.status}: it is being run already")
            if job.expires_at < epoch(now + _LEFT_FOR_A_RETRY):
                raise JobIsFinal(f"job {event_id} is about to be erased: create it anew")
            flex = {"flex_until": epoch(now + job.flex_for)} if job.tier is Tier.FLEX else {}
            values, removed = {":was": job.status}, ("error", "finished_at")
            update = self._table.update(_key(event_id, "META"), "#status = :was", values, pending | flex, removed)
            found = self._table.transact(lambda: [{"Update": update}, *(gate.write(self._table, 1) for gate in gates)])
            for gate, item in zip(gates, (found or [])[1:], strict=False):
                if not self._room(tenant, gate, item):
                    raise gate.refusal()
            if found:
                raise ConditionFailed(found[0])

        return self._move(tenant, event_id, change)

    def delete(self, tenant: str, event_id: str) -> None:
        """Erases a final job and all that it stored. Raises JobNotFound, and JobIsNotFinal."""

        def change(job: Job) -> None:
            if not job.status.final:
                raise JobIsNotFinal(f"job {event_id} is {job.status}: cancel it first")
            items = self._query(event_id, "INPUT", "STEP$")
            others = [self._table.delete(_key(event_id, item["sk"])) for item in items if item["sk"] != "META"]
            # Of the same claim too: a retry in between may have stored another step.
            values = {":was": job.status, ":claim": job.attempts}
            meta = self._table.delete(_key(event_id, "META"), "#status = :was AND claim = :claim", values)
            if self._table.transact(lambda: [meta, *others[:_MAX_WRITES]]):
                raise ConditionFailed(None)
            # Nobody can find these any more, and where this ends in between the table's TTL erases them.
            for start in range(_MAX_WRITES, len(others), _MAX_WRITES):
                rest = others[start : start + _MAX_WRITES]
                self._table.transact(lambda rest=rest: rest)  # type: ignore[misc]

        self._move(tenant, event_id, change, read_back=False)

    def _move(self, tenant: str, event_id: str, change: Callable[[Job], None], *, read_back: bool = True) -> Job:
        """Reads the job and makes `change`, again where the job moved in between; gives the job after it."""
        for _ in range(_MOVE_TRIES):
            job = self.get(tenant, event_id)
            with suppress(ConditionFailed):
                change(job)
                return self.get(tenant, event_id) if read_back else job
        raise Unavailable("the job moves too fast: try again")

    def cursor_secret(self) -> bytes:
        """What this deployment signs the cursors of its lists with: made when it is first asked for."""
        where = key("SECRET#cursors", "META")
        while (item := self._table.get(where)) is None:
            new = {**where, "secret": secrets.token_hex(32)}
            self._table.transact(lambda new=new: [self._table.put_new(new)])  # type: ignore[misc]
        return bytes.fromhex(item["secret"])

    def ping(self) -> None:
        """Raises Unavailable where the table does not answer."""
        self._table.get(_key("ping", "META"))

    def model_check(self) -> ModelCheck | None:
        """What the last look at the model's server found; None before the first."""
        return read_check(self._table)

    # --- the worker's side ---------------------------------------------------------------------

    def claim(self, event_id: str, lease_until: datetime) -> Claim:
        """Takes a pending job, or one whose worker's lease has run out, until `lease_until`.

        Raises ClaimLost where another worker holds the job or it is final, NotYet where it is put off, and JobNotFound
        where a consistent read finds none.
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
        condition = f"({_FREE}) AND (attribute_not_exists(not_before) OR not_before <= :now)"
        values = {**_UNFINISHED, ":now": epoch_ms(now)}
        try:
            meta = self._change(event_id, condition, values, changes, ("not_before",), {"claim": 1, "stalls": 1})
        except ConditionFailed as failed:
            if failed.item is not None:
                raise _refused(failed.item, now) from None
            # The job's message is acknowledged for this, so it rests on a consistent read too.
            if self._table.get(_key(event_id, "META"), "pk") is None:
                raise JobNotFound(f"there is no job {event_id}") from None
            raise Unavailable(f"job {event_id} was created while it was being claimed: try again") from None
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
            spending=spending_of(meta),
            max_cost_usd=meta.get("max_cost_usd"),
            tier=_tier(meta),
            flex_until=datetime.fromtimestamp(int(meta["flex_until"]), UTC) if "flex_until" in meta else None,
            cancel_requested="cancel_requested" in meta,
        )

    def save_step(self, claim: Claim, position: int, step: FinishedStep) -> bool:
        """Stores a finished step, the `position`th of its chain, and counts what it took.

        False where the job's caller has asked to cancel it meanwhile. Raises ClaimLost where the claim is not the job's
        last one any more.
        """
        item = {
            **_key(claim.event_id, f"STEP#{position:03}#{step.name}"),
            "output": dump(step.output),
            "model": step.model,
            "prompt_version": step.prompt_version,
            "started_at": step.started_at,
            "finished_at": step.finished_at,
            **totals(step.spending),
            "expires_at": claim.expires_at,
        }
        progress = {"updated_at": step.finished_at, "stalls": 0}
        # What TTL has left of an older job of the same id makes way.
        put = self._table.put_new(item, "expires_at <> :mine", {":mine": claim.expires_at})
        booking = Booking(spent=step.spending)
        now = self._clock()

        def against(still: str) -> Item | None:
            """META, where it stands against the step; None where the step is stored."""
            fence = self._fenced(claim, progress, spent=step.spending, still=still)
            found = self._table.transact(
                lambda: [{"Update": fence}, put, *booking.write(self._table, claim.tenant, now)]
            )
            # Where only the step stands there already, it is our own write, whose answer was lost on its way.
            return found[0] if found else None

        # The first try tells by the way whether the job is cancelled: a step that is paid for is stored either way.
        if (meta := against(_NOT_CANCELLED)) is None:
            return True
        if meta.get("claim") == claim.number and "cancel_requested" in meta and against("") is None:
            return False
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
        update = self._fenced(claim, changes, _LEFT_WHEN_FINAL, spent)
        try:
            self._write_booked(update, claim.tenant, Booking(ended=status, spent=spent))
        except ConditionFailed:
            raise ClaimLost(f"job {claim.event_id} was claimed by another worker") from None

    def release(self, claim: Claim, wait: timedelta, tries: Mapping[str, int], spent: Spending = NOTHING_SPENT) -> bool:
        """Gives the job back as pending, which no worker can claim before `wait` is over.

        It falls due `DISPATCH_GRACE` after that. `tries` are the failed tries of each step so far. False where the
        job's caller has asked to cancel it, which ends it instead. Raises ClaimLost.
        """
        now = self._clock()
        changes = {
            "status": Status.PENDING,
            "updated_at": isoformat(now),
            "due_at": epoch(now + wait + DISPATCH_GRACE),
            "not_before": epoch_ms(now + wait),
            "dispatches": 1,
            "stalls": 0,
            "tries": dict(tries),
        }
        update = self._fenced(claim, changes, ("lease_until",), spent, _NOT_CANCELLED)
        try:
            self._write_booked(update, claim.tenant, Booking(spent=spent))
        except ConditionFailed as failed:
            if not (failed.item and "cancel_requested" in failed.item):
                raise ClaimLost(f"job {claim.event_id} was claimed by another worker") from None
            self._end(claim, Status.CANCELLED, spent)
            return False
        return True

    def save_model_check(self, check: ModelCheck) -> None:
        """Stores what a look at the model's server found, in place of what the one before did."""
        write_check(self._table, check)

    # --- the sweeper's side --------------------------------------------------------------------

    def due_jobs(self, shard: int, limit: int) -> list[DueJob]:
        """Up to `limit` unfinished jobs of a shard (0 to `DUE_SHARDS` - 1) whose time has come, the oldest first."""
        condition, values = "due_shard = :shard AND due_at <= :now", {":shard": shard, ":now": epoch(self._clock())}
        page, _ = next(self._table.index_pages("due", condition, values, limit))
        return [_due_job(item) for item in page]

    def postpone(self, due: DueJob, by: timedelta) -> bool:
        """Moves a due job's time on. False where somebody else has moved it, or the job."""
        changes = {"due_at": epoch(self._clock() + by)}
        try:
            self._change(due.event_id, "due_at = :was", {":was": due.due_at}, changes, added={"dispatches": 1})
        except ConditionFailed:
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
        values = {**_UNFINISHED, ":now": epoch_ms(now), ":was": due.due_at}
        try:
            update = self._table.update(_key(due.event_id, "META"), condition, values, changes, _LEFT_WHEN_FINAL)
            self._write_booked(update, due.tenant, Booking(ended=Status.FAILED))
        except ConditionFailed:
            return False
        return True

    # --- how it is done ------------------------------------------------------------------------

    def _fenced(
        self,
        claim: Claim,
        changes: Item,
        removed: tuple[str, ...] = (),
        spent: Spending = NOTHING_SPENT,
        still: str = "",
    ) -> Any:
        """An update of META that only the holder of `claim` can make, where `still` holds too."""
        added = totals(spent) if spent != NOTHING_SPENT else {}
        values = {":claimed": claim.number, **_PROCESSING}
        condition = "claim = :claimed AND #status = :processing" + still
        return self._table.update(_key(claim.event_id, "META"), condition, values, changes, removed, added)

    def _change(
        self,
        event_id: str,
        condition: str,
        values: Item,
        changes: Item,
        removed: tuple[str, ...] = (),
        added: Item | None = None,
    ) -> Item:
        """Updates META where `condition` holds, and gives it as it is then. Raises ConditionFailed."""
        return self._table.change(_key(event_id, "META"), condition, values, changes, removed, added)

    def _write_booked(self, update: Any, tenant: str, booking: Booking) -> None:
        """Makes an update of META together with its booking. Raises ConditionFailed."""
        if booking == Booking():
            self._table.write(update)
            return
        now = self._clock()
        found = self._table.transact(lambda: [{"Update": update}, *booking.write(self._table, tenant, now)])
        if found:
            raise ConditionFailed(found[0])

    def _query(self, event_id: str, first: str, last: str) -> list[Item]:
        """The job's items from sort key `first` to `last`, in order."""
        found = self._table.query(f"JOB#{event_id}", first, last)
        # TTL erases item by item, days late: what is left of an older job of the same id is not this job's.
        expires_at = {item["expires_at"] for item in found if item["sk"] == "META"}
        return [item for item in found if item["expires_at"] in expires_at]


def _exists(meta: Item) -> JobExists:
    return JobExists(_job([meta]), meta["fingerprint"])


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


def _refused(meta: Item, now: datetime) -> JobchainError:
    """Why a job that stands so can't be claimed."""
    if meta["status"] == Status.PENDING:
        return NotYet(meta["tenant"], _tier(meta), timedelta(milliseconds=int(meta["not_before"]) - epoch_ms(now)))
    return ClaimLost(f"the job is {meta['status']}")


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
        "due_at": epoch(now + DISPATCH_GRACE),
        "expires_at": expires_at,
        **({"max_cost_usd": new.max_cost_usd} if new.max_cost_usd is not None else {}),
        **_flex(new, now),
    }
    yield {**_key(new.event_id, "INPUT"), "payload": dump(new.payload), "expires_at": expires_at}
    if new.metadata:
        yield {**_key(new.event_id, "METADATA"), "metadata": dict(new.metadata), "expires_at": expires_at}


def _key(event_id: str, sk: str) -> Item:
    return key(f"JOB#{event_id}", sk)


def _flex(new: NewJob, now: datetime) -> Item:
    if new.tier is not Tier.FLEX:
        return {}
    seconds = int(new.flex_for.total_seconds())
    return {"tier": new.tier, "flex_seconds": seconds, "flex_until": epoch(now + new.flex_for)}


def _tier(item: Item) -> Tier:
    return Tier(item.get("tier", Tier.STANDARD))


def _position(job: Job) -> str:
    """Where the job stands in the index `recent`."""
    return f"{job.created_at}#{job.event_id}"


def _due_shard(event_id: str) -> int:
    return zlib.crc32(event_id.encode()) % DUE_SHARDS


def _error_item(error: JobError) -> Item:
    return {name: value for name, value in asdict(error).items() if value is not None}


def _due_job(item: Item) -> DueJob:
    return DueJob(
        event_id=item["pk"].removeprefix("JOB#"),
        tenant=item["tenant"],
        due_at=int(item["due_at"]),
        dispatches=int(item["dispatches"]),
        stalls=int(item["stalls"]),
        tier=_tier(item),
    )


def _step(item: Item) -> FinishedStep:
    return FinishedStep(
        name=item["sk"].split("#", 2)[2],
        output=json.loads(item["output"]),
        model=item["model"],
        prompt_version=item["prompt_version"],
        started_at=item["started_at"],
        finished_at=item["finished_at"],
        spending=spending_of(item),
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
        spending=spending_of(meta),
        error=JobError(**meta["error"]) if "error" in meta else None,
        max_cost_usd=meta.get("max_cost_usd"),
        tier=_tier(meta),
        flex_for=timedelta(seconds=int(meta.get("flex_seconds", 0))),
        expires_at=int(meta["expires_at"]),
        metadata=next((item["metadata"] for item in others if item["sk"] == "METADATA"), {}),
        steps=tuple(_step(item) for item in others if item["sk"].startswith("STEP#")),
    )
