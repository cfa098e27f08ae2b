"""Follows a tenant's jobs by reading lists of them, and gives each end of a job once.

A look lists the jobs that were created within a span before the last look, so that an API that did not answer for less
than that loses nothing, and reads each older job that had not ended.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from jobchain_client import Job, Jobchain, NotFound

OPEN_SPAN = timedelta(days=8)
"""How old a job may be that has not ended when the following begins: the longest deadline is seven days."""

_OPEN = ("pending", "processing")


@dataclass(slots=True)
class Follower:
    """Follows the jobs that were created in the `span` before each look, and those that have not ended.

    A job that is retried and ends twice between two looks has one end. The end of a job that was retried after the span
    is told if a look saw it before it ended.
    """

    client: Jobchain
    span: timedelta
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _last: datetime | None = None
    # When each job of the span ended that is known to have ended, and which ones had not.
    _ended: dict[str, datetime | None] = field(default_factory=dict)
    _open: dict[str, Job] = field(default_factory=dict)

    def look(self) -> list[Job]:
        """The jobs that ended since the last look, the earliest end first, with their metadata; none at the first look.

        Raises JobchainError, and then the next look has the same jobs.
        """
        now = self.clock()
        since = min(now, self._last or now) - self.span
        listed = {job.event_id: job for job in self.client.list(created_after=since, replays=True)}
        older = self._older(now) if self._last is None else self._read_older(listed)
        found = {**older, **listed}
        ended = [job for job in found.values() if job.final and not self._is_known(job)]
        told = [] if self._last is None else [self._with_metadata(job) for job in ended]
        # From here on nothing fails: what was found is told.
        kept = {event_id: at for event_id, at in self._ended.items() if event_id in listed}
        self._ended = kept | {job.event_id: job.finished_at for job in found.values() if job.final}
        self._open = {event_id: job for event_id, job in found.items() if not job.final}
        self._last = now
        return sorted(told, key=lambda job: job.finished_at or now)

    @property
    def waits_for(self) -> int:
        """How many jobs have not ended."""
        return len(self._open)

    def _is_known(self, job: Job) -> bool:
        return job.event_id in self._ended and self._ended[job.event_id] == job.finished_at

    def _older(self, now: datetime) -> dict[str, Job]:
        """The jobs that have not ended, as lists have them."""
        return {
            job.event_id: job
            for status in _OPEN
            for job in self.client.list(status, created_after=now - OPEN_SPAN, replays=True)
        }

    def _read_older(self, listed: dict[str, Job]) -> dict[str, Job]:
        """The jobs that had not ended at the last look, and are not in the list."""
        missing = [job for event_id, job in self._open.items() if event_id not in listed]
        return {job.event_id: job for job in self._read(missing)}

    def _read(self, known: Iterable[Job]) -> Iterator[Job]:
        for job in known:
            try:
                yield self.client.get(job.event_id, job)
            except NotFound:
                continue  # it was deleted

    def _with_metadata(self, job: Job) -> Job:
        """The job as it ended, with its metadata, which lists do not have."""
        try:
            found = self.client.get(job.event_id)
        except NotFound:
            return job
        # It may have been retried meanwhile: its end is told as the list has it.
        return found if found.finished_at == job.finished_at and found.final else job
