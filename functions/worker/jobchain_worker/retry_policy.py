"""Decides when a step is tried again after a transient error. Pure: no clock, no random numbers, no I/O."""

from dataclasses import dataclass
from datetime import timedelta

MIN_JITTER = 0.8
MAX_JITTER = 1.2


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The step is tried again after `delay`."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step is not tried again. `reason` follows the last error in the message of the job's error."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Backoff that grows by `factor`, up to `cap`, with jitter. A longer wait that the server asks for is kept.

    The schedule in seconds, with a first backoff of 10 s and a jitter of 1:

        failed tries      1    2    3    4    5     6     7
        standard call    10   40  160  640   the job fails
        flex call        10   40  160  640 2560  2560  2560, until the job's time for flex calls is over

    So the five tries of a standard call outlast an outage of ten minutes. `jitter` is a factor from `MIN_JITTER` to
    `MAX_JITTER`, drawn by the caller for each try, so that jobs that failed together are not tried again together.
    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """

    first_backoff: timedelta
    """The backoff after the first failed try."""
    factor: int = 4
    """Each backoff is this many times the one before."""
    max_tries: int = 5
    """A standard call that failed this often is not tried again."""
    max_wait: timedelta = timedelta(hours=12)
    """A job does not wait longer than this between two tries of a standard call."""

    @property
    def cap(self) -> timedelta:
        """The longest backoff, without jitter."""
        return self._backoff(self.max_tries)

    def is_last(self, tries: int) -> bool:
        """Whether a standard call is not tried again after `tries` failed tries."""
        return tries >= self.max_tries

    def after(self, tries: int, retry_after: timedelta | None, jitter: float) -> TryAgain | GiveUp:
        """What follows the failed try number `tries` of a standard call; the server asks to wait for `retry_after`."""
        if self.is_last(tries):
            return GiveUp(f"{self.max_tries} times in a row")
        delay = self._delay(tries, retry_after, jitter)
        if delay > self.max_wait:
            return GiveUp(f"and asks us to wait for longer than {self.max_wait / timedelta(hours=1):g} hours")
        return TryAgain(delay)

    def after_flex(self, tries: int, retry_after: timedelta | None, jitter: float, left: timedelta) -> TryAgain:
        """What follows the failed try number `tries` of a flex call, in a job with `left` of its time for flex calls.

        Flex calls may fail as often as that time allows. After it, the job's calls are standard calls.
        """
        return TryAgain(min(self._delay(tries, retry_after, jitter), left))

    def _delay(self, tries: int, retry_after: timedelta | None, jitter: float) -> timedelta:
        return max(retry_after or timedelta(0), self._backoff(tries) * jitter)

    def _backoff(self, tries: int) -> timedelta:
        # The exponent is capped, and not the product: no timedelta holds the power of a large number of tries.
        growth: int = self.factor ** (min(tries, self.max_tries) - 1)
        return self.first_backoff * growth
