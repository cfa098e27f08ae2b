"""The history of a job: its events, read from the items that the job has anyway. No item is written for an event.

`docs/explanation/events.md` tells why no event is missed by a reader that continues from a position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobchain.aws.attributes import Item
from jobchain.aws.items import StoredJob, belongs, job_key
from jobchain.aws.meta import job_of
from jobchain.aws.records import attempt_of, counts, step_of
from jobchain.aws.table import Table
from jobchain.chains.step_keys import SplitKey, read_key
from jobchain.domain import Job, Status
from jobchain.errors import InvalidRequest, JobNotFound
from jobchain.job_events import EventType, JobEvent, Position, state_name

_ENDS = {
    Status.COMPLETED: EventType.COMPLETED,
    Status.FAILED: EventType.FAILED,
    Status.CANCELLED: EventType.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Events of a job that a reader has not seen, and the position after them; `more` tells that there are others.

    `job` is the job as it was read, without its metadata.
    """

    job: Job
    events: tuple[JobEvent, ...]
    position: Position
    more: bool


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    event: JobEvent


def read_history(table: Table, tenant: str, event_id: str, after: str | None, limit: int) -> HistoryPage:
    """Up to `limit` events of the tenant's job that come after a position, whose text `after` is; None for all.

    Raises JobNotFound, and InvalidRequest where `after` is not a position of this job.
    """
    # META before all else: what was stored before the job reached this state is found by the reads after it.
    meta = table.get(job_key(event_id))
    if meta is None or meta["tenant"] != tenant:
        raise JobNotFound(f"there is no job {event_id}")
    position = _position(after, meta)
    items = _records(table, meta)
    job = job_of(StoredJob(meta, tuple(items)))
    unseen = [found for found in _events(job, meta, items) if not position.has(found.event.claim, found.number)]
    state = _state(job)
    given = unseen[:limit]
    # The state comes last, so that all that led to it is told before.
    is_new = state is not None and state.name != position.state
    more = len(unseen) + is_new > limit
    told = (state,) if state and is_new and not more else ()
    after_page = Position(position.uid, _seen(position, given, items), told[0].name if told else position.state)
    return HistoryPage(job, (*(found.event for found in given), *told), after_page, more)


def _position(after: str | None, meta: Item) -> Position:
    uid = meta.get("uid", "")
    if after is None:
        return Position(uid, {})
    position = Position.read(after)
    if position is None or position.uid != uid:
        why = "is not a position in the events of this job: send next_after of its last page, or none for all events"
        raise InvalidRequest({"after": why})
    return position


# --- reading -------------------------------------------------------------------------------------


def _records(table: Table, meta: Item) -> list[Item]:
    """The job's steps and failed calls, without a gap: none of a claim is missing before another of them."""
    found = _read(table, meta)
    newest = _newest(found)
    if sum(newest.values()) == sum("claim" in item for item in found):
        return found
    # A query is no snapshot: it may miss a record, and find one that was stored after it. What was stored before the
    # first reading ended is found by a second one. What is missing then is gone: a later record has replaced it.
    return [item for item in _read(table, meta) if _number(item) <= newest.get(_claim(item), 0)]


def _read(table: Table, meta: Item) -> list[Item]:
    kinds = (table.query(meta["pk"], kind, f"{kind}$") for kind in ("ATTEMPT", "STEP"))
    return [item for found in kinds for item in found if belongs(item, meta)]


def _newest(items: Sequence[Item]) -> Mapping[int, int]:
    newest: dict[int, int] = {}
    for item in items:
        newest[_claim(item)] = max(newest.get(_claim(item), 0), _number(item))
    return newest


def _claim(item: Item) -> int:
    return int(item.get("claim", 0))


def _number(item: Item) -> int:
    # A step that version 0.1.0 stored has no number.
    return int(item.get("number", 0))


# --- events --------------------------------------------------------------------------------------


def _events(job: Job, meta: Item, items: Sequence[Item]) -> list[_Numbered]:
    """The events that stay: the job's creation and start, its steps, and its failed calls."""
    events = [_Numbered(0, JobEvent("0-0", EventType.CREATED, job.created_at, 0))]
    if job.started_at:
        events.append(_Numbered(0, JobEvent("1-0", EventType.STARTED, job.started_at, 1)))
    places: dict[int, int] = {}
    for item in sorted(items, key=lambda item: (_claim(item), _number(item), item["sk"])):
        claim = _claim(item)
        # That of version 0.1.0 is its place among those.
        places[claim] = number = _number(item) or places.get(claim, 0) + 1
        if found := _record(job, meta, item, claim, number):
            events.append(_Numbered(number, found))
    return sorted(events, key=lambda found: (found.event.claim, found.number))


def _record(job: Job, meta: Item, item: Item, claim: int, number: int) -> JobEvent | None:
    """The event of a step or a failed call; None for one that does not count, or that no caller sees."""
    name = f"{claim}-{number}"
    if claim > job.attempts:
        return None  # a worker has claimed the job since META was read
    if item["sk"].startswith("ATTEMPT"):
        attempt = attempt_of(item)
        return JobEvent(name, EventType.CALL_FAILED, attempt.finished_at, claim, attempt)
    step = step_of(item, meta.get("version", ""))
    if not counts(item, meta) or isinstance(read_key(step.name), SplitKey):
        return None
    if step.copied:
        return JobEvent(name, EventType.STEP_COPIED, job.created_at, claim, step)
    return JobEvent(name, EventType.STEP_COMPLETED, step.finished_at, claim, step)


def _state(job: Job) -> JobEvent | None:
    """The event of the job's state now, if it is one: that it waits for a reason that is stored, or how it ended."""
    if job.finished_at and job.status.final:
        name = state_name(job.attempts, job.status, job.finished_at)
        return JobEvent(name, _ENDS[job.status], job.finished_at, job.attempts, job.error)
    if job.status is Status.PENDING and (waiting := job.waiting_for):
        name = state_name(job.attempts, "waiting", waiting.since)
        return JobEvent(name, EventType.WAITING, waiting.since, job.attempts, waiting)
    return None


def _seen(position: Position, given: Sequence[_Numbered], items: Sequence[Item]) -> dict[int, int]:
    """What the reader has seen after this page. A claim of which nothing is left can be left out."""
    seen = {**position.seen}
    for found in given:
        seen[found.event.claim] = found.number
    kept = {0, 1, *map(_claim, items)}
    return {claim: number for claim, number in seen.items() if claim in kept}
