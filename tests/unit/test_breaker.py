"""The breaker: which faults open one, how long jobs wait, and what their callers read."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.breaker import (
    MAX_DELAY,
    MAX_JITTER,
    MIN_DELAY,
    MIN_JITTER,
    PROBE_EVERY,
    ModelAccount,
    OpenBreaker,
    Scope,
    scope_of,
)
from jobchain.domain import WaitReason
from tests.conftest import ROOT

NOW = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)
ACCOUNT_FAULTS = {
    "model_unauthorized": Scope.KEY,
    "model_quota_exceeded": Scope.KEY,
    "model_misconfigured": Scope.KEY,
    "model_forbidden": Scope.MODEL,
    "model_not_found": Scope.MODEL,
}


def refused_for(seconds: float, type_: str = "model_quota_exceeded") -> OpenBreaker:
    """A breaker of which the last refusal came so long after the first one."""
    refused_at = NOW + timedelta(seconds=seconds)
    return OpenBreaker(type_, Scope.KEY, NOW, refused_at, refused_at + PROBE_EVERY, refused_at + PROBE_EVERY)


@pytest.mark.parametrize(("fault", "scope"), ACCOUNT_FAULTS.items())
def test_a_fault_of_the_account_concerns_all_jobs_with_its_key_or_its_model(fault: str, scope: Scope) -> None:
    assert scope_of(fault) is scope


def test_no_other_fault_opens_a_breaker() -> None:
    sources = [*(ROOT / "functions/worker").rglob("*.py"), ROOT / "layers/common/jobchain/errors.py"]
    named = {name for source in sources for name in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", source.read_text())}
    assert {*ACCOUNT_FAULTS, "model_refused", "text_too_long", "content_filtered", "rate_limited"} <= named

    assert {name for name in named if scope_of(name)} == {*ACCOUNT_FAULTS}


@pytest.mark.parametrize("fault", ["model_not_found", "model_forbidden"])
def test_a_model_that_the_job_itself_named_opens_nothing(fault: str) -> None:
    assert scope_of(fault, own_model=True) is None


@pytest.mark.parametrize("fault", ["model_unauthorized", "model_quota_exceeded", "model_misconfigured"])
def test_the_key_is_never_the_jobs_own_fault(fault: str) -> None:
    assert scope_of(fault, own_model=True) is Scope.KEY


@pytest.mark.parametrize(
    ("seconds", "delay"), [(0, 60), (60, 60), (120, 60), (180, 90), (300, 150), (600, 300), (1200, 600), (3600, 600)]
)
def test_the_delay_grows_with_the_time_that_calls_are_refused(seconds: int, delay: int) -> None:
    assert refused_for(seconds).delay(1) == timedelta(seconds=delay)


@given(seconds=st.floats(0, 10**7), jitter=st.floats(MIN_JITTER, MAX_JITTER))
def test_no_delay_is_too_short_or_longer_than_the_queue_can_delay_a_message(seconds: float, jitter: float) -> None:
    assert MIN_DELAY <= refused_for(seconds).delay(jitter) <= MAX_DELAY


def test_the_jitter_spreads_jobs_that_wait_longest_over_ten_minutes() -> None:
    breaker = refused_for(10**6)

    assert breaker.delay(MAX_JITTER) - breaker.delay(MIN_JITTER) == timedelta(minutes=10)


def test_a_probe_is_due_a_minute_after_the_last_one() -> None:
    breaker = refused_for(0)

    assert not breaker.probe_is_due(NOW + PROBE_EVERY - timedelta(milliseconds=1))
    assert breaker.probe_is_due(NOW + PROBE_EVERY)


def test_callers_read_what_is_wrong_and_when_the_next_probe_is_due() -> None:
    waiting = refused_for(60).waiting_for

    assert waiting.reason is WaitReason.ACCOUNT
    assert (waiting.since, waiting.until) == ("2026-11-29T10:00:00.000Z", "2026-11-29T10:02:00.000Z")
    assert waiting.detail == (
        "the account at the model's provider has no quota left; the next probe is due at 2026-11-29T10:02:00.000Z"
    )


@pytest.mark.parametrize("fault", ACCOUNT_FAULTS)
def test_every_fault_has_words_of_its_own(fault: str) -> None:
    others = {refused_for(0, other).detail for other in ACCOUNT_FAULTS if other != fault}

    assert refused_for(0, fault).detail not in others
    assert refused_for(0, fault).detail != refused_for(0, "unheard_of").detail


def test_a_type_of_a_later_version_has_words_too() -> None:
    assert refused_for(0, "unheard_of").detail.startswith("the model's server refuses the account; ")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.openai.com/v1", "api.openai.com"),
        ("https://API.OpenAI.com", "api.openai.com"),
        ("http://localhost:11434/v1", "localhost:11434"),
        ("http://[::1]:8080/v1", "::1:8080"),
        ("https://user:secret@models.example.com/v1", "models.example.com"),
        ("https://models.example.com:port/v1", ""),
        ("https://[::1/v1", ""),
        ("", ""),
    ],
)
def test_an_account_has_the_host_of_the_url_and_nothing_secret_of_it(url: str, host: str) -> None:
    assert ModelAccount.of(url, None, "m") == ModelAccount(host, "", "m")
