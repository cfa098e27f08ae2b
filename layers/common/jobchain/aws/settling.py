"""Settling: what vanished workers spent is added to the usage records, by the next worker or with the end of the job.

A worker that vanished leaves `claim` greater than `settled` in META. `docs/explanation/table.md` tells why each call is
counted once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobchain.aws.about import overrides_of
from jobchain.aws.attributes import Item
from jobchain.aws.items import REMOVED_WHEN_FINAL, StoredJob, spending_of, totals, unchanged
from jobchain.aws.listing import is_replay
from jobchain.aws.meta import ended
from jobchain.aws.outbox import Announce, notification_of, outbox_of
from jobchain.aws.records import newest_by_claim, settled_claim, unsettled_spending, visible_steps
from jobchain.aws.table import Table
from jobchain.aws.usage import UsageRecord, write_with_usage
from jobchain.aws.writes import Write, key, update
from jobchain.domain import JobError, Status, isoformat
from jobchain.overrides import OTHER_MODEL
from jobchain.spending import NOTHING_SPENT, Bill, Spending, summed, summed_by_model

TRIES = 2
"""How often a write is made that its caller does not repeat, so that a lost answer loses no count of the metrics."""

# The vanished workers of a job that can still correct the estimates of their calls: META must stay small.
_LATE_KEPT = 4


def has_unsettled(meta: Item) -> bool:
    """Whether a worker vanished, so that its calls are not all in the totals."""
    return int(meta["claim"]) > settled_claim(meta)


def settled(meta: Item, until: int, bill: Bill, now: datetime) -> Item:
    """The attributes of META that say that all claims up to `until` are settled, and with which bill.

    A worker that was only slow can correct it later. Of the claims that are settled at once only the first can have
    called the model: a worker settles what an earlier one has left before it makes a call.
    """
    late = {str(settled_claim(meta) + 1): bill_item(bill, now)}
    if "late" not in meta:
        return {"settled": until, "late": late}
    return {"settled": until, **{f"late.{claim}": recorded for claim, recorded in late.items()}}


def bill_item(bill: Bill, now: datetime) -> Item:
    """A bill as an attribute of META, with the moment whose day it was added to."""
    return {"recorded_at": isoformat(now), "models": {model: totals(spending) for model, spending in bill.items()}}


def bill_of(item: Item) -> tuple[dict[str, Spending], datetime]:
    """What `bill_item` was made of."""
    bill = {model: spending_of(part) for model, part in item["models"].items()}
    return bill, datetime.fromisoformat(item["recorded_at"])


def outdated_late(meta: Item) -> tuple[str, ...]:
    """The entries of `late` that are dropped when another one is added."""
    return tuple(f"late.{claim}" for claim in sorted(meta.get("late", {}), key=int)[: 1 - _LATE_KEPT])


def total_of(bill: Bill) -> Item:
    """The sum of a bill as attributes that add up."""
    return totals(summed(bill.values()))


@dataclass(frozen=True, slots=True)
class EndedUnheld:
    """What metrics are told of a job that was ended without a worker.

    `spending` is what was recorded of workers that vanished, by model: of one that the job names itself as
    `OTHER_MODEL`, as the chains and the deployment's model are not known here. How a replay ends counts in no metric.
    """

    spending: Bill
    is_replay: bool


def end_unheld(
    table: Table,
    job: StoredJob,
    status: Status,
    now: datetime,
    announce: Announce,
    error: JobError | None = None,
    beside: Sequence[Write] = (),
) -> EndedUnheld:
    """Ends a job that no worker holds, as it was read with its attempts, and settles what vanished workers left.

    Its events are written with it, and announced. The writes `beside` it are made if and only if it ends.

    Raises ConditionFailed where the job has changed since.
    """
    meta = job.meta
    bill = _unsettled_bill(job)
    changes = _ended_unheld(job, status, now, error)
    if bill:
        changes |= settled(meta, int(meta["claim"]), bill, now)
    condition, values = unchanged(meta.get("token", ""))
    end = update(key(meta["pk"], meta["sk"]), condition, values, changes, REMOVED_WHEN_FINAL, total_of(bill))
    record = UsageRecord(ended=status, spent=bill, chain=meta["job_name"], replay=is_replay(meta))
    outbox = outbox_of(notification_of(job), meta["tenant"], status, now, error)
    write_with_usage(table, end, record, meta["tenant"], meta.get("key_id", ""), now, TRIES, [*outbox.writes, *beside])
    announce(outbox.keys)
    own = overrides_of(meta).model
    counted = summed_by_model((OTHER_MODEL if model == own else model, spending) for model, spending in bill.items())
    return EndedUnheld(counted, is_replay(meta))


def _ended_unheld(job: StoredJob, status: Status, now: datetime, error: JobError | None) -> Item:
    """The attributes of META with which the job ends. Steps that a slow worker stores after this do not count."""
    meta = job.meta
    own = [item for item in visible_steps(job) if item.get("claim") == meta["claim"]]
    sealed = newest_by_claim(own).get(str(int(meta["claim"])), 0)
    return {**ended(status, now, int(meta["claim"]), meta.get("started_at"), error), "sealed": sealed}


def _unsettled_bill(job: StoredJob) -> dict[str, Spending]:
    """What vanished workers left, by model: what their items hold, and an estimate for calls that were in flight."""
    bill = dict(unsettled_spending(job))
    if risk := job.meta.get("at_risk") if has_unsettled(job.meta) else None:
        model = risk["model"]
        bill[model] = bill.get(model, NOTHING_SPENT) + spending_of(risk)
    return bill
