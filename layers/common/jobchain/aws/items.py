"""A job's items, and how they become the nouns of `jobchain.domain`.

A job is several items under one partition key, so that a change of status never rewrites a long text:
META (small: status, claim, times, totals, error), INPUT and METADATA (the caller's, written once) and one
STEP#… for each completed step. The index `due` holds every unfinished job, by the time at which the sweeper checks it.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal

from jobchain.aws.attributes import Item
from jobchain.aws.table import Table
from jobchain.aws.writes import epoch, key
from jobchain.domain import DueJob, FinishedStep, Job, JobError, NewJob, Status, Tier, isoformat
from jobchain.errors import JobExists
from jobchain.spending import Spending, Usage
from jobchain.text import dump

DUE_SHARDS = 8
"""Partitions of the index `due`, so that its writes are spread over several."""

DISPATCH_GRACE = timedelta(minutes=5)
"""How long a job may wait for a worker after its message was sent before the sweeper checks it."""

# What a transaction may hold: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
MAX_WRITES = 99
"""The most writes of a transaction, besides the one of the daily usage."""

MOVE_TRIES = 5
"""How many times a change is tried while other writers change the same items first."""

# Conditions on a job's status, and their values.
PROCESSING: Item = {":processing": Status.PROCESSING}
UNFINISHED: Item = {":pending": Status.PENDING, **PROCESSING}
# No worker holds it. After a crash a job still says "processing", with an expired lease.
FREE = "#status = :pending OR (#status = :processing AND lease_until < :now)"

REMOVED_WHEN_FINAL = ("due_shard", "due_at", "lease_until", "not_before", "cancel_requested")


def job_key(event_id: str, sk: str = "META") -> Item:
    """The key of one of the job's items."""
    return key(f"JOB#{event_id}", sk)


def due_shard(event_id: str) -> int:
    """The partition of the index `due` that holds the job."""
    return zlib.crc32(event_id.encode()) % DUE_SHARDS


def read_items(table: Table, event_id: str, first: str, last: str) -> list[Item]:
    """The job's items from sort key `first` to `last`, in order."""
    found = table.query(f"JOB#{event_id}", first, last)
    # TTL erases item by item, days late: items that remain of an older job of the same id are not this job's.
    expires_at = {item["expires_at"] for item in found if item["sk"] == "META"}
    return [item for item in found if item["expires_at"] in expires_at]


def new_items(new: NewJob, now: datetime, expires_at: int) -> Iterator[Item]:
    """The items of a pending job, META first."""
    yield {
        **job_key(new.event_id),
        "tenant": new.tenant,
        "job_name": new.job_name,
        "status": Status.PENDING,
        "created_at": isoformat(now),
        "created_at_id": f"{isoformat(now)}#{new.event_id}",
        "updated_at": isoformat(now),
        "fingerprint": new.fingerprint,
        "claim": 0,
        **dispatched(new.event_id, now),
        "expires_at": expires_at,
        **({"max_cost_usd": new.max_cost_usd} if new.max_cost_usd is not None else {}),
        **_flex(new, now),
    }
    yield {**job_key(new.event_id, "INPUT"), "payload": dump(new.payload), "expires_at": expires_at}
    if new.metadata:
        yield {**job_key(new.event_id, "METADATA"), "metadata": dict(new.metadata), "expires_at": expires_at}


def dispatched(event_id: str, now: datetime) -> Item:
    """The attributes of META with which a job begins to wait for a worker, `DISPATCH_GRACE` before it is due."""
    return {
        "dispatches": 1,
        "stalls": 0,
        "tries": {},
        "due_shard": due_shard(event_id),
        "due_at": epoch(now + DISPATCH_GRACE),
    }


def _flex(new: NewJob, now: datetime) -> Item:
    if new.tier is not Tier.FLEX:
        return {}
    seconds = int(new.flex_for.total_seconds())
    return {"tier": new.tier, "flex_seconds": seconds, "flex_until": epoch(now + new.flex_for)}


def step_item(event_id: str, position: int, step: FinishedStep, expires_at: int) -> Item:
    """The item of a completed step, the `position`th of its chain."""
    return {
        **job_key(event_id, f"STEP#{position:03}#{step.name}"),
        "output": dump(step.output),
        "model": step.model,
        "prompt_version": step.prompt_version,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        **totals(step.spending),
        "expires_at": expires_at,
    }


def error_item(error: JobError) -> Item:
    """The error as an attribute of META."""
    return {name: value for name, value in asdict(error).items() if value is not None}


def totals(spending: Spending) -> Item:
    """`spending` as attributes that add up."""
    return {
        **asdict(spending.usage),
        "cost_usd": spending.known_cost_usd,
        "unpriced_calls": spending.unpriced_calls,
        "calls": spending.calls,
        "retries": spending.retries,
    }


def spending_of(item: Item) -> Spending:
    """The sum of the `totals` that were added to an item."""
    usage = Usage(**{name: int(item.get(name, 0)) for name in asdict(Usage())})
    counts = (int(item.get(name, 0)) for name in ("unpriced_calls", "calls", "retries"))
    return Spending(usage, item.get("cost_usd", Decimal(0)), *counts)


def tier_of(item: Item) -> Tier:
    """The tier in META."""
    return Tier(item.get("tier", Tier.STANDARD))


def step_of(item: Item) -> FinishedStep:
    """The step that an item STEP#… holds."""
    return FinishedStep(
        name=item["sk"].split("#", 2)[2],
        output=json.loads(item["output"]),
        model=item["model"],
        prompt_version=item["prompt_version"],
        started_at=item["started_at"],
        finished_at=item["finished_at"],
        spending=spending_of(item),
    )


def job_of(items: list[Item]) -> Job:
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
        tier=tier_of(meta),
        flex_for=timedelta(seconds=int(meta.get("flex_seconds", 0))),
        expires_at=int(meta["expires_at"]),
        metadata=next((item["metadata"] for item in others if item["sk"] == "METADATA"), {}),
        steps=tuple(step_of(item) for item in others if item["sk"].startswith("STEP#")),
    )


def existing_job(meta: Item) -> JobExists:
    """The stored job as the error of another one with its id."""
    return JobExists(job_of([meta]), meta["fingerprint"])


def due_job_of(item: Item) -> DueJob:
    """The job that an item of the index `due` shows."""
    return DueJob(
        event_id=item["pk"].removeprefix("JOB#"),
        tenant=item["tenant"],
        due_at=int(item["due_at"]),
        dispatches=int(item["dispatches"]),
        stalls=int(item["stalls"]),
        tier=tier_of(item),
    )
