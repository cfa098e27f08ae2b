"""The account at the model's server, with its limits."""

from collections.abc import Callable
from datetime import timedelta

from benchmarks.simulation.setup import Headers, Setup
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimit, RateLimits


class Bucket:
    """A limit that fills up continuously to what it gives in a minute."""

    def __init__(self, per_minute: float) -> None:
        self.most = self.level = per_minute
        self._at = 0.0

    def has(self, amount: float, now: float) -> bool:
        """Whether so much is left."""
        if self.most == float("inf"):
            return True
        self.level = min(self.most, self.level + (now - self._at) * self.most / 60)
        self._at = now
        return self.level >= amount

    def take(self, amount: float) -> None:
        """Uses so much."""
        self.level -= amount

    def reset(self, _now: float) -> float:
        """The seconds until it is full."""
        return (1 - self.level / self.most) * 60


class Window(Bucket):
    """A limit that is full again when each minute begins."""

    def has(self, amount: float, now: float) -> bool:
        """Whether so much is left."""
        if now // 60 > self._at // 60:
            self.level = self.most
            self._at = now
        return self.level >= amount

    def reset(self, now: float) -> float:
        """The seconds until it is full."""
        return 60 - now % 60


class ModelServer:
    """Refuses calls above its limits; tells them with each answer, or does not, or tells what is not so."""

    def __init__(self, requests: Bucket, tokens: Bucket, headers: Headers) -> None:
        self._requests = requests
        self._tokens = tokens
        self._headers = headers

    @classmethod
    def of(cls, setup: Setup) -> "ModelServer":
        """The server of a setup."""
        kind = Window if setup.windows else Bucket
        return cls(kind(setup.requests_per_minute), kind(setup.tokens_per_minute), setup.headers)

    def call(self, tokens: float, now: float) -> bool:
        """Whether a call that counts for these tokens is accepted."""
        # Both are asked, as each is brought up to the time then.
        has_requests, has_tokens = self._requests.has(1, now), self._tokens.has(tokens, now)
        if has_requests and has_tokens:
            self._requests.take(1)
            self._tokens.take(tokens)
        return has_requests and has_tokens

    def limits(self, now: float) -> RateLimits:
        """What it tells of them."""
        if self._headers == "none" or self._tokens.most == float("inf"):
            return NO_RATE_LIMITS
        tell = _LIES.get(self._headers, _told)
        return RateLimits(tell(self._requests, now), tell(self._tokens, now))


def _told(bucket: Bucket, now: float) -> RateLimit:
    return RateLimit(int(bucket.most), int(bucket.level), timedelta(seconds=bucket.reset(now)))


_LIES: dict[str, Callable[[Bucket, float], RateLimit]] = {
    "above": lambda bucket, _: RateLimit(int(bucket.most), int(2 * bucket.most), timedelta(seconds=1)),
    "full": lambda bucket, _: RateLimit(int(bucket.most), int(bucket.most), timedelta()),
    "past": lambda bucket, _: RateLimit(int(bucket.most), int(bucket.level), timedelta(seconds=-60)),
}
