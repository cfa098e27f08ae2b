"""Checks due jobs: those whose messages were lost, and those whose workers crashed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, compress

from jobchain.aws.due import DueStore
from jobchain.aws.items import DISPATCH_GRACE, DUE_SHARDS
from jobchain.aws.queue import JobQueue, batches
from jobchain.domain import Clock, DueJob, JobError, Tier
from jobchain.errors import Unavailable
from jobchain.metrics import Meter
from jobchain.observability import Logger, describe

MAX_CRASHES = 5
"""Claims in a row whose workers vanished and stored no step, after which a job fails: it probably crashes them."""

MAX_RESEND_GAP = timedelta(hours=6)
"""The longest between two messages for the same job."""

# A lease has ended for certain by then: `due_at` is in whole seconds.
_AFTER_LEASE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Page:
    """Due jobs of a shard, and whether it may have more."""

    jobs: list[DueJob]
    more: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one run did: jobs sent again, jobs failed, and whether it stopped before all due jobs were checked."""

    sent: int = 0
    failed: int = 0
    unfinished: bool = False


class Sweeper:
    """Sends the messages of due jobs again."""

    def __init__(
        self,
        *,
        due: DueStore,
        queue: JobQueue,
        clock: Clock,
        logger: Logger,
        meter: Meter,
        threads: int,
        page_size: int,
        most: int,
    ) -> None:
        """Postpones `threads` jobs at a time, reads `page_size` of each shard at once, sends about `most` a sweep."""
        self._due = due
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self._meter = meter
        self._threads = threads
        self._page_size = page_size
        self._most = most

    def sweep(self, deadline: datetime) -> Sweep:
        """Checks the due jobs, the oldest of each shard first, until all are checked or `deadline` is reached.

        It stops after about `most` messages: the other due jobs are due in the next sweep too.
        Raises Unavailable where no shard can be read.
        """
        sent = failed = 0
        shards = list(range(DUE_SHARDS))
        unread: set[int] = set()
        with ThreadPoolExecutor(self._threads) as pool:
            while shards and sent < self._most and self._clock() < deadline:
                pages = dict(zip(shards, pool.map(self._read, shards), strict=True))
                unread |= {shard for shard, page in pages.items() if page is None}
                if len(unread) == DUE_SHARDS:
                    raise Unavailable("no shard of the index can be read")
                due = list(chain.from_iterable(page.jobs for page in pages.values() if page))
                held, free = _by_hold(due, self._clock())
                ended = list(pool.map(self._end_if_stalled, free))
                failed += sum(ended)
                waiting = [job for job, over in zip(free, ended, strict=True) if not over]
                # Postponed first, then sent: of two sweepers only one sends a job. The delay doubles each time, so
                # that a backlog does not fill up with copies.
                moved = sum(pool.map(self._postpone_held, held))
                postponed = list(compress(waiting, pool.map(self._postpone, waiting)))
                accepted = sum(pool.map(self._send, _batches_of_a_tier(postponed)))
                sent += accepted
                if accepted < len(postponed):
                    break  # the queue refuses jobs: they are due again, and must not be read again at once
                if due and not (moved or postponed or any(ended)):
                    break  # the table refuses every change: the same jobs would be read again at once
                shards = [shard for shard, page in pages.items() if page and page.jobs and page.more]
        return Sweep(sent, failed, unfinished=bool(shards or unread))

    def _read(self, shard: int) -> _Page | None:
        try:
            return _Page(*self._due.due_jobs(shard, self._page_size))
        except Unavailable as error:
            self._logger.warning("shard not read, left for the next sweep", shard=shard, extra=describe(error))
            return None

    def _end_if_stalled(self, job: DueJob) -> bool:
        return job.crashes >= MAX_CRASHES and self._fail(job)

    def _postpone_held(self, job: DueJob) -> bool:
        """Makes the job due when its worker's lease has ended: a job that ends before that needs no check."""
        until = (job.held_until or self._clock()) + _AFTER_LEASE
        return self._excused(job, lambda: self._due.postpone(job, until))

    def _fail(self, job: DueJob) -> bool:
        message = f"{job.crashes} workers in a row crashed or lost the job before they stored a step"

        def change() -> bool:
            recorded = self._due.fail_stalled(job, JobError("worker_lost", message))
            for model, spending in (recorded or {}).items():
                self._meter(job.job_name, model, spending)
            return recorded is not None

        return self._excused(job, change)

    def _postpone(self, job: DueJob) -> bool:
        # Seven doublings exceed the longest gap; a few hundred would exceed what a timedelta can hold.
        wait = min(DISPATCH_GRACE * 2 ** min(job.sends, 7), MAX_RESEND_GAP)
        return self._excused(job, lambda: self._due.postpone(job, self._clock() + wait, sends=1))

    def _mark_due(self, job: DueJob) -> bool:
        def change() -> bool:
            self._due.mark_due(job.event_id, self._clock())
            return True

        return self._excused(job, change)

    def _excused(self, job: DueJob, change: Callable[[], bool]) -> bool:
        """The result of `change`; where the table does not answer for this job, it is left for the next sweep."""
        try:
            return change()
        except Unavailable as error:
            self._logger.warning("job left for the next sweep", event_id=job.event_id, extra=describe(error))
            return False

    def _send(self, jobs: Sequence[DueJob]) -> int:
        """Sends a batch; the jobs that the queue refuses are due again at once. Gives how many it accepted."""
        refused = self._queue.send_batch([(job.event_id, job.tenant) for job in jobs], jobs[0].tier)
        for job in jobs:
            if job.event_id in refused:
                self._logger.warning("message not sent", event_id=job.event_id)
                self._mark_due(job)
        return len(jobs) - len(refused)


def _by_hold(jobs: Sequence[DueJob], now: datetime) -> tuple[list[DueJob], list[DueJob]]:
    """The jobs that a worker holds, and those that none holds or whose worker's lease has ended."""
    held: list[DueJob] = []
    free: list[DueJob] = []
    for job in jobs:
        (held if job.held_until and job.held_until >= now else free).append(job)
    return held, free


def _batches_of_a_tier(jobs: Sequence[DueJob]) -> Iterator[Sequence[DueJob]]:
    for tier in Tier:
        yield from batches([job for job in jobs if job.tier is tier])
