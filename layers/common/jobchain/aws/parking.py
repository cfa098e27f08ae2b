"""Parked steps: a job hands a step away, holds nothing, and is woken when the step has its result.

The worker parks a step in the transaction that releases its job. The item PARKED names the claim that parked it. Until
the step is decided, META keeps that claim's number, is pending, and waits for `approval`: no worker can claim the job,
and each decision is one transaction on both items, which only one of several can make.
`docs/explanation/table.md` has the argument.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from jobchain.approvals import Approval, Decided, Decision
from jobchain.aws.attributes import Item
from jobchain.aws.items import READABLE_FOR, Due, StoredJob, job_key, packed, unpacked
from jobchain.aws.writes import Write, epoch, epoch_ms_up, update
from jobchain.domain import Claim, Status, WaitReason
from jobchain.text import dump

KIND = "PARKED"
"""The kind of the items: they are read with META and the steps, as their keys are between those."""

_UNDECIDED = "attribute_exists(pk) AND attribute_not_exists(decision)"


def parked_item(claim: Claim, approval: Approval) -> Item:
    """The item of a step that waits. A claim parks one step, as that ends the claim."""
    return {
        **_key(claim.event_id, claim.uid, claim.number),
        "uid": claim.uid,
        "claim": claim.number,
        "expires_at": claim.expires_at,
        "step": approval.step,
        "title": approval.title,
        "shown": packed(dump(approval.shown)),
        "since": approval.since,
        "until": approval.until,
        "on_deadline": approval.on_deadline,
    }


def parked_meta(claim: Claim, until: datetime) -> Item:
    """The attributes of META of a parked job: the sweeper checks it when its time is over, and sends nothing before."""
    return {"sends": 0, "due_shard": Due.LATER.shard(claim.event_id), "due_at": -(-epoch_ms_up(until) // 1000)}


def is_parked(meta: Item) -> bool:
    """Whether the job of this META waits for a decision."""
    waiting: Mapping[str, object] = meta.get("waiting_for", {})
    return meta["status"] == Status.PENDING and waiting.get("reason") == WaitReason.APPROVAL


def latest_decision_time(now: datetime, wait: timedelta, expires_at: int) -> datetime:
    """Until when a step that is parked now may be decided: before its job is about to be erased."""
    return min(now + wait, datetime.fromtimestamp(expires_at, UTC) - READABLE_FOR)


def approvals_of(job: StoredJob) -> tuple[Approval, ...]:
    """The job's parked steps and how they were decided, in order of time."""
    items = sorted(job.of_kind(KIND), key=lambda item: int(item["claim"]))
    return tuple(map(_approval, items))


def open_approval(job: StoredJob) -> Approval | None:
    """The step for which the job waits now; None where it waits for none."""
    if not is_parked(job.meta):
        return None
    return next((each for each in approvals_of(job) if each.claim == job.meta["claim"]), None)


def deciding(job: StoredJob, approval: Approval, decided: Decided) -> Write:
    """The update of the item of a parked step that stores how it was decided; only the first one can be made."""
    meta = job.meta
    optional: Item = {
        "by": decided.by,
        "key_id": decided.key_id,
        "comment": decided.comment,
        "at_deadline": decided.at_deadline,
        "value": packed(dump(decided.value)) if decided.decision is Decision.EDIT else "",
    }
    changes: Item = {"decision": decided.decision, "decided_at": decided.at}
    changes |= {name: value for name, value in optional.items() if value}
    where = _key(meta["pk"].removeprefix("JOB#"), meta["uid"], approval.claim)
    return update(where, _UNDECIDED, {}, changes)


def moved_deadline(deadline_at: int, since: str, now: datetime, expires_at: int) -> int:
    """A job's deadline, in seconds since 1970, after a wait `since` then, which does not count."""
    waited = now - datetime.fromisoformat(since)
    latest = expires_at - int(READABLE_FOR.total_seconds())
    return min(deadline_at + -int(-waited.total_seconds() // 1), latest)


def woken(meta: Item, since: str, now: datetime) -> Item:
    """What changes in META of a parked job that continues: the wait does not count against its deadline."""
    if "deadline_at" not in meta:
        return {}
    return {"deadline_at": moved_deadline(int(meta["deadline_at"]), since, now, int(meta["expires_at"]))}


def unsent(event_id: str, now: datetime) -> Item:
    """The attributes of META of a job that no message was sent for: the next sweep sends it."""
    return {"sends": 0, "due_shard": Due.UNSENT.shard(event_id), "due_at": epoch(now)}


def _key(event_id: str, uid: str, claim: int) -> Item:
    return job_key(event_id, f"{KIND}#{uid}#{claim:05}")


def _approval(item: Item) -> Approval:
    return Approval(
        step=item["step"],
        title=item["title"],
        shown=json.loads(unpacked(item["shown"])),
        since=item["since"],
        until=item["until"],
        on_deadline=item["on_deadline"],
        claim=int(item["claim"]),
        decided=_decided(item) if "decision" in item else None,
    )


def _decided(item: Item) -> Decided:
    return Decided(
        decision=Decision(item["decision"]),
        value=json.loads(unpacked(item["value"])) if "value" in item else None,
        by=item.get("by", ""),
        key_id=item.get("key_id", ""),
        comment=item.get("comment", ""),
        at=item["decided_at"],
        at_deadline="at_deadline" in item,
    )
