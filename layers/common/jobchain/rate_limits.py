"""What a model's server tells about the limits of its account, with the answer to a call."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One limit: how much may be used in a window, what is left of it, and when all of it is free again.

    `limit` and `remaining` are counts, of requests or of tokens. What the server did not tell, or what can't be, is
    None.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of requests and of tokens, as of one answer.

    https://platform.openai.com/docs/guides/rate-limits
    """

    requests: RateLimit = RateLimit()
    tokens: RateLimit = RateLimit()


NO_RATE_LIMITS = RateLimits()
"""The answer told nothing of limits."""
