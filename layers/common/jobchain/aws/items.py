"""The keys of a job's items, the conditions on them, and values that several of them have.

A job is several items under one partition key, so that a change of status never rewrites a long text:
META (small: status, claim, times, totals, error), INPUT# and METADATA# (the caller's, written once, before META), one
STEP# for each completed step and one ATTEMPT# for each call that failed. `docs/explanation/table.md` tells who writes
which of them, under which condition.
"""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from jobchain.aws.attributes import Item
from jobchain.aws.table import Table
from jobchain.aws.writes import epoch, key
from jobchain.domain import Status
from jobchain.spending import Estimate, Spending, Usage


class Due(Enum):
    """Why the sweeper checks a job when it is due. Each reason has shards of the index `due` of its own.

    Shards are partitions, so that the writes of the index are spread over several.
    """

    SENT = range(8)
    """Its message was sent, and may be lost; or a worker holds it, and may crash."""
    UNSENT = range(8, 16)
    """It has no message, as the queue did not take it."""
    LATER = range(16, 20)
    """Its message is sent then: when a wait is over that the queue can't delay, or its time for flex calls."""

    def shard(self, event_id: str) -> int:
        """The shard that holds the job."""
        return self.value[zlib.crc32(event_id.encode()) % len(self.value)]


DISPATCH_GRACE = timedelta(minutes=5)
"""How long a job may wait for a worker after its message was sent before the sweeper checks it."""

# What a transaction may hold: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
MAX_WRITES = 99
"""The most writes of a transaction, besides the one of the daily usage."""

MOVE_TRIES = 5
"""How many times a change is tried while other writers change the same items first."""

READABLE_FOR = timedelta(days=1)
"""A job ends at least so long before it is erased: its caller can still read how."""


def deadline_at(now: datetime, deadline: timedelta, expires_at: int) -> int:
    """The moment until which a job that begins to wait now is tried, in seconds since 1970."""
    return min(epoch(now + deadline), expires_at - int(READABLE_FOR.total_seconds()))


# Conditions on a job's status, and their values.
PROCESSING: Item = {":processing": Status.PROCESSING}
UNFINISHED: Item = {":pending": Status.PENDING, **PROCESSING}
# No worker holds it. After a crash a job still says "processing", with an expired lease.
FREE = "#status = :pending OR (#status = :processing AND lease_until < :now)"

REMOVED_WHEN_FINAL = (
    "due_shard",
    "due_at",
    "lease_until",
    "not_before",
    "cancel_requested",
    "waiting_for",
    "at_risk",
    "sends",
    "crashes",
)

# A text of more bytes is stored compressed: below that, it costs one unit anyway.
_COMPRESSED_FROM = 1024


def job_key(event_id: str, sk: str = "META") -> Item:
    """The key of one of the job's items."""
    return key(f"JOB#{event_id}", sk)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job's META, and the others of its items that one read gave, in the order of their keys."""

    meta: Item
    items: tuple[Item, ...] = ()

    def of_kind(self, kind: str) -> list[Item]:
        """The items of a kind: INPUT, METADATA, STEP or ATTEMPT."""
        # Jobs that earlier versions stored have an item INPUT, without a uid.
        return [item for item in self.items if item["sk"].split("#", 1)[0] == kind]


def read_job(table: Table, event_id: str, first: str = "META", last: str = "STEP$") -> StoredJob | None:
    """The job with its items from sort key `first` to `last`, META among them, by a consistent read."""
    found = table.query(f"JOB#{event_id}", first, last)
    meta = next((item for item in found if item["sk"] == "META"), None)
    if meta is None:
        return None
    return StoredJob(meta, tuple(item for item in found if item is not meta and belongs(item, meta)))


def belongs(item: Item, meta: Item) -> bool:
    """Whether the item is of this job, and not a remainder of an earlier one of the same id."""
    # A job that an earlier version stored has no uid. What remains of such jobs is told apart by when it expires.
    uid = meta.get("uid", "")
    return bool(item.get("uid", "") == uid and (uid or item["expires_at"] == meta["expires_at"]))


def unchanged(token: str) -> tuple[str, Item]:
    """The condition that META is as it was read, and its values. `token` is empty where META had none."""
    if token:
        return "#token = :seen", {":seen": token}
    # stored by an earlier version, and not changed since
    return "attribute_exists(pk) AND attribute_not_exists(#token)", {}


def packed(text: str) -> str | bytes:
    """A text as it is stored."""
    encoded = text.encode()
    return text if len(encoded) <= _COMPRESSED_FROM else zlib.compress(encoded)


def unpacked(stored: str | bytes) -> str:
    """The text that `packed` stored."""
    return stored if isinstance(stored, str) else zlib.decompress(stored).decode()


# --- sums ----------------------------------------------------------------------------------------

_ESTIMATED = "estimated_"


def totals(spending: Spending) -> Item:
    """`spending` as attributes that add up; what is zero is left out."""
    counts = {
        **asdict(spending.usage),
        "cost_usd": spending.known_cost_usd,
        "unpriced_calls": spending.unpriced_calls,
        "calls": spending.calls,
        "retries": spending.retries,
        **{f"{_ESTIMATED}{name}": count for name, count in asdict(spending.estimated).items()},
    }
    return {name: count for name, count in counts.items() if count}


def spending_of(item: Mapping[str, Any]) -> Spending:
    """The sum of the `totals` that were added to an item."""
    usage = Usage(**{name: int(item.get(name, 0)) for name in asdict(Usage())})
    unpriced, calls, retries = (int(item.get(name, 0)) for name in ("unpriced_calls", "calls", "retries"))
    estimated = Estimate(
        calls=int(item.get("estimated_calls", 0)),
        input_tokens=int(item.get("estimated_input_tokens", 0)),
        output_tokens=int(item.get("estimated_output_tokens", 0)),
        cost_usd=item.get("estimated_cost_usd", Decimal(0)),
    )
    return Spending(usage, item.get("cost_usd", Decimal(0)), unpriced, calls, retries, estimated)
