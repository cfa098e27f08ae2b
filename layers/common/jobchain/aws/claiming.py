"""How a job that was read is claimed: why it can't be, the update of META, and the claim."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobchain.aws.about import overrides_of, prompts_of
from jobchain.aws.attributes import Item
from jobchain.aws.items import Due, StoredJob, job_key, spending_of, totals, unpacked
from jobchain.aws.listing import is_replay
from jobchain.aws.meta import budget_of, deadline_of, flex_until_of, payload_of, queue_tier, tier_of
from jobchain.aws.outbox import notification_of
from jobchain.aws.parking import approvals_of, is_parked
from jobchain.aws.records import chain_version_of, finished_steps, newest_by_claim, unsettled_spending, visible_steps
from jobchain.aws.settling import has_unsettled, outdated_late
from jobchain.aws.writes import IfAbsent, Write, epoch, epoch_ms, update
from jobchain.domain import Claim, Status, Tier, WaitReason, isoformat
from jobchain.errors import ClaimLost, JobchainError, JobNotReady
from jobchain.spending import Spending, Unsettled, summed

Risk = tuple[str, Spending]
"""A model, and the most that calls of it can cost that are in flight together."""

AtRisk = Callable[[str, int, str | None], Risk]
"""The model, and the most that calls of a job can cost that are in flight at the same time.

It is called with the name of the job's chain, the bytes of its texts, and the model that the job itself names, if it
does. META keeps what it returns: the api and the sweeper, which know neither chains nor prices, record it as the
estimate for a worker that vanished.
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that a worker has read and may claim.

    `completed` are the names of its completed steps. `crashes` counts the workers in a row that have vanished with it
    before they stored a step. Its calls are of `tier`, and of the tier standard from `flex_until` on. `model` is the
    one that it names itself, None for its chain's.
    """

    event_id: str
    tenant: str
    job_name: str
    tier: Tier
    payload_bytes: int
    completed: frozenset[str]
    crashes: int
    deadline_at: datetime
    flex_until: datetime | None = None
    model: str | None = None


def candidate_of(job: StoredJob, now: datetime) -> Candidate:
    """The job that was read, for the checks before its claim."""
    meta = job.meta
    return Candidate(
        event_id=meta["pk"].removeprefix("JOB#"),
        tenant=meta["tenant"],
        job_name=meta["job_name"],
        tier=queue_tier(meta, now),
        payload_bytes=_text_bytes(job, "payload"),
        completed=frozenset(step.name for step in finished_steps(job)),
        crashes=_crashes(job),
        deadline_at=deadline_of(meta),
        flex_until=flex_until_of(meta),
        model=overrides_of(meta).model,
    )


def _crashes(job: StoredJob) -> int:
    """The claims in a row whose workers vanished before they stored a step."""
    meta = job.meta
    crashed = meta["status"] == Status.PROCESSING
    if crashed and any(item.get("claim") == meta["claim"] for item in visible_steps(job)):
        return 0
    return int(meta.get("crashes", 0)) + int(crashed)


def refusal_of(meta: Item, now: datetime) -> JobchainError | None:
    """Why the job of this META cannot be claimed, None where it can."""
    status = Status(meta["status"])
    if is_parked(meta):
        return ClaimLost("the job waits for a decision")
    if status is Status.PENDING:
        wait = timedelta(milliseconds=int(meta.get("not_before", 0)) - epoch_ms(now))
        # Its message is delayed: the queue is that of the tier which the job has by then.
        return JobNotReady(meta["tenant"], queue_tier(meta, now + wait), wait) if wait > timedelta(0) else None
    if status is Status.PROCESSING and int(meta["lease_until"]) < epoch_ms(now):
        return None
    return ClaimLost(f"the job is {status}")


def claiming(job: StoredJob, now: datetime, lease_until: datetime, risk: Risk, version: str = "") -> Write:
    """The update that claims a job as it was read, by a worker with this `version` of its chain."""
    meta = job.meta
    steps = visible_steps(job)
    changes: Item = {
        "status": Status.PROCESSING,
        "claim": int(meta["claim"]) + 1,
        "lease_until": epoch_ms(lease_until),
        "sends": 1,
        "crashes": _crashes(job),
        "started_at": IfAbsent(isoformat(now)),
        "updated_at": isoformat(now),
        "steps": newest_by_claim(steps),
        "settled": IfAbsent(int(meta["claim"])),
        "late": IfAbsent({}),
    }
    if not has_unsettled(meta):
        # That of an earlier worker stays until its calls are settled.
        changes["at_risk"] = risk_item(risk)
    if version and not steps:
        # What is stored from now on is of this version, unless it names another. Nothing that counts relies on it yet.
        changes["version"] = version
    changes |= _due_after(meta, epoch(lease_until) + 1)
    removed = tuple(name for name in ("not_before", "sealed", "waiting_for") if name in meta)
    # An earlier version that still runs beside this one writes no token, so the number of the claim is compared too.
    condition, values = "#token = :seen AND claim = :was", {":seen": meta.get("token"), ":was": meta["claim"]}
    if "token" not in meta:
        condition, values = "attribute_not_exists(#token) AND claim = :was", {":was": meta["claim"]}
    return update(job_key(meta["pk"].removeprefix("JOB#")), condition, values, changes, removed)


def _due_after(meta: Item, lease: int) -> Item:
    """The changes that make the job due when its lease has ended."""
    event_id = meta["pk"].removeprefix("JOB#")
    sent = Due.SENT.shard(event_id)
    # Moving it costs three units. So it stays where the sweeper looks soon enough after the lease.
    if meta.get("due_shard") == sent and int(meta["due_at"]) <= lease:
        return {}
    return {"due_shard": sent, "due_at": lease}


def risk_of(job: StoredJob, at_risk: AtRisk) -> Risk:
    """The most that calls of the job's next worker can cost that are in flight together."""
    texts = _text_bytes(job, "payload") + _text_bytes(job, "prompts")
    return at_risk(job.meta["job_name"], texts, overrides_of(job.meta).model)


def risk_item(risk: Risk) -> Item:
    """A risk as an attribute of META."""
    model, most = risk
    return {"model": model, **totals(most)}


def _text_bytes(job: StoredJob, name: str) -> int:
    return sum(len(unpacked(item[name]).encode()) for item in job.of_kind("INPUT") if name in item)


def claim_of(job: StoredJob, number: int, now: datetime, risk: Risk, default_version: str = "") -> Claim:
    """The claim `number` of the job that was read before it was claimed."""
    meta = job.meta
    waiting = meta.get("waiting_for", {})
    unsettled = None
    if has_unsettled(meta):
        left = meta.get("at_risk")
        at_risk = (left["model"], spending_of(left)) if left else None
        unsettled = Unsettled(int(meta["settled"]) + 1, unsettled_spending(job), at_risk)
    earlier = summed([spending_of(meta), *(unsettled.recorded.values() if unsettled else ())])
    return Claim(
        event_id=meta["pk"].removeprefix("JOB#"),
        tenant=meta["tenant"],
        job_name=meta["job_name"],
        number=number,
        payload=payload_of(job),
        expires_at=int(meta["expires_at"]),
        tries={name: int(count) for name, count in meta["tries"].items()},
        steps=finished_steps(job),
        spending=earlier,
        max_cost_usd=meta.get("max_cost_usd"),
        tier=tier_of(meta),
        flex_until=flex_until_of(meta),
        cancel_requested="cancel_requested" in meta,
        uid=meta.get("uid", ""),
        key_id=meta.get("key_id", ""),
        daily_budget=budget_of(meta),
        unsettled=unsettled,
        started_at=meta.get("started_at", isoformat(now)),
        outdated=outdated_late(meta),
        at_risk=risk,
        deadline_at=deadline_of(meta),
        own_deadline="own_deadline" in meta,
        waited=WaitReason.stored(waiting["reason"]) if waiting else None,
        waited_for=waiting.get("detail", ""),
        is_replay=is_replay(meta),
        overrides=overrides_of(meta),
        prompts=prompts_of(job),
        chain_version=chain_version_of(job),
        last_version=meta.get("last_version", default_version),
        default_version=default_version,
        notification=notification_of(job),
        approvals=approvals_of(job),
    )
