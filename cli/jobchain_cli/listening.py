"""Forwards the ends of jobs to an address, and tries again what its receiver did not accept."""

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from jobchain_cli.following import Follower
from jobchain_cli.forwarding import Event, Forwarder, Try
from jobchain_client import Job, JobchainError, LimitReached, Unavailable, Unreachable

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""The seconds before the first further try of an event, the second, and so on; the last one before all others."""

_PASSING = (LimitReached, Unavailable, Unreachable)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A try of an event. `again` is in how many seconds it is tried again, None if it is not."""

    event: Event
    tried: Try
    again: float | None


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at the jobs. With an `error` the API did not answer, and is asked again."""

    error: JobchainError | None


@dataclass(order=True, slots=True)
class _Due:
    at: float
    number: int
    event: Event = field(compare=False)
    tries: int = field(compare=False, default=0)


@dataclass(slots=True)
class Listener:
    """Forwards each end of a job that `wanted` wants.

    `retries` is how often one is tried again that was not accepted, and `poll` the seconds between two looks.
    """

    follower: Follower
    forwarder: Forwarder
    wanted: Callable[[Job], bool]
    retries: int = 0
    poll: float = 2.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _due: list[_Due] = field(default_factory=list)
    _number: int = 0

    @property
    def left(self) -> int:
        """How many events wait for a try."""
        return len(self._due)

    def run(self) -> Iterator[Forwarded | Looked]:
        """Goes on without an end, and gives what it did. Raises JobchainError for a fault that does not pass."""
        while True:
            next_look = self.clock() + self.poll
            yield self._look()
            yield from self._forward_until(next_look)

    def _look(self) -> Looked:
        try:
            ended = self.follower.look()
        except _PASSING as error:
            return Looked(error)
        for job in filter(self.wanted, ended):
            self._put(Event.of(job), self.clock())
        return Looked(None)

    def _put(self, event: Event, at: float, tries: int = 0) -> None:
        self._number += 1
        heapq.heappush(self._due, _Due(at, self._number, event, tries))

    def _forward_until(self, end: float) -> Iterator[Forwarded]:
        """Makes the tries that are due before this time, and sleeps till then."""
        while self._due and self._due[0].at < end:
            self._sleep_until(self._due[0].at)
            # It is taken out once it was tried, so that one that is interrupted counts as left.
            first = self._due[0]
            tried = self.forwarder.send(first.event)
            heapq.heappop(self._due)
            yield Forwarded(first.event, tried, self._again(first, tried))
        self._sleep_until(end)

    def _again(self, due: _Due, tried: Try) -> float | None:
        if tried.is_delivered or due.tries >= self.retries:
            return None
        pause = PAUSES[min(due.tries, len(PAUSES) - 1)]
        self._put(due.event, self.clock() + pause, due.tries + 1)
        return pause

    def _sleep_until(self, at: float) -> None:
        if (left := at - self.clock()) > 0:
            self.sleep(left)
