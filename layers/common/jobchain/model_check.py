"""What a look at the model's server found: whether it knows the model, and when it shuts it down.

Models die: their makers name a day some months ahead, and from that day on every job would fail.
"""

from dataclasses import dataclass
from datetime import date

from jobchain.aws.table import Item, Table, key

WARN_DAYS = 60
"""From how many days before its end on a model's users are warned."""

_KEY = key("MODEL", "META")


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What the server said of `model` at `checked_at`, a text of `isoformat`.

    `shutdown_date` is None where no end is announced, or the server does not tell.
    """

    model: str
    known: bool
    shutdown_date: date | None
    checked_at: str

    def days_left(self, today: date) -> int | None:
        """Days until the model's end, negative after it; None where no end is known."""
        return None if self.shutdown_date is None else (self.shutdown_date - today).days


def write_check(table: Table, check: ModelCheck) -> None:
    """Stores a check in place of the one before. Raises Unavailable."""
    item = {**_KEY, "model": check.model, "known": check.known, "checked_at": check.checked_at}
    if check.shutdown_date:
        item["shutdown_date"] = check.shutdown_date.isoformat()
    table.transact(lambda: [table.put(item)])


def read_check(table: Table) -> ModelCheck | None:
    """The last check, None where there was none yet. Raises Unavailable."""
    item = table.get(_KEY)
    return _check(item) if item else None


def _check(item: Item) -> ModelCheck:
    shutdown = item.get("shutdown_date")
    return ModelCheck(
        model=item["model"],
        known=item["known"],
        shutdown_date=date.fromisoformat(shutdown) if shutdown else None,
        checked_at=item["checked_at"],
    )
