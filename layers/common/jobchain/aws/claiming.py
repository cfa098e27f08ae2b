"""How a job is claimed, as it was read: why it can't be, the update that claims it, and the claim."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from jobchain.aws.attributes import Item
from jobchain.aws.items import StoredJob, job_key, spending_of, totals, unpacked
from jobchain.aws.meta import budget_of, has_unsettled, outdated_late, payload_of, tier_of
from jobchain.aws.records import newest_by_claim, step_of, unsettled_spending, visible_steps
from jobchain.aws.writes import IfAbsent, Write, epoch, epoch_ms, update
from jobchain.domain import Claim, Status, Unsettled, isoformat
from jobchain.errors import ClaimLost, JobchainError, JobNotReady
from jobchain.spending import Spending, summed

AtRisk = Callable[[str, int], tuple[str, Spending]]
"""The model, and the most that the calls of a job can cost that are in flight together.

It is given the chain's name and the payload's bytes.
It is the estimate for a worker that vanishes, for those who know neither the job's chain nor the prices.
"""


def refusal_of(meta: Item, now: datetime) -> JobchainError | None:
    """Why the job of this META cannot be claimed, None where it can."""
    status = Status(meta["status"])
    if status is Status.PENDING:
        wait = timedelta(milliseconds=int(meta.get("not_before", 0)) - epoch_ms(now))
        return JobNotReady(meta["tenant"], tier_of(meta), wait) if wait > timedelta(0) else None
    if status is Status.PROCESSING and int(meta["lease_until"]) < epoch_ms(now):
        return None
    return ClaimLost(f"the job is {status}")


def claiming(job: StoredJob, now: datetime, lease_until: datetime, at_risk: AtRisk) -> Write:
    """The update that claims a job as it was read."""
    meta = job.meta
    steps = visible_steps(job)
    crashed = meta["status"] == Status.PROCESSING
    got_on = crashed and any(item.get("claim") == meta["claim"] for item in steps)
    model, most = at_risk(meta["job_name"], _payload_bytes(job))
    changes: Item = {
        "status": Status.PROCESSING,
        "claim": int(meta["claim"]) + 1,
        "lease_until": epoch_ms(lease_until),
        "sends": 1,
        "crashes": 0 if got_on else int(meta.get("crashes", 0)) + int(crashed),
        "started_at": IfAbsent(isoformat(now)),
        "updated_at": isoformat(now),
        "steps": newest_by_claim(steps),
        "settled": IfAbsent(int(meta["claim"])),
        "late": IfAbsent({}),
        "at_risk": {"model": model, **totals(most)},
    }
    # Moving it costs four units, so that it is left where the sweeper looks soon enough after the lease.
    if int(meta["due_at"]) > epoch(lease_until) + 1:
        changes["due_at"] = epoch(lease_until) + 1
    removed = tuple(name for name in ("not_before", "sealed", "waiting_for") if name in meta)
    # An earlier version that still runs beside this one writes no token, so the number of the claim is compared too.
    condition, values = "#token = :seen AND claim = :was", {":seen": meta.get("token"), ":was": meta["claim"]}
    if "token" not in meta:
        condition, values = "attribute_not_exists(#token) AND claim = :was", {":was": meta["claim"]}
    return update(job_key(meta["pk"].removeprefix("JOB#")), condition, values, changes, removed)


def _payload_bytes(job: StoredJob) -> int:
    return sum(len(unpacked(item["payload"]).encode()) for item in job.of_kind("INPUT"))


def claim_of(job: StoredJob, number: int, now: datetime) -> Claim:
    """The claim `number` of the job that was read before it was claimed."""
    meta = job.meta
    unsettled = None
    if has_unsettled(meta):
        unsettled = Unsettled(int(meta["settled"]) + 1, unsettled_spending(job))
    earlier = summed([spending_of(meta), *(unsettled.recorded.values() if unsettled else ())])
    return Claim(
        event_id=meta["pk"].removeprefix("JOB#"),
        tenant=meta["tenant"],
        job_name=meta["job_name"],
        number=number,
        payload=payload_of(job),
        expires_at=int(meta["expires_at"]),
        tries={name: int(count) for name, count in meta["tries"].items()},
        steps=tuple(map(step_of, visible_steps(job))),
        spending=earlier,
        max_cost_usd=meta.get("max_cost_usd"),
        tier=tier_of(meta),
        flex_until=datetime.fromtimestamp(int(meta["flex_until"]), UTC) if "flex_until" in meta else None,
        cancel_requested="cancel_requested" in meta,
        uid=meta.get("uid", ""),
        key_id=meta.get("key_id", ""),
        daily_budget=budget_of(meta),
        unsettled=unsettled,
        started_at=meta.get("started_at", isoformat(now)),
        outdated=outdated_late(meta),
    )
