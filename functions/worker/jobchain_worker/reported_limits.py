"""Reads the limits of an account that a server tells in the headers of its answers.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers, https://console.groq.com/docs/rate-limits,
https://docs.claude.com/en/api/rate-limits, https://inference-docs.cerebras.ai/support/rate-limits,
https://openrouter.ai/docs/api/reference/limits, https://docs.together.ai/docs/rate-limits
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobchain.rate_limits import NO_RATE_LIMITS, RateLimit, RateLimits


@dataclass(frozen=True, slots=True)
class _Names:
    limit: str
    remaining: str
    reset: str


def _usual(unit: str) -> _Names:
    return _Names(f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")


def _anthropic(unit: str) -> _Names:
    begin = f"anthropic-ratelimit-{unit}"
    return _Names(f"{begin}-limit", f"{begin}-remaining", f"{begin}-reset")


# The first ones that the server has count: of OpenAI, Azure, Groq, xAI and others; Mistral; Cerebras; Anthropic;
# Together; OpenRouter.
_REQUESTS = (
    _usual("requests"),
    _usual("req-minute"),
    _usual("requests-minute"),
    _usual("requests-day"),
    _anthropic("requests"),
    _Names("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
)
_TOKENS = (
    _usual("tokens"),
    _usual("tokens-minute"),
    _anthropic("tokens"),
    _Names("x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-reset"),
)

_COUNT = re.compile(r"[0-9]{1,12}(\.0{1,6})?")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ][0-9:.]{5,20}([Zz]|[+-]\d{2}:?\d{2})?")

# No limit has a longer window. A number that is larger is the time since 1970, in seconds or in milliseconds.
_LONGEST = timedelta(days=366)
_MILLISECONDS_FROM = 1e11


def read_limits(headers: Mapping[str, str], now: datetime | None = None) -> RateLimits:
    """What the headers tell. What can't be is None: negative counts, text, more left than the limit, a past reset.

    The headers have no names of their windows: Groq's and Cerebras's limits of requests are those of a day.
    """
    if not any("limit" in name for name in headers):
        return NO_RATE_LIMITS
    now = now or datetime.now(UTC)
    return RateLimits(_read(headers, _REQUESTS, now), _read(headers, _TOKENS, now))


def _read(headers: Mapping[str, str], known: Sequence[_Names], now: datetime) -> RateLimit:
    found = (_limit(headers, names, now) for names in known)
    return next((limit for limit in found if limit != RateLimit()), RateLimit())


def _limit(headers: Mapping[str, str], names: _Names, now: datetime) -> RateLimit:
    limit, remaining = _count(headers.get(names.limit, "")), _count(headers.get(names.remaining, ""))
    if limit == 0:
        # An account that may do nothing gets no answer: some gateways mean that they do not know.
        return RateLimit()
    if limit is not None and remaining is not None and remaining > limit:
        remaining = None
    return RateLimit(limit, remaining, _reset(headers.get(names.reset, "").strip(), now))


def _count(value: str) -> int | None:
    value = value.strip()
    return int(float(value)) if _COUNT.fullmatch(value) else None


def _reset(value: str, now: datetime) -> timedelta | None:
    """The time that is left: from seconds, a duration such as "6m0s" or "20ms", or a time."""
    left = _duration(value) if not _TIME.fullmatch(value) else _until(value, now)
    if left is not None and left > _LONGEST and _NUMBER.fullmatch(value):
        since_1970 = float(value) / (1000 if float(value) >= _MILLISECONDS_FROM else 1)
        left = timedelta(seconds=since_1970 - now.timestamp())
    return left if left is not None and timedelta(0) <= left <= _LONGEST else None


def _duration(value: str) -> timedelta | None:
    if _NUMBER.fullmatch(value):
        return timedelta(seconds=min(float(value), 1e13))
    found = _DURATION.fullmatch(value) if value else None
    if found is None:
        return None
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)


def _until(value: str, now: datetime) -> timedelta | None:
    try:
        time = datetime.fromisoformat(value.upper())
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)) - now
