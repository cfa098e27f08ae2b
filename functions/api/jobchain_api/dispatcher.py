"""Sends the messages of accepted jobs."""

from collections.abc import Sequence

from jobchain.aws.due import DueStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue, batches
from jobchain.domain import Clock, Job, Tier, tier_at
from jobchain.errors import Unavailable
from jobchain.observability import Logger


class Dispatcher:
    """Sends the messages of jobs that are stored. A job that the queue does not take becomes due at once."""

    def __init__(self, *, queue: JobQueue, due: DueStore, clock: Clock, logger: Logger) -> None:
        self._queue = queue
        self._due = due
        self._clock = clock
        self._logger = logger

    def dispatch(self, jobs: Sequence[Job]) -> None:
        """Sends the messages of `jobs`. Raises nothing: the sweeper sends those that are not sent."""
        refused = self._send(jobs)
        if not refused:
            return
        self._logger.warning("jobs accepted, not sent yet", jobs=len(refused))
        try:
            for event_id in refused:
                self._due.mark_due(event_id, self._clock())
        except Unavailable as error:
            # They are stored with a later due time: this delays the jobs and loses none.
            log_unavailable(self._logger, "jobs not marked due", error)

    def _send(self, jobs: Sequence[Job]) -> list[str]:
        """Sends messages; the ids of the jobs whose messages the queue does not take."""
        if len(jobs) == 1:
            return self._send_one(jobs[0])
        refused: list[str] = []
        answers = True
        for tier in Tier:
            for batch in batches([job for job in jobs if self._tier(job) is tier]):
                ids = [job.event_id for job in batch]
                # After the first batch of which it takes none, the others are not tried: each would wait for a timeout.
                failed = self._send_batch(batch, tier) if answers else ids
                answers = len(failed) < len(ids)
                refused += failed
        return refused

    def _send_one(self, job: Job) -> list[str]:
        try:
            self._queue.send(job.event_id, job.tenant, tier=self._tier(job))
        except Unavailable as error:
            log_unavailable(self._logger, "the queue does not answer", error)
            return [job.event_id]
        return []

    def _send_batch(self, jobs: Sequence[Job], tier: Tier) -> list[str]:
        try:
            return self._queue.send_batch([(job.event_id, job.tenant) for job in jobs], tier)
        except Unavailable as error:
            log_unavailable(self._logger, "the queue does not answer", error)
            return [job.event_id for job in jobs]

    def _tier(self, job: Job) -> Tier:
        """The tier of the job's queue. A flex job whose time for flex calls is over is a standard one."""
        return tier_at(job.flex_until, self._clock())
