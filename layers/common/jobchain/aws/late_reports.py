"""The late report of a worker that has lost its job: its bill in place of what others have recorded for it."""

from dataclasses import dataclass, field
from datetime import datetime

from jobchain.aws.attributes import Item
from jobchain.aws.items import job_key
from jobchain.aws.settling import bill_of, total_of
from jobchain.aws.writes import Write, update
from jobchain.domain import Claim
from jobchain.spending import NOTHING_SPENT, Bill


@dataclass(frozen=True, slots=True)
class Correction:
    """A late report: what it adds, by model, and the condition, its values, the changes and removals of its update."""

    added: Bill
    condition: str
    values: Item = field(default_factory=dict)
    changes: Item = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    recorded_at: datetime | None = None
    """When the estimate was recorded that it replaces: no other day's usage may be reduced by it."""


def correction_of(claim: Claim, meta: Item, bill: Bill) -> Correction | None:
    """How the claim's bill is recorded by a worker that has lost the job; None where nothing is left to record."""
    if meta.get("uid", "") != claim.uid:
        return None
    number = claim.number
    if recorded := meta.get("late", {}).get(str(number)):
        known, recorded_at = bill_of(recorded)
        models = {*known, *bill}
        added = {model: bill.get(model, NOTHING_SPENT) - known.get(model, NOTHING_SPENT) for model in models}
        # The name #{number} is that of the path that is removed.
        condition = f"attribute_exists(late.#{number})"
        return Correction(added, condition, removed=(f"late.{number}",), recorded_at=recorded_at)
    if meta.get("settled") == number - 1:
        # It is not recorded yet: the worker that has claimed the job since has not begun to call the model.
        condition = "settled = :was AND claim > :claimed"
        return Correction(bill, condition, {":was": number - 1, ":claimed": number}, {"settled": number})
    return None


def late_report(claim: Claim, correction: Correction) -> Write:
    """The update that makes the correction."""
    condition, values = correction.condition, correction.values
    if claim.uid:
        condition, values = f"{condition} AND uid = :uid", {**values, ":uid": claim.uid}
    changes, added = correction.changes, total_of(correction.added)
    return update(job_key(claim.event_id), condition, values, changes, correction.removed, added)
