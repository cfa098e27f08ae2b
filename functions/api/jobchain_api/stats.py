"""The numbers of a tenant's jobs."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobchain.aws.queue import QueueDepth
from jobchain.daily_usage import DailyUsage
from jobchain.domain import Status


@dataclass(frozen=True, slots=True)
class Stats:
    """A tenant's job counts and daily usage.

    `queue` and `dead_letters` concern all tenants: None for a caller that is not an operator.
    """

    unfinished: Mapping[Status, int]
    today: DailyUsage
    queue: QueueDepth | None
    dead_letters: QueueDepth | None
