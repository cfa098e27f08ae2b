"""What fences a claim's writes: their condition, their tokens, and what they say of the claim."""

from jobchain.aws.attributes import Item
from jobchain.aws.items import PROCESSING, job_key
from jobchain.aws.usage import UsageRecord
from jobchain.aws.writes import Write, update
from jobchain.domain import Claim, Status
from jobchain.errors import ClaimLost
from jobchain.spending import Bill


def record(claim: Claim, bill: Bill, ended: Status | None = None) -> UsageRecord:
    """What a write of a claim adds to the daily usage."""
    return UsageRecord(ended=ended, spent=bill, chain=claim.job_name, replay=claim.is_replay)


def fenced(
    claim: Claim,
    what: str,
    changes: Item,
    removed: tuple[str, ...] = (),
    added: Item | None = None,
    still: str = "",
    values: Item | None = None,
) -> Write:
    """An update of META that only the holder of `claim` can make, where `still` holds too.

    A claim makes each of them once: so one whose answer was lost can be repeated, and recognizes its result.
    """
    held = {":claimed": claim.number, **PROCESSING, **(values or {})}
    condition = "claim = :claimed AND #status = :processing"
    if claim.uid:
        condition, held = f"{condition} AND uid = :uid", {**held, ":uid": claim.uid}
    return update(job_key(claim.event_id), condition + still, held, changes, removed, added, token(claim, what))


def settled_by(claim: Claim) -> Item:
    """The attributes of META that tell that the claim's own bill is in the totals, and what the job was run with."""
    changed = claim.chain_version not in ("", claim.last_version)
    version = {"last_version": claim.chain_version} if changed else {}
    return {"settled": claim.number, "billed": claim.number, **version}


def unused_version(claim: Claim) -> tuple[str, ...]:
    """The attribute of META that names a claim's version, where neither it nor any before it has run the job."""
    return () if claim.chain_version or claim.steps else ("version",)


def token(claim: Claim, what: str) -> str:
    """The token of a write that the claim makes once."""
    return f"{claim.uid}-{claim.number}-{what}"


def holds(claim: Claim, meta: Item | None) -> bool:
    """Whether the job of this META is still the claim's."""
    return (
        meta is not None
        and meta.get("claim") == claim.number
        and meta.get("uid", "") == claim.uid
        and meta.get("status") == Status.PROCESSING
    )


def claim_lost(event_id: str) -> ClaimLost:
    """The error of a worker whose job has a later claim."""
    return ClaimLost(f"job {event_id} was claimed by another worker")
