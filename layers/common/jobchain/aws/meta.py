"""META, a job's small item: how it begins and ends, and the job that it describes.

The index `due` holds every unfinished job, by the time at which the sweeper checks it; `unfinished` counts those of a
tenant; `recent` lists a tenant's jobs. An index costs a write where something that it holds changes. So `due` holds
nothing that changes while a job runs, and `recent` only what is set when a job is created and when it ends.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pydantic import JsonValue

from jobchain.aws.about import about_of, forked_from_of, overrides_of
from jobchain.aws.attributes import Item
from jobchain.aws.items import (
    DISPATCH_GRACE,
    READABLE_FOR,
    Due,
    StoredJob,
    deadline_at,
    job_key,
    spending_of,
    unpacked,
)
from jobchain.aws.outbox import stamp
from jobchain.aws.parking import approvals_of, is_parked
from jobchain.aws.queue import MAX_DELAY
from jobchain.aws.records import chain_version_of, finished_steps, unsettled_spending
from jobchain.aws.writes import epoch, epoch_ms_up, new_token
from jobchain.domain import (
    Claim,
    DailyBudget,
    Job,
    JobError,
    NewJob,
    Status,
    Tier,
    WaitingFor,
    WaitReason,
    isoformat,
    tier_at,
)
from jobchain.due_job import DueJob
from jobchain.errors import JobExists
from jobchain.spending import summed


def new_meta(new: NewJob, uid: str, now: datetime, expires_at: int) -> Item:
    """The item META of a pending job. `uid` tells the job from an earlier one of the same id."""
    optional = {
        "key_id": new.key_id or None,
        "about": about_of(new) or None,
        "own_deadline": new.own_deadline or None,
        "max_cost_usd": new.max_cost_usd,
        "tokens_per_day": new.daily_budget.tokens,
        "cost_usd_per_day": new.daily_budget.cost_usd,
        "webhooks": stamp(new.receivers) or None,
    }
    return {
        **job_key(new.event_id),
        "uid": uid,
        "token": new_token(),
        "tenant": new.tenant,
        "job_name": new.job_name,
        "status": Status.PENDING,
        "created_at": isoformat(now),
        "created_at_id": f"{isoformat(now)}#{new.event_id}",
        "updated_at": isoformat(now),
        "fingerprint": new.fingerprint,
        "deadline_seconds": int(new.deadline.total_seconds()),
        "deadline_at": deadline_at(now, new.deadline, expires_at),
        "claim": 0,
        "settled": 0,
        "steps": {},
        "late": {},
        **dispatched(new.event_id, now),
        "expires_at": expires_at,
        **{name: value for name, value in optional.items() if value is not None},
        **_flex(new, now),
    }


def payload_of(job: StoredJob) -> JsonValue:
    """The payload of a job that was read with its item INPUT."""
    payload: JsonValue = json.loads(unpacked(job.of_kind("INPUT")[0]["payload"]))
    return payload


def dispatched(event_id: str, now: datetime) -> Item:
    """The attributes of META with which a job begins to wait for a worker, `DISPATCH_GRACE` before it is due."""
    return {
        "sends": 1,
        "crashes": 0,
        "tries": {},
        "due_shard": Due.SENT.shard(event_id),
        "due_at": epoch(now + DISPATCH_GRACE),
    }


def flex_due(event_id: str, flex_until: datetime) -> Item:
    """When a job is due whose message is in the queue of flex jobs: when it leaves that queue."""
    return {"due_shard": Due.LATER.shard(event_id), "due_at": epoch(flex_until)}


def released(claim: Claim, now: datetime, wait: timedelta) -> Item:
    """The attributes of META with which a claimed job begins to wait for its next worker, after `wait`."""
    ready = now + wait
    if wait > MAX_DELAY:
        # Rounded up: a message that comes too early is sent a second time.
        due_at = -(-epoch_ms_up(ready) // 1000)
        return {"sends": 0, "due_shard": Due.LATER.shard(claim.event_id), "due_at": due_at}
    if tier_at(claim.flex_until, ready) is Tier.FLEX and claim.flex_until:
        return {"sends": 1, **flex_due(claim.event_id, claim.flex_until)}
    return {"sends": 1, "due_shard": Due.SENT.shard(claim.event_id), "due_at": epoch(ready + DISPATCH_GRACE)}


def ready_now(meta: Item, now: datetime) -> tuple[Item, tuple[str, ...]]:
    """What changes in META when a pending job need not wait any longer, and what is removed."""
    event_id = meta["pk"].removeprefix("JOB#")
    until = flex_until_of(meta)
    due = {"due_shard": Due.SENT.shard(event_id), "due_at": epoch(now + DISPATCH_GRACE)}
    if until and tier_at(until, now) is Tier.FLEX:
        due = flex_due(event_id, until)
    return {"updated_at": isoformat(now), "sends": 1, **due}, ("not_before", "waiting_for")


def flex_again(event_id: str, flex_until: datetime) -> Item:
    """What differs from `dispatched` for a job of the tier flex."""
    return {"flex_until": epoch(flex_until), **flex_due(event_id, flex_until)}


def _flex(new: NewJob, now: datetime) -> Item:
    if new.tier is not Tier.FLEX:
        return {}
    seconds = int(new.flex_for.total_seconds())
    return {"tier": new.tier, "flex_seconds": seconds, **flex_again(new.event_id, now + new.flex_for)}


def ended(status: Status, now: datetime, claim: int, started_at: str | None, error: JobError | None = None) -> Item:
    """The attributes of META with which a job ends, after `claim` claims.

    `final_status`, `runs` and `began_at` are for the index `recent`: they are set only now, whereas the attributes that
    they repeat change while the job runs.
    """
    return {
        "status": status,
        "final_status": status,
        "finished_at": isoformat(now),
        "updated_at": isoformat(now),
        "runs": claim,
        **({"began_at": started_at} if started_at else {}),
        **({"error": _present(asdict(error))} if error else {}),
    }


REMOVED_BY_RETRY = ("final_status", "finished_at", "runs", "began_at", "error")
"""The attributes of `ended` that a retried job does not have."""


# --- META as the nouns of the domain --------------------------------------------------------------


def tier_of(meta: Item) -> Tier:
    """The job's tier."""
    return Tier(meta.get("tier", Tier.STANDARD))


def flex_until_of(meta: Item) -> datetime | None:
    """When the job's time for flex calls is over; None for a job of the tier standard."""
    until: Decimal | None = meta.get("flex_until")
    return None if until is None else datetime.fromtimestamp(int(until), UTC)


def queue_tier(meta: Item, at: datetime) -> Tier:
    """The tier of the queue that a message of the job belongs into which becomes visible `at` this time."""
    return tier_at(flex_until_of(meta), at)


def budget_of(meta: Item) -> DailyBudget:
    """The daily limits of the key that created the job."""
    tokens = meta.get("tokens_per_day")
    return DailyBudget(int(tokens) if tokens is not None else None, meta.get("cost_usd_per_day"))


def deadline_of(meta: Item) -> datetime:
    """The moment until which the job is tried."""
    if "deadline_at" in meta:
        return datetime.fromtimestamp(int(meta["deadline_at"]), UTC)
    # Of a job that an earlier version stored.
    return datetime.fromtimestamp(int(meta["expires_at"]), UTC) - READABLE_FOR


def waiting_item(waiting: WaitingFor) -> Item:
    """Why the job waits, as an attribute of META."""
    return _present({**asdict(waiting), "retryable": None})


def _waiting_of(meta: Item) -> WaitingFor | None:
    found = meta.get("waiting_for")
    if not found:
        return None
    retryable = not is_parked(meta)
    return WaitingFor(
        WaitReason.stored(found["reason"]), found["since"], found.get("until"), found["detail"], retryable
    )


def job_of(stored: StoredJob) -> Job:
    """The job, with the steps that count."""
    meta = stored.meta
    about = meta.get("about", {})
    metadata = stored.of_kind("METADATA")
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
        spending=summed([spending_of(meta), *unsettled_spending(stored).values()]),
        error=_error_of(meta),
        max_cost_usd=meta.get("max_cost_usd"),
        tier=tier_of(meta),
        flex_for=timedelta(seconds=int(meta.get("flex_seconds", 0))),
        flex_until=flex_until_of(meta),
        expires_at=int(meta["expires_at"]),
        metadata=metadata[0]["metadata"] if metadata else {},
        steps=finished_steps(stored),
        waiting_for=_waiting_of(meta),
        tries={name: int(count) for name, count in meta.get("tries", {}).items()},
        deadline=timedelta(seconds=int(meta["deadline_seconds"])) if "deadline_seconds" in meta else None,
        deadline_at=int(meta["deadline_at"]) if "deadline_at" in meta else None,
        title=about.get("title"),
        forked_from=forked_from_of(meta),
        overrides=overrides_of(meta),
        approvals=approvals_of(stored),
        chain_version=chain_version_of(stored),
    )


def listed_job_of(entry: Item) -> Job | None:
    """The job of an entry of the index `recent`; None if META must be read, as it has not ended or has estimates.

    An index holds 20 attributes, and few jobs have estimates.
    """
    if "final_status" not in entry or "estimated_calls" in entry:
        return None
    final = {
        "status": entry["final_status"],
        "created_at": entry["created_at_id"].split("#", 1)[0],
        "updated_at": entry["finished_at"],
        "claim": entry["runs"],
        **({"started_at": entry["began_at"]} if "began_at" in entry else {}),
    }
    return job_of(StoredJob({"expires_at": 0, **entry, **final, "settled": entry["runs"]}))


def _error_of(meta: Item) -> JobError | None:
    return JobError(**meta["error"]) if "error" in meta else None


def existing_job(meta: Item) -> JobExists:
    """The stored job as the error of another one with its id."""
    return JobExists(job_of(StoredJob(meta)), meta["fingerprint"])


def due_job_of(meta: Item, now: datetime) -> DueJob:
    """The unfinished job, for the sweeper."""
    held = meta["status"] == Status.PROCESSING
    tier = queue_tier(meta, now)
    return DueJob(
        event_id=meta["pk"].removeprefix("JOB#"),
        tenant=meta["tenant"],
        job_name=meta["job_name"],
        sends=int(meta["sends"] if "sends" in meta else meta.get("dispatches", 1)),
        crashes=int(meta.get("crashes", 0)) + int(held),
        token=meta.get("token", ""),
        tier=tier,
        flex_until=flex_until_of(meta) if tier is Tier.FLEX else None,
        held_until=datetime.fromtimestamp(int(meta["lease_until"]) / 1000, UTC) if held else None,
        due_at=datetime.fromtimestamp(int(meta["due_at"]), UTC) if "due_at" in meta else None,
        is_parked=is_parked(meta),
    )


def _present(values: Mapping[str, object]) -> Item:
    return {name: value for name, value in values.items() if value is not None}
