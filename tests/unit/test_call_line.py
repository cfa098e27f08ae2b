"""The line that the worker's log has for each call of the model, and what a call that broke off is charged with."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobchain.errors import CallReport, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, FailedAnswer
from jobchain.rate_limits import RateLimit, RateLimits
from jobchain.spending import Usage
from tests.deployment import TENANT, Deployment
from tests.fake_model.answers import CHECKLIST, DIAGRAM, SUMMARY
from tests.fake_model.llm import Said
from tests.fake_model.replies import MODEL, USAGE

LIMITS = RateLimits(RateLimit(60, 7, timedelta(seconds=1.5)), RateLimit(None, 0))
ANSWER = AnswerText(MODEL, USAGE, json.dumps(SUMMARY), request_id="req_1", limits=LIMITS, first_token_seconds=0.123456)
REPORT = CallReport(
    maybe_billed=True, request_id="req_2", status=429, code="slow_down", limits=LIMITS, cause="its words"
)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    return [line for line in found if "provider_request_id" in line or line.get("message") == "model called"]


def test_a_job_has_one_line_for_each_of_its_calls(deployment: Deployment, log: io.StringIO) -> None:
    deployment.create()
    deployment.llm.takes = timedelta(seconds=2)
    deployment.run(ANSWER, CHECKLIST, DIAGRAM)

    first, *others = lines(log)

    assert [line["message"] for line in (first, *others)] == ["model called"] * 3
    assert {name: first[name] for name in first if name in {
        "outcome", "model", "tier", "seconds", "first_token_seconds", "input_tokens", "output_tokens", "estimated",
        "provider_request_id", "limit_requests", "remaining_requests", "reset_requests_seconds", "limit_tokens",
        "remaining_tokens", "level", "step",
    }} == {
        "level": "INFO",
        "step": "summary",
        "outcome": "answered",
        "model": MODEL,
        "tier": "standard",
        "seconds": 2.0,
        "first_token_seconds": 0.123,
        "input_tokens": USAGE.input_tokens,
        "output_tokens": USAGE.output_tokens,
        "estimated": False,
        "provider_request_id": "req_1",
        "limit_requests": 60,
        "remaining_requests": 7,
        "reset_requests_seconds": 1.5,
        "remaining_tokens": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (TransientModelError("no", report=REPORT, type_="rate_limited"), "rate_limited"),
        (PermanentModelError("model_refused", "no", REPORT), "model_refused"),
        (
            FailedAnswer(
                MODEL, USAGE, PermanentModelError("model_refused", "no", replace(REPORT, maybe_billed=False)),
                request_id="req_2", limits=LIMITS,
            ),
            "model_refused",
        ),
    ],
    ids=["transient", "permanent", "a billed answer"],
)  # fmt: skip
def test_a_call_that_failed_has_one_line_too_without_the_providers_words(
    deployment: Deployment, log: io.StringIO, said: Said, outcome: str
) -> None:
    deployment.create()
    deployment.run(said)

    output = log.getvalue()
    found = [json.loads(line) for line in output.splitlines() if "req_2" in line]

    assert [(line["message"], line["outcome"]) for line in found] == [("model called", outcome)]
    assert (found[0]["provider_status"], found[0]["provider_code"]) == (429, "slow_down")
    assert (found[0]["limit_requests"], found[0]["remaining_requests"]) == (60, 7)
    assert "its words" not in output


def test_an_exception_of_the_adapter_has_its_line(deployment: Deployment, log: io.StringIO) -> None:
    deployment.create()
    deployment.run(ZeroDivisionError("a text"))

    assert [line["outcome"] for line in lines(log)] == ["step_failed"]


class TestACallThatBrokeOff:
    @pytest.mark.parametrize("told", [None, Usage(40, output_tokens=3), Usage(10**9, output_tokens=3)])
    def test_is_charged_with_what_it_can_have_used_at_most(self, deployment: Deployment, told: Usage | None) -> None:
        deployment.create()
        report = CallReport(maybe_billed=True, answer='{"summary": "Half', usage=told)
        deployment.run(TransientModelError("no", report=report, type_="timeout"))

        (attempt,) = deployment.stores.jobs.details(TENANT, deployment.event_id).attempts
        request = deployment.llm.requests[0]
        used, room = attempt.spending.usage, request.max_output_tokens or deployment.llm.max_output_tokens
        assert attempt.answer == '{"summary": "Half'
        assert used.input_tokens == (40 if told and told.input_tokens == 40 else request.size)
        assert used.output_tokens == room, "the server may have gone on"
        assert attempt.spending.estimated.output_tokens == room
        assert deployment.spent() == attempt.spending
