"""The line that the log has for each call of the model. It holds no text of the provider, the model or the caller."""

from collections.abc import Mapping
from datetime import timedelta

from jobchain.errors import CallReport, ModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, UnusableAnswer
from jobchain.rate_limits import RateLimit, RateLimits
from jobchain.spending import Spending

Facts = Mapping[str, object]


def outcome_of(answer: ModelAnswer) -> str:
    """What became of a call that was answered."""
    match answer:
        case AnswerText():
            return "answered"
        case UnusableAnswer():
            return "unusable_answer"
        case FailedAnswer():
            return answer.error.type


def answer_facts(answer: ModelAnswer) -> Facts:
    """What an answer tells of its call."""
    report = answer.error.report.facts if isinstance(answer, FailedAnswer) else {}
    return {
        **report,
        "model": answer.model,
        "tier": answer.tier.value,
        "provider_request_id": answer.request_id,
        "first_token_seconds": _rounded(answer.first_token_seconds),
        **_limits(answer.limits),
    }


def error_facts(error: ModelError) -> Facts:
    """What an error tells of its call."""
    report: CallReport = error.report
    return {
        **report.facts,
        "first_token_seconds": _rounded(report.first_token_seconds),
        **_limits(report.limits),
    }


def call_line(outcome: str, seconds: timedelta, spending: Spending, facts: Facts) -> dict[str, object]:
    """The fields of the line, without those that are not known."""
    line = {
        "outcome": outcome,
        "seconds": _rounded(seconds.total_seconds()),
        "input_tokens": spending.usage.input_tokens,
        "output_tokens": spending.usage.output_tokens,
        "estimated": spending.estimated.calls > 0,
        **facts,
    }
    return {name: value for name, value in line.items() if value is not None}


def _limits(limits: RateLimits) -> Facts:
    return {**_limit("requests", limits.requests), **_limit("tokens", limits.tokens)}


def _limit(unit: str, limit: RateLimit) -> Facts:
    return {
        f"limit_{unit}": limit.limit,
        f"remaining_{unit}": limit.remaining,
        f"reset_{unit}_seconds": _rounded(limit.reset.total_seconds() if limit.reset is not None else None),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
