"""When a caller should read an unfinished job again: when it has probably ended.

That is worked out from what the tenant's recent jobs of the same chain took, and from the length of the queue. It costs
no write, and few reads: an environment learns from the completed jobs that callers read anyway.
"""

import math
from datetime import datetime, timedelta

from jobchain.aws.jobs import JobStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue, QueueDepth
from jobchain.domain import Clock, Job, Status, Tier, WaitReason, tier_at
from jobchain.errors import Unavailable
from jobchain.observability import Logger
from jobchain_api.durations import Durations, median, remaining

LEAST_SECONDS = 1
"""The answer where nothing is known."""

MOST_SECONDS = 60
"""The longest answer: a caller sees within a minute what was estimated wrong, or what an operator has changed."""

_ENOUGH = 5  # jobs whose durations are known
_ASKED = 50  # jobs that are read at once, for about 3 read units
_ASK_EVERY = timedelta(minutes=5)
_DEPTH_KEPT = timedelta(seconds=5)

# What took longer than all others is asked for again after this share of its time.
_OVERDUE = 0.25


class RetryAfter:
    """The values of the header `Retry-After`, in whole seconds. No method raises."""

    def __init__(self, *, jobs: JobStore, queue: JobQueue, clock: Clock, logger: Logger) -> None:
        self._jobs = jobs
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self._durations = Durations()
        self._depths: dict[Tier, tuple[datetime, QueueDepth]] = {}

    def learn(self, job: Job) -> None:
        """Learns from a job that was read, if it has completed."""
        self._durations.learn(job)

    def of_new(self, job: Job) -> int:
        """For a job that a request has stored, or found. Asks neither table nor queue: that would delay the request."""
        if job.status.final:
            return 0
        now = self._clock()
        return _whole(self._left(job, now, self._known_depth(job, now)))

    def of(self, job: Job) -> int:
        """For an unfinished job that was read, with what it waits for. Asks the table and the queue now and then."""
        now = self._clock()
        depth = None
        # A request that has met one fault does not wait for a second one.
        if self._asked(job, now) and job.status is Status.PENDING and _is_in_queue(job):
            depth = self._depth(job, now)
        return _whole(self._left(job, now, depth))

    def of_next_event(self, job: Job, steps: int) -> int:
        """For the events of an unfinished job with this number of steps to come, each of which is an event."""
        seconds = self.of(job)
        if job.waiting_for and job.waiting_for.until:
            return seconds
        return _whole(seconds / (steps + (job.status is Status.PENDING) or 1))

    def _asked(self, job: Job, now: datetime) -> bool:
        """Reads the tenant's recent jobs, if few are known; False where the table does not answer."""
        if len(self._durations.of(job)) >= _ENOUGH or not self._durations.may_ask(job.tenant, now, _ASK_EVERY):
            return True
        try:
            for ended in self._jobs.completed(job.tenant, _ASKED):
                self._durations.learn(ended)
        except Unavailable as error:
            log_unavailable(self._logger, "recent jobs not read", error)
            return False
        return True

    def _depth(self, job: Job, now: datetime) -> QueueDepth | None:
        if known := self._known_depth(job, now):
            return known
        tier = tier_at(job.flex_until, now)
        try:
            depth = self._queue.depth(tier)
        except Unavailable as error:
            log_unavailable(self._logger, "the queue does not tell its length", error)
            return None
        self._depths[tier] = now, depth
        return depth

    def _known_depth(self, job: Job, now: datetime) -> QueueDepth | None:
        known = self._depths.get(tier_at(job.flex_until, now))
        return known[1] if known and now - known[0] < _DEPTH_KEPT else None

    def _left(self, job: Job, now: datetime, depth: QueueDepth | None) -> float:
        """The seconds until the job has probably ended."""
        took = self._durations.of(job)
        runs = [each.run for each in took]
        if job.status is Status.PROCESSING:
            # A claim is what changed it last.
            return _left_of(runs, _since(job.updated_at, now))
        waits = job.waiting_for
        elapsed = _since(waits.since if waits else job.updated_at, now)
        run = remaining(runs, 0) or 0
        if waits and waits.until:
            return run - _since(waits.until, now)
        if not _is_in_queue(job):
            return elapsed * _OVERDUE
        if depth is None or not runs:
            return _left_of([each.total for each in took], elapsed)
        return max(_line(depth, median(runs)) + run, elapsed * _OVERDUE)


def _is_in_queue(job: Job) -> bool:
    return job.waiting_for is None or job.waiting_for.reason is WaitReason.QUEUE


def _line(depth: QueueDepth, run: float) -> float:
    """The seconds that a job of the queue waits for a worker, where jobs take `run` seconds.

    A queue does not tell the place of a message: half of the line is expected to be before it.
    """
    return depth.waiting / depth.in_flight * run / 2 if depth.in_flight else 0


def _left_of(seconds: list[float], elapsed: float) -> float:
    left = remaining(seconds, elapsed)
    return elapsed * _OVERDUE if left is None else left


def _since(moment: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(moment)).total_seconds()


def _whole(seconds: float) -> int:
    return min(max(math.ceil(seconds), LEAST_SECONDS), MOST_SECONDS)
