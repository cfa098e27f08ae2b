"""Checks due jobs: those without messages, those whose workers crashed, and those whose messages may be lost.

What is known comes first. Whether a message was lost can't be told: a job whose worker has not come may as well wait in
a long queue. So a job that may have lost its message is sent again only while the queue is short, or after hours.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobchain.aws.due import DueStore
from jobchain.aws.items import Due
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue
from jobchain.domain import Clock, Tier
from jobchain.due_job import DueJob
from jobchain.errors import Unavailable
from jobchain.metrics import Meter, OutcomeMeter
from jobchain.observability import Logger
from jobchain_sweeper.resending import MAX_RESEND_GAP, Done, Resender

BACKLOG = 500
"""The messages of a queue from which on its jobs may wait for long though no message is lost.

Fewer than that are copied in one sweep, and worked off within minutes: a worker acknowledges a copy after one read.
"""

MOST_OVERDUE = 100
"""The most jobs that a sweep sends again for their age while the queue has a backlog."""


@dataclass(frozen=True, slots=True)
class _Page:
    """Due jobs of a shard, and whether it may have more."""

    jobs: list[DueJob]
    more: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one run did: jobs sent, jobs failed, and whether it stopped before all due jobs were checked.

    `backlog` counts the messages that wait, if that is why only known losses were checked; else it is 0.
    `oldest_due_seconds` is for how long the oldest due job had been due that it found, 0 if it found none.
    """

    sent: int = 0
    failed: int = 0
    unfinished: bool = False
    backlog: int = 0
    # What it found, not what it did.
    oldest_due_seconds: int = field(default=0, compare=False)


class Sweeper:
    """Sends the messages of due jobs."""

    def __init__(
        self,
        *,
        due: DueStore,
        queue: JobQueue,
        clock: Clock,
        logger: Logger,
        meter: Meter,
        outcome_meter: OutcomeMeter,
        threads: int,
        page_size: int,
        most: int,
    ) -> None:
        """Changes `threads` jobs at a time, reads `page_size` of each shard at once.

        It sends about `most` jobs a sweep whose messages may be lost.
        """
        self._due = due
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self._meter = meter
        self._outcome_meter = outcome_meter
        self._threads = threads
        self._page_size = page_size
        self._most = most

    def sweep(self, deadline: datetime) -> Sweep:
        """Checks the due jobs until all are checked or `deadline` is reached; the others are due in the next sweep too.

        Raises Unavailable where no shard of the index can be read.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            resender = Resender(
                due=self._due,
                queue=self._queue,
                clock=self._clock,
                logger=self._logger,
                meter=self._meter,
                outcome_meter=self._outcome_meter,
                pool=pool,
            )
            return _Run(self._due, self._queue, self._clock, self._logger, resender, pool, self._page_size).run(
                deadline, self._most
            )


class _Run:
    """One sweep."""

    def __init__(
        self,
        due: DueStore,
        queue: JobQueue,
        clock: Clock,
        logger: Logger,
        resender: Resender,
        pool: Executor,
        page_size: int,
    ) -> None:
        self._due = due
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self._resender = resender
        self._pool = pool
        self._page_size = page_size
        self._sent = self._failed = self._backlog = 0
        self._unfinished = self._queue_refuses = False
        self._is_read: set[bool] = set()
        self._oldest = timedelta(0)

    def run(self, deadline: datetime, most: int) -> Sweep:
        """Checks what is known before what may be. Each kind but the last may take half of the time that is left."""
        self._check_shards(Due.UNSENT, self._half(deadline), self._resender.send_unsent)
        self._check_shards(Due.LATER, self._half(deadline), self._resender.send_unsent)
        self._find_backlog()
        if self._backlog:
            self._check_leases(self._half(deadline))
            self._check_shards(Due.SENT, deadline, self._resender.send_again, MOST_OVERDUE, MAX_RESEND_GAP)
        else:
            self._check_shards(Due.SENT, deadline, self._resender.send_again, most)
        if self._is_read == {False}:
            raise Unavailable("no shard of the index can be read")
        return Sweep(self._sent, self._failed, self._unfinished, self._backlog, int(self._oldest.total_seconds()))

    def _half(self, deadline: datetime) -> datetime:
        now = self._clock()
        return now + (deadline - now) / 2

    def _find_backlog(self) -> None:
        """Counts the messages of the queue that most jobs wait in; those that workers have are claimed."""
        if self._queue_refuses:
            return
        try:
            depth = self._queue.depth(Tier.STANDARD)
        except Unavailable as error:
            log_unavailable(self._logger, "the queue does not answer, nothing more is sent", error)
            self._queue_refuses = True
            return
        waiting = depth.waiting + depth.delayed
        self._backlog = waiting if waiting >= BACKLOG else 0

    def _check_shards(
        self,
        due: Due,
        until: datetime,
        check: Callable[[Sequence[DueJob]], Done],
        most: int | None = None,
        since: timedelta = timedelta(0),
    ) -> None:
        """Checks the jobs that are due `since` then or longer, the oldest of each shard first.

        It stops after about `most` messages, and where the queue or the table refuses.
        """
        shards: list[int] = [*due.value]
        sent = 0
        while shards and not self._queue_refuses and (most is None or sent < most) and self._clock() < until:
            found = self._pool.map(lambda shard: self._read(shard, since), shards)
            pages = dict(zip(shards, found, strict=True))
            self._unfinished |= None in pages.values()
            self._is_read.update(page is not None for page in pages.values())
            jobs = [job for page in pages.values() if page for job in page.jobs]
            now = self._clock()
            self._oldest = max([self._oldest, *(now - job.due_at for job in jobs if job.due_at)])
            done = check(jobs)
            self._add(done)
            sent += done.sent
            if done.table_refuses:
                break
            shards = [shard for shard, page in pages.items() if page and page.jobs and page.more]
        self._unfinished |= bool(shards) or self._queue_refuses

    def _check_leases(self, until: datetime) -> None:
        """Checks the jobs whose workers vanished, wherever in the backlog they are."""
        try:
            for jobs in self._due.expired():
                if self._queue_refuses or self._clock() >= until:
                    self._unfinished = True
                    return
                self._add(self._resender.send_again(jobs))
        except Unavailable as error:
            log_unavailable(self._logger, "leases not read, left for the next sweep", error)
            self._unfinished = True

    def _read(self, shard: int, since: timedelta) -> _Page | None:
        try:
            return _Page(*self._due.due_jobs(shard, self._page_size, since))
        except Unavailable as error:
            log_unavailable(self._logger, "shard not read, left for the next sweep", error, shard=shard)
            return None

    def _add(self, done: Done) -> None:
        self._sent += done.sent
        self._failed += done.failed
        self._queue_refuses |= done.queue_refuses
