"""When a step is tried again after a transient error: a table of cases, without a job."""

from datetime import timedelta

import pytest

from jobchain_worker.retry_policy import MAX_JITTER, MIN_JITTER, GiveUp, RetryPolicy, TryAgain

POLICY = RetryPolicy(first_backoff=timedelta(seconds=10))
HOURS_12 = 12 * 3600


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@pytest.mark.parametrize(
    ("tries", "retry_after", "jitter", "delay"),
    [
        (1, None, 1, 10),
        (2, None, 1, 40),
        (3, None, 1, 160),
        (4, None, 1, 640),
        (1, None, MIN_JITTER, 8),
        (4, None, MAX_JITTER, 768),
        (1, 9, 1, 10),
        (1, 130, 1, 130),
        (4, 0, 1, 640),
        (1, HOURS_12, 1, HOURS_12),
    ],
)
def test_a_standard_call_is_tried_again_after(
    tries: int, retry_after: float | None, jitter: float, delay: float
) -> None:
    asked = None if retry_after is None else seconds(retry_after)

    assert POLICY.after(tries, asked, jitter) == TryAgain(seconds(delay))


@pytest.mark.parametrize(
    ("tries", "retry_after", "reason"),
    [
        (5, None, "5 times in a row"),
        (6, 1, "5 times in a row"),
        (5, HOURS_12 + 1, "5 times in a row"),
        (1, HOURS_12 + 1, "and asks us to wait for longer than 12 hours"),
    ],
)
def test_a_standard_call_is_not_tried_again(tries: int, retry_after: float | None, reason: str) -> None:
    asked = None if retry_after is None else seconds(retry_after)

    assert POLICY.after(tries, asked, jitter=1) == GiveUp(reason)


@pytest.mark.parametrize(
    ("tries", "retry_after", "jitter", "left", "delay"),
    [
        (1, None, 1, 3600, 10),
        (4, None, 1, 3600, 640),
        (5, None, 1, 3600, 2560),
        (6, None, 1, 3600, 2560),
        (10_000, None, MAX_JITTER, 3600, 3072),
        (1, 130, 1, 3600, 130),
        (1, None, 1, 4, 4),
        (1, HOURS_12 + 1, 1, 600, 600),
    ],
)
def test_a_flex_call_is_tried_again_after(
    tries: int, retry_after: float | None, jitter: float, left: float, delay: float
) -> None:
    asked = None if retry_after is None else seconds(retry_after)

    assert POLICY.after_flex(tries, asked, jitter, seconds(left)) == TryAgain(seconds(delay))


def test_the_cap_is_the_backoff_after_the_last_try() -> None:
    assert seconds(2560) == POLICY.cap


@pytest.mark.parametrize(("tries", "last"), [(1, False), (4, False), (5, True), (6, True)])
def test_the_fifth_try_is_the_last(tries: int, last: bool) -> None:
    assert POLICY.is_last(tries) is last


def test_the_numbers_of_a_policy_can_be_changed() -> None:
    policy = RetryPolicy(seconds(1), factor=2, max_tries=3, max_wait=seconds(60))

    assert [policy.after(tries, None, 1) for tries in (1, 2, 3)] == [
        TryAgain(seconds(1)),
        TryAgain(seconds(2)),
        GiveUp("3 times in a row"),
    ]
    assert isinstance(policy.after(1, seconds(61), 1), GiveUp)
