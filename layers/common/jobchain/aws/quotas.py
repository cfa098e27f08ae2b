"""How much a tenant may do, and how that is held to when jobs come in."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from jobchain.aws.table import Item, Table, epoch, key
from jobchain.aws.usage import Day
from jobchain.errors import LimitReached

_UNFINISHED_RETRY = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a key; None is without limit. Days and minutes are those of UTC."""

    jobs_per_minute: int | None = None
    unfinished_jobs: int | None = None
    tokens_per_day: int | None = None
    cost_usd_per_day: Decimal | None = None

    @property
    def of_the_day(self) -> bool:
        """Whether any of them is held against the day's books."""
        return self.tokens_per_day is not None or self.cost_usd_per_day is not None

    def check_day(self, day: Day, now: datetime) -> None:
        """Raises LimitReached where the day's budget is used up."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        tokens = day.spending.usage.input_tokens + day.spending.usage.output_tokens
        if self.tokens_per_day is not None and tokens >= self.tokens_per_day:
            raise LimitReached("tokens_per_day", self.tokens_per_day, midnight - now)
        if self.cost_usd_per_day is not None and day.spending.known_cost_usd >= self.cost_usd_per_day:
            raise LimitReached("cost_usd_per_day", self.cost_usd_per_day, midnight - now)

    def gates(self, tenant: str, now: datetime) -> "list[Gate]":
        """What the transaction of a new job has to pass."""
        gates = []
        if self.jobs_per_minute is not None:
            minute = now.astimezone(UTC).replace(second=0, microsecond=0)
            sk = f"MINUTE#{minute:%Y-%m-%dT%H:%M}"
            wait = minute + timedelta(minutes=1) - now
            gates.append(Gate("jobs_per_minute", self.jobs_per_minute, key(f"TENANT#{tenant}", sk), wait, now))
        if self.unfinished_jobs is not None:
            where = key(f"TENANT#{tenant}", "UNFINISHED")
            gates.append(Gate("unfinished_jobs", self.unfinished_jobs, where, _UNFINISHED_RETRY, now, recounted=True))
        return gates


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Gate:
    """A number of jobs that may pass, counted in the transaction that stores them.

    One that is `recounted` only ever grows: it is an upper bound, to be counted anew when it is in the way. So the
    end of a job need not be counted, and yet jobs that come at the same moment can't pass the limit together.
    """

    limit: str
    most: int
    key: Item
    retry_after: timedelta
    now: datetime
    recounted: bool = False

    def write(self, table: Table, count: int) -> Any:
        """Lets `count` jobs pass, not more than `most`, or fails."""
        kept = {"expires_at": epoch(self.now + timedelta(days=400 if self.recounted else 1))}
        condition = "attribute_not_exists(taken) OR taken <= :room"
        update = table.update(self.key, condition, {":room": self.most - count}, kept, added={"taken": count})
        return {"Update": update}

    def refusal(self) -> LimitReached:
        """The error of a job that can't pass."""
        return LimitReached(self.limit, self.most, self.retry_after)
