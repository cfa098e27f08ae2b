"""What the sweeper does with jobs that are due: fails them, postpones them, and sends their messages."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress

from jobchain.aws.due import DueStore
from jobchain.aws.items import DISPATCH_GRACE
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue, batches
from jobchain.domain import Clock, JobError, Tier
from jobchain.due_job import DueJob
from jobchain.errors import Unavailable
from jobchain.metrics import Meter, OutcomeMeter
from jobchain.observability import Logger
from jobchain.outcomes import failed

MAX_CRASHES = 5
"""Claims in a row whose workers vanished and stored no step, after which a job fails: it probably crashes them.

From the second on the job is a suspect, and the worker runs it alone. So it fails for three crashes that no other job
of its batch can have caused.
"""

MAX_RESEND_GAP = timedelta(hours=6)
"""The longest between two messages for the same job."""

# A lease has ended for certain by then: `due_at` is in whole seconds.
_AFTER_LEASE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of some due jobs: how many were sent and failed.

    Where the queue refuses messages or the table refuses all changes, the same jobs are still due, and must not be read
    again at once.
    """

    sent: int = 0
    failed: int = 0
    queue_refuses: bool = False
    table_refuses: bool = False


class Resender:
    """Sends the messages of due jobs again."""

    def __init__(
        self,
        *,
        due: DueStore,
        queue: JobQueue,
        clock: Clock,
        logger: Logger,
        meter: Meter,
        outcome_meter: OutcomeMeter,
        pool: Executor,
    ) -> None:
        """Changes as many jobs at a time as `pool` has threads."""
        self._due = due
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self._meter = meter
        self._outcome_meter = outcome_meter
        self._pool = pool

    def send_unsent(self, jobs: Sequence[DueJob]) -> Done:
        """Sends jobs that have no message, and makes them due as others whose messages are sent.

        Sent first, then postponed: no crash in between loses a message, it only sends another one.
        """
        waiting, failed, changes = self._sort_out(jobs)
        refused = self._send(waiting)
        accepted = [job for job in waiting if job.event_id not in refused]
        # A worker that claims the job first has made it due as that itself.
        changes += self._pool.map(self._postpone, accepted)
        return _done(len(accepted), failed, changes, queue_refuses=bool(refused))

    def send_again(self, jobs: Sequence[DueJob]) -> Done:
        """Sends jobs again whose messages may be lost, those first whose workers vanished.

        Postponed first, then sent: of two sweepers only one sends a job. The delay doubles each time, so that a backlog
        does not fill up with copies.
        """
        waiting, failed, changes = self._sort_out(jobs)
        waiting.sort(key=lambda job: job.held_until is None)
        moved = list(self._pool.map(self._postpone, waiting))
        postponed = list(compress(waiting, moved))
        refused = self._send(postponed)
        for job in postponed:
            if job.event_id in refused:
                self._mark_due(job)
        return _done(len(postponed) - len(refused), failed, [*changes, *moved], queue_refuses=bool(refused))

    def _sort_out(self, jobs: Sequence[DueJob]) -> tuple[list[DueJob], int, list[bool | None]]:
        """The jobs to send, after those that a worker holds are postponed, and those that crash their workers failed.

        Gives how many failed too, and what came of each change: see `_excused`.
        """
        now = self._clock()
        held, free = _by_hold(jobs, now)
        moved = list(self._pool.map(self._postpone_held, held))
        # It is sent when it has been decided, or decided to go on here: then it is due as one without a message.
        parked = [job for job in free if job.is_parked]
        decided = list(self._pool.map(self._decide, parked))
        free = [job for job in free if not job.is_parked]
        crashing = [job for job in free if job.crashes >= MAX_CRASHES]
        ended = list(self._pool.map(self._fail, crashing))
        over = {job.event_id for job in compress(crashing, ended)}
        return [job for job in free if job.event_id not in over], len(over), [*moved, *decided, *ended]

    def _postpone_held(self, job: DueJob) -> bool | None:
        """Makes the job due when its worker's lease has ended: a job that ends before that needs no check."""
        until = (job.held_until or self._clock()) + _AFTER_LEASE
        return self._excused(job, lambda: self._due.postpone(job, until))

    def _fail(self, job: DueJob) -> bool | None:
        message = f"{job.crashes} workers in a row crashed or lost the job before they stored a step"
        error = JobError("worker_lost", message)

        def change() -> bool:
            end = self._due.fail_stalled(job, error)
            if end is None:
                return False
            for model, spending in end.spending.items():
                self._meter(job.job_name, model, spending)
            if not end.is_replay:
                self._outcome_meter(failed(error))
            self._logger.warning("job failed", event_id=job.event_id, type=error.type, reason=error.message)
            return True

        return self._excused(job, change)

    def _decide(self, job: DueJob) -> bool | None:
        """Decides a step as its chain says, as no decision has come in time."""

        def change() -> bool:
            done, outcome = self._due.decide_overdue(job)
            if outcome:
                self._outcome_meter(outcome)
            if done:
                self._logger.info("decided at its deadline", event_id=job.event_id)
            return done

        return self._excused(job, change)

    def _postpone(self, job: DueJob) -> bool | None:
        return self._excused(job, lambda: self._due.postpone(job, self._clock() + resend_gap(job.sends), sends=1))

    def _mark_due(self, job: DueJob) -> None:
        def change() -> bool:
            self._due.mark_due(job.event_id, self._clock())
            return True

        self._excused(job, change)

    def _excused(self, job: DueJob, change: Callable[[], bool]) -> bool | None:
        """The result of `change`; None where the table does not answer, and the job is left for the next sweep."""
        try:
            return change()
        except Unavailable as error:
            log_unavailable(self._logger, "job left for the next sweep", error, event_id=job.event_id)
            return None

    def _send(self, jobs: Sequence[DueJob]) -> set[str]:
        """Sends the jobs' messages; the ids of those that the queue refuses."""
        refused = {event_id for ids in self._pool.map(self._send_batch, _batches_of_a_tier(jobs)) for event_id in ids}
        for event_id in sorted(refused):
            self._logger.warning("message not sent", event_id=event_id)
        return refused

    def _send_batch(self, jobs: Sequence[DueJob]) -> list[str]:
        try:
            return self._queue.send_batch([(job.event_id, job.tenant) for job in jobs], jobs[0].tier)
        except Unavailable as error:
            log_unavailable(self._logger, "the queue does not answer", error)
            return [job.event_id for job in jobs]


def resend_gap(sends: int) -> timedelta:
    """How long after its last message a job is due, when this many were sent before that one."""
    # Seven doublings exceed the longest gap; a few hundred would exceed what a timedelta can hold.
    doublings: int = 2 ** min(sends, 7)
    return min(DISPATCH_GRACE * doublings, MAX_RESEND_GAP)


def _by_hold(jobs: Sequence[DueJob], now: datetime) -> tuple[list[DueJob], list[DueJob]]:
    """The jobs that a worker holds, and those that none holds or whose worker's lease has ended."""
    held: list[DueJob] = []
    free: list[DueJob] = []
    for job in jobs:
        (held if job.held_until and job.held_until >= now else free).append(job)
    return held, free


def _done(sent: int, failed: int, changes: Iterable[bool | None], *, queue_refuses: bool) -> Done:
    results = list(changes)
    table_refuses = bool(results) and all(result is None for result in results)
    return Done(sent, failed, queue_refuses, table_refuses)


def _batches_of_a_tier(jobs: Sequence[DueJob]) -> Iterator[Sequence[DueJob]]:
    for tier in Tier:
        yield from batches([job for job in jobs if job.tier is tier])
