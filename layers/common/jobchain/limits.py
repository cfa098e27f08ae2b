"""The limits of an API key: how much its tenant may do."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from jobchain.daily_usage import DailyUsage
from jobchain.domain import NO_BUDGET, DailyBudget
from jobchain.errors import LimitReached

MAX_COUNTED = 10_000
"""The most unfinished jobs of a tenant that are counted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a key; None is without limit. Days and minutes are those of UTC."""

    jobs_per_minute: int | None = None
    unfinished_jobs: int | None = None
    tokens_per_day: int | None = None
    cost_usd_per_day: Decimal | None = None
    requests_per_minute: int | None = None

    @property
    def has_daily_budget(self) -> bool:
        """Whether any of them limits the daily usage."""
        return self.daily_budget != NO_BUDGET

    @property
    def daily_budget(self) -> DailyBudget:
        """Those of them that limit the daily usage."""
        return DailyBudget(self.tokens_per_day, self.cost_usd_per_day)

    def check_daily_usage(self, today: DailyUsage, now: datetime) -> None:
        """Raises LimitReached where the day's budget is used up."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        tokens = today.spending.usage.input_tokens + today.spending.usage.output_tokens
        if self.tokens_per_day is not None and tokens >= self.tokens_per_day:
            raise LimitReached("tokens_per_day", self.tokens_per_day, midnight - now)
        if self.cost_usd_per_day is not None and today.spending.known_cost_usd >= self.cost_usd_per_day:
            raise LimitReached("cost_usd_per_day", self.cost_usd_per_day, midnight - now)


NO_LIMITS = Limits()
