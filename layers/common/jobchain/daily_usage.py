"""A tenant's jobs and usage of one day."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobchain.domain import Status
from jobchain.spending import NOTHING_SPENT, Spending


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """A tenant's jobs and their usage on one day (UTC): how many were created, how many ended how, what they used.

    `by_model` and `by_key` are the same spending by the model that was called, and by the API key of the job.
    """

    date: str
    created: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    spending: Spending = NOTHING_SPENT
    by_model: Mapping[str, Spending] = field(default_factory=dict)
    by_key: Mapping[str, Spending] = field(default_factory=dict)
