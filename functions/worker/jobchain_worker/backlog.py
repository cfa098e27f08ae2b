"""How much work waits in the queues, as one worker sees it."""

import time
from datetime import timedelta

from jobchain.aws.queue import JobQueue
from jobchain.domain import Tier
from jobchain.errors import Unavailable

DEPTH_KEPT = timedelta(seconds=5)


class Backlog:
    """How many messages the tiers' queues hold, at most `DEPTH_KEPT` old; none where a queue does not tell."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._known: dict[Tier, tuple[int, float]] = {}

    def messages(self, tier: Tier) -> int:
        """The messages that wait or are delayed."""
        known, until = self._known.get(tier, (0, float("-inf")))
        if time.monotonic() > until:
            try:
                depth = self._queue.depth(tier)
                known = depth.waiting + depth.delayed
            except Unavailable:
                known = 0
            self._known[tier] = (known, time.monotonic() + DEPTH_KEPT.total_seconds())
        return known
