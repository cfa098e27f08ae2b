"""When a step is tried again after a transient error: a table of cases, without a job."""

from datetime import timedelta

import pytest

from jobchain_worker.retry_policy import MAX_JITTER, MIN_JITTER, Failures, GiveUp, RetryPolicy, TryAgain

POLICY = RetryPolicy(first_backoff=timedelta(seconds=10))
HOURS_12 = 12 * 3600
DAY = 24 * 3600

ASKED_TOO_LONG = GiveUp("the model's server asks to wait until after the deadline")
NO_TIME = GiveUp("no time for another try is left")


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def _asked(retry_after: float | None) -> timedelta | None:
    return None if retry_after is None else seconds(retry_after)


@pytest.mark.parametrize(
    ("tries", "retry_after", "jitter", "delay"),
    [
        (1, None, 1, 10),
        (2, None, 1, 40),
        (3, None, 1, 160),
        (4, None, 1, 640),
        (5, None, 1, 720),
        (10_000, None, MAX_JITTER, 864),
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
    assert POLICY.after(Failures(tries), _asked(retry_after), jitter, seconds(DAY)) == TryAgain(seconds(delay))


@pytest.mark.parametrize(
    ("tries", "unanswered", "retry_after", "jitter", "delay"),
    [
        (2, 2, None, 1, 40),
        (3, 3, None, 1, 3600),
        (30, 3, None, MIN_JITTER, 3600),
        (30, 3, None, MAX_JITTER, 4320),
        (3, 3, 7200, 1, 7200),
    ],
)
def test_calls_that_are_paid_for_and_bring_nothing_are_made_an_hour_apart(
    tries: int, unanswered: int, retry_after: float | None, jitter: float, delay: float
) -> None:
    decision = POLICY.after(Failures(tries, unanswered), _asked(retry_after), jitter, seconds(DAY))

    assert decision == TryAgain(seconds(delay))


@pytest.mark.parametrize(
    ("failures", "retry_after", "left", "decision"),
    [
        (Failures(5), None, 721, TryAgain(seconds(720))),
        # The last try comes before the deadline.
        (Failures(5), None, 600, TryAgain(seconds(540))),
        (Failures(5), 550, 600, TryAgain(seconds(550))),
        (Failures(5), None, 11, NO_TIME),
        (Failures(1), None, 0, NO_TIME),
        (Failures(1), None, -60, NO_TIME),
        (Failures(1), HOURS_12, HOURS_12, ASKED_TOO_LONG),
        (Failures(1), HOURS_12, 60, ASKED_TOO_LONG),
        # It would be paid for once more, sooner than the hour.
        (Failures(3, 3), None, 3000, NO_TIME),
    ],
)
def test_a_standard_call_is_tried_until_the_deadline(
    failures: Failures, retry_after: float | None, left: float, decision: TryAgain | GiveUp
) -> None:
    assert POLICY.after(failures, _asked(retry_after), 1, seconds(left)) == decision


def test_no_schedule_goes_past_the_deadline_or_stands_still() -> None:
    left, tries = seconds(DAY), 0
    while isinstance(decision := POLICY.after(Failures(tries := tries + 1), None, 1, left), TryAgain):
        assert decision.delay < left
        left -= decision.delay

    assert left < seconds(20)
    assert tries < 200


@pytest.mark.parametrize(
    ("tries", "retry_after", "jitter", "left", "delay"),
    [
        (1, None, 1, 3600, 10),
        (4, None, 1, 3600, 640),
        (5, None, 1, 3600, 720),
        (10_000, None, MAX_JITTER, 3600, 864),
        (1, 130, 1, 3600, 130),
        (1, None, 1, 4, 4),
        (1, HOURS_12 + 1, 1, 600, 600),
    ],
)
def test_a_flex_call_is_tried_again_after(
    tries: int, retry_after: float | None, jitter: float, left: float, delay: float
) -> None:
    decision = POLICY.after_flex(tries, _asked(retry_after), jitter, seconds(left))

    assert decision == TryAgain(seconds(delay))


def test_a_first_backoff_that_is_longer_than_the_cap_is_kept() -> None:
    policy = RetryPolicy(seconds(900))

    assert [policy.after(Failures(tries), None, 1, seconds(DAY)) for tries in (1, 2)] == [TryAgain(seconds(900))] * 2


def test_the_numbers_of_a_policy_can_be_changed() -> None:
    policy = RetryPolicy(seconds(1), factor=2, cap=seconds(3))

    assert [policy.after(Failures(tries), None, 1, seconds(DAY)) for tries in (1, 2, 3)] == [
        TryAgain(seconds(1)),
        TryAgain(seconds(2)),
        TryAgain(seconds(3)),
    ]
