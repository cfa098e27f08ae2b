"""What the headers of answers tell about the account's limits, in the forms of the providers."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from jobchain.rate_limits import NO_RATE_LIMITS, RateLimit, RateLimits
from jobchain_worker.reported_limits import read_limits
from tests.fake_model.replies import Reply, answer, refused
from tests.unit.test_streams import ask, failure, streamed

NOW = datetime(2026, 11, 29, 6, 0, tzinfo=UTC)


def read(headers: dict[str, str]) -> RateLimits:
    return read_limits(httpx2.Headers(headers), NOW)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


PROVIDERS = {
    "OpenAI": (
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-remaining-tokens": "199000",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        RateLimits(RateLimit(500, 499, seconds(0.12)), RateLimit(200_000, 199_000, seconds(360))),
    ),
    "Azure": (
        {
            "x-ratelimit-limit-requests": "250",
            "x-ratelimit-limit-tokens": "-1",
            "x-ratelimit-remaining-requests": "249",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-requests": "12",
            "x-ratelimit-reset-tokens": "0",
        },
        RateLimits(RateLimit(250, 249, seconds(12)), RateLimit(None, None, seconds(0))),
    ),
    "Groq": (
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        RateLimits(RateLimit(14_400, 14_370, seconds(179.56)), RateLimit(18_000, 17_997, seconds(7.66))),
    ),
    "Mistral": (
        {
            "x-ratelimit-limit-req-minute": "60",
            "x-ratelimit-remaining-req-minute": "59",
            "x-ratelimit-limit-tokens-minute": "500000",
            "x-ratelimit-remaining-tokens-minute": "499980",
            "x-ratelimit-limit-tokens-month": "1000000000",
        },
        RateLimits(RateLimit(60, 59), RateLimit(500_000, 499_980)),
    ),
    "Cerebras": (
        {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-remaining-requests-day": "14399",
            "x-ratelimit-reset-requests-day": "64799.5",
            "x-ratelimit-limit-tokens-minute": "60000",
            "x-ratelimit-remaining-tokens-minute": "59000",
            "x-ratelimit-reset-tokens-minute": "59.25",
        },
        RateLimits(RateLimit(14_400, 14_399, seconds(64_799.5)), RateLimit(60_000, 59_000, seconds(59.25))),
    ),
    "Anthropic": (
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-11-29T06:00:02Z",
            "anthropic-ratelimit-tokens-limit": "60000",
            "anthropic-ratelimit-tokens-remaining": "59000",
            "anthropic-ratelimit-tokens-reset": "2026-11-29T07:01:00+01:00",
        },
        RateLimits(RateLimit(50, 49, seconds(2)), RateLimit(60_000, 59_000, seconds(60))),
    ),
    "OpenRouter": (
        {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795932030000"},
        RateLimits(RateLimit(20, 0, seconds(30))),
    ),
    "Together": (
        {
            "x-ratelimit-limit": "10",
            "x-ratelimit-remaining": "9",
            "x-ratelimit-reset": "1",
            "x-tokenlimit-limit": "1000",
            "x-tokenlimit-remaining": "900",
        },
        RateLimits(RateLimit(10, 9, seconds(1)), RateLimit(1_000, 900)),
    ),
    "none": ({"content-type": "application/json", "x-request-id": "req_1"}, NO_RATE_LIMITS),
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_headers_of_a_provider_tell_its_limits(provider: str) -> None:
    headers, limits = PROVIDERS[provider]

    assert read(headers) == limits


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("60", "61", RateLimit(60, None)),
        ("60", "-1", RateLimit(60, None)),
        ("-60", "5", RateLimit(None, 5)),
        ("0", "0", RateLimit()),
        ("many", "few", RateLimit()),
        ("60.0", " 5 ", RateLimit(60, 5)),
        ("60.5", "5.5", RateLimit()),
        ("9" * 5_000, "5", RateLimit(None, 5)),
        ("\u0666\u0660", "1e3", RateLimit()),
        ("60, 100;w=60", "nan", RateLimit()),
        ("", "", RateLimit()),
    ],
)
def test_counts_that_can_not_be_are_none(limit: str, remaining: str, expected: RateLimit) -> None:
    headers = {"x-ratelimit-limit-tokens": limit, "x-ratelimit-remaining-tokens": remaining}

    assert read_limits(headers, NOW).tokens == expected


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("1s", 1),
        ("20ms", 0.02),
        ("1h2m3s", 3_723),
        ("1d", 86_400),
        ("0", 0),
        ("0s", 0),
        ("1795932060", 60),
        ("1795932060.5", 60.5),
        ("1795932060000", 60),
        ("2026-11-29T06:01:00.000Z", 60),
        ("2026-11-29 06:01:00", 60),
        # In the past.
        ("1795931999", None),
        ("2026-11-29T05:59:59Z", None),
        # Too far away.
        ("999999d", None),
        ("9999-12-31T23:59:59Z", None),
        ("9" * 15, None),
        # No time.
        ("-1", None),
        ("-5s", None),
        ("soon", None),
        ("", None),
        ("2026-13-45T99:99:99Z", None),
        ("9" * 5_000, None),
        ("s", None),
        ("inf", None),
    ],
)
def test_a_reset_is_the_time_that_is_left_in_any_form_or_none(reset: str, expected: float | None) -> None:
    found = read({"x-ratelimit-reset-tokens": reset}).tokens.reset

    assert found == (None if expected is None else seconds(expected))


HEADERS = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "7"}
LIMITS = RateLimits(RateLimit(60, 7))


def with_limits(reply: Reply) -> Reply:
    return Reply(reply.name, reply.body, reply.status, {**reply.headers, **HEADERS}, parts=reply.parts)


def test_answers_and_errors_tell_the_limits() -> None:
    assert ask(with_limits(answer("{}"))).limits == LIMITS
    assert failure(with_limits(refused(429))).report.limits == LIMITS
    assert failure(with_limits(streamed([b": ping\n\n"]))).report.limits == LIMITS
    assert failure(lambda _: httpx2.ConnectError("no")).report.limits == NO_RATE_LIMITS
