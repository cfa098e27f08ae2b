"""Decides when a step is tried again after a transient error. Pure: no clock, no random numbers, no I/O."""

from dataclasses import dataclass
from datetime import timedelta

MIN_JITTER = 0.8
MAX_JITTER = 1.2

MAX_UNANSWERED = 3
"""So many calls of a step in a row may be billed and bring nothing before its tries come an hour apart."""

UNANSWERED_WAIT = timedelta(hours=1)
"""The least wait between two tries of a step whose calls are paid for and bring nothing."""

# The last try comes a little before the deadline, and not after it.
_LAST_TRY = 0.9


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The step is tried again after `delay`."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step is not tried again before the job's deadline. `reason` says why, in words for the caller."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failures:
    """How a step has failed so far: all `tries` in a row, and of them the `unanswered` ones.

    Those are the calls that may be billed and brought nothing.
    """

    tries: int
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Backoff that grows by `factor`, up to `cap`, with jitter, until the job's deadline.

    A longer wait that the server asks for is kept. The schedule in seconds, with a first backoff of 10 s and a jitter
    of 1:

        failed tries      1    2    3    4    5     6
        standard call    10   40  160  640  720   720, until the deadline
        unanswered       10   40 3600 3600 3600  3600, until the deadline
        flex call        10   40  160  640  720   720, until the job's time for flex calls is over

    `jitter` is a factor from `MIN_JITTER` to `MAX_JITTER`, drawn by the caller for each try, so that jobs that failed
    together are not tried again together.
    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """

    first_backoff: timedelta
    """The backoff after the first failed try."""
    factor: int = 4
    """Each backoff is this many times the one before."""
    cap: timedelta = timedelta(minutes=12)
    """The longest backoff; or the first one, if that is longer. With jitter too, one message can be delayed so far."""

    def after(
        self, failures: Failures, retry_after: timedelta | None, jitter: float, left: timedelta
    ) -> TryAgain | GiveUp:
        """What follows a failed try, which `failures` counts, with `left` of the time until the job's deadline.

        `retry_after` is how long the server asks to wait. Where the next backoff would pass the deadline, a last try
        is made before it.
        """
        delay = self._delay(failures, retry_after, jitter)
        if delay < left:
            return TryAgain(delay)
        if retry_after is not None and retry_after >= left:
            return GiveUp("the model's server asks to wait until after the deadline")
        last = left * _LAST_TRY
        if failures.unanswered >= MAX_UNANSWERED or last < self.first_backoff:
            return GiveUp("no time for another try is left")
        return TryAgain(max(last, retry_after or timedelta(0)))

    def after_flex(self, tries: int, retry_after: timedelta | None, jitter: float, left: timedelta) -> TryAgain:
        """What follows the failed try number `tries` of a flex call, in a job with `left` of its time for flex calls.

        Flex calls may fail as often as that time allows. After it, the job's calls are standard calls.
        """
        return TryAgain(min(self._delay(Failures(tries), retry_after, jitter), left))

    def _delay(self, failures: Failures, retry_after: timedelta | None, jitter: float) -> timedelta:
        delay = max(retry_after or timedelta(0), self._backoff(failures.tries) * jitter)
        if failures.unanswered < MAX_UNANSWERED:
            return delay
        # It is the least wait, so jitter only adds to it.
        return max(delay, UNANSWERED_WAIT * max(jitter, 1))

    def _backoff(self, tries: int) -> timedelta:
        # The exponent is capped too: no timedelta holds the power of a large number of tries.
        growth: int = self.factor ** min(tries - 1, 10)
        return min(self.first_backoff * growth, max(self.cap, self.first_backoff))
