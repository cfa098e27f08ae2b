"""The calls that failed: kept with their cause, and erased with their job."""

import json
from dataclasses import replace
from typing import Any

import pytest

from jobchain.aws.claims import ClaimStore
from jobchain.aws.jobs import MAX_ATTEMPTS
from jobchain.aws.queue import MAX_DELAY
from jobchain.chains import CHAINS
from jobchain.domain import Attempt, Status, Tier, isoformat
from jobchain.errors import CallReport, JobNotFound, PermanentModelError, TransientModelError
from jobchain.llm import FailedAnswer, UnusableAnswer
from jobchain.spending import Spending, Usage
from tests.deployment import AFTER_LEASE, INVOCATION, TENANT, Deployment
from tests.fake_model.answers import SUMMARY
from tests.fake_model.replies import USAGE

NOTHING = Spending()


def attempts(deployment: Deployment) -> list[Attempt]:
    return deployment.stores.jobs.details(TENANT, deployment.event_id).attempts


def kinds(deployment: Deployment) -> list[str]:
    """The kinds of the job's items."""
    return [item["sk"].split("#")[0] for item in deployment.items()]


def test_a_job_without_failures_stores_none(deployment: Deployment) -> None:
    deployment.create()
    deployment.run()

    assert kinds(deployment) == ["INPUT", "META", "STEP", "STEP", "STEP"]
    assert attempts(deployment) == []


class TestAnAttempt:
    def test_of_an_answer_that_does_not_fit_has_the_complaint_and_the_answer(self, deployment: Deployment) -> None:
        deployment.create()
        deployment.run({"summary": ""})

        (attempt,) = attempts(deployment)
        assert (attempt.step, attempt.outcome) == ("summary", "unusable_answer")
        assert attempt.cause is not None
        assert "is empty" in attempt.cause
        assert attempt.answer == '{"summary": ""}'
        assert attempt.spending == Spending(USAGE, attempt.spending.known_cost_usd, calls=1)

    def test_has_when_its_call_began_and_ended(self, deployment: Deployment) -> None:
        deployment.create()
        started = deployment.clock()
        deployment.llm.takes = INVOCATION / 20
        deployment.run({"summary": ""})

        (attempt,) = attempts(deployment)
        assert (attempt.started_at, attempt.finished_at) == (isoformat(started), isoformat(started + INVOCATION / 20))

    def test_of_a_fault_has_the_providers_explanation_and_the_id_of_the_request(self, deployment: Deployment) -> None:
        deployment.create()
        report = CallReport(cause="Rate limit reached for gpt-6-luna", request_id="req_1")
        deployment.run(TransientModelError("it answered 429", report=report, type_="rate_limited"))

        (attempt,) = attempts(deployment)
        assert (attempt.outcome, attempt.cause) == ("rate_limited", "Rate limit reached for gpt-6-luna")
        assert (attempt.request_id, attempt.answer) == ("req_1", None)
        assert attempt.spending == Spending(calls=1)

    def test_of_a_call_that_was_given_up_is_an_estimate(self, deployment: Deployment) -> None:
        deployment.create()
        deployment.run(TransientModelError("no answer", report=CallReport(maybe_billed=True), type_="timeout"))

        (attempt,) = attempts(deployment)
        assert attempt.spending.estimated.calls == 1
        assert attempt.spending == deployment.spent()

    def test_of_a_billed_refusal_has_its_usage(self, deployment: Deployment) -> None:
        deployment.create()
        refusal = PermanentModelError("model_refused", "the model declined", CallReport(cause="I'd rather not."))
        deployment.run(FailedAnswer("gpt-6-luna", USAGE, refusal, request_id="req_2"))

        (attempt,) = attempts(deployment)
        assert (attempt.outcome, attempt.cause, attempt.request_id) == ("model_refused", "I'd rather not.", "req_2")
        assert attempt.spending.usage == USAGE

    def test_of_an_answer_without_a_usable_text_has_what_there_is_of_it(self, deployment: Deployment) -> None:
        deployment.create()
        cut_off = UnusableAnswer("gpt-6-luna", USAGE, "it was cut off", request_id="req_3", text='{"summary": "It beg')
        deployment.run(cut_off)

        (attempt,) = attempts(deployment)
        assert (attempt.cause, attempt.answer, attempt.request_id) == ("it was cut off", '{"summary": "It beg', "req_3")

    def test_of_an_answer_that_the_steps_code_can_not_read_has_the_answer(self, deployment: Deployment) -> None:
        def read(_answer: Any, _context: Any) -> Any:
            raise KeyError("a bug")

        chain = CHAINS["guideline_checklist"]
        first, *others = chain.calls
        deployment.runner.versions.chains = {
            chain.name: replace(chain, steps=(replace(first, read_answer=read), *others))
        }
        deployment.create()
        deployment.run()

        (attempt,) = attempts(deployment)
        assert (attempt.outcome, attempt.cause) == ("step_failed", "the step's code failed (KeyError)")
        assert attempt.answer == json.dumps(SUMMARY)
        assert attempt.spending.usage == USAGE

    def test_keeps_a_long_answer_cut_and_any_character(self, deployment: Deployment) -> None:
        deployment.create()
        long = "\x00\N{PILE OF POO}" * 50_000
        deployment.run(UnusableAnswer("gpt-6-luna", USAGE, "it was cut off\x00", text=long))

        (attempt,) = attempts(deployment)
        assert attempt.answer == long[:20_000]
        assert attempt.cause == "it was cut off\x00"

    def test_that_is_repeated_as_its_answer_was_lost_is_kept_once(self, deployment: Deployment) -> None:
        deployment.create()
        deployment.faults.script("PutItem", "lost", "lost", None)
        deployment.run({"summary": ""})

        assert len(attempts(deployment)) == 1


def test_attempts_come_in_the_order_of_their_calls_over_all_claims(deployment: Deployment) -> None:
    deployment.create()
    for number in range(4):
        deployment.run({"summary": ""}, TransientModelError(f"503, the {number}th"))
        deployment.clock.advance(MAX_DELAY)

    causes = [attempt.cause or "" for attempt in attempts(deployment)]

    assert ["503" in cause for cause in causes] == [False, True] * 4
    assert causes[1::2] == [f"503, the {number}th" for number in range(4)]


def test_attempts_are_kept_when_the_job_completes_and_erased_with_it(deployment: Deployment) -> None:
    deployment.create()
    deployment.run({"summary": ""}, {"summary": ""})
    assert deployment.job().status is Status.COMPLETED
    assert len(attempts(deployment)) == 2
    (expiry,) = {item["expires_at"] for item in deployment.items()}
    assert expiry == deployment.meta()["expires_at"]

    deployment.stores.jobs.delete(TENANT, deployment.event_id)

    assert deployment.items() == []
    with pytest.raises(JobNotFound):
        attempts(deployment)


def test_attempts_are_those_of_the_callers_own_job(deployment: Deployment) -> None:
    deployment.create()

    with pytest.raises(JobNotFound):
        deployment.stores.jobs.details("other", deployment.event_id)


def test_attempts_of_an_earlier_job_of_the_same_id_are_not_shown(deployment: Deployment) -> None:
    deployment.create()
    old = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    deployment.clock.advance(AFTER_LEASE)
    deployment.stores.jobs.cancel(TENANT, deployment.event_id)
    deployment.stores.jobs.delete(TENANT, deployment.event_id)
    deployment.create()

    save(deployment.stores.claims, old, 1)

    assert attempts(deployment) == []


class TestThousandsOfAttempts:
    """Of one job: the newest are kept."""

    def test_of_many_claims_are_bounded(self, deployment: Deployment) -> None:
        deployment.create()
        claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        for number in range(1, 200):
            for record in range(1, 6):
                save(deployment.stores.claims, claim, record, claim_number=number)

        found = attempts(deployment)

        assert len(found) == 64 * 5 <= MAX_ATTEMPTS
        assert [attempt.cause for attempt in found[-5:]] == [f"199.{record}" for record in range(1, 6)]
        assert found[0].cause == f"{200 - 64}.1"
        assert kinds(deployment).count("ATTEMPT") == 64 * 5

    @pytest.mark.thorough
    def test_of_one_claim_are_bounded_and_the_last_one_is_kept(self, deployment: Deployment) -> None:
        deployment.create()
        claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        for record in range(1, 1101):
            save(deployment.stores.claims, claim, record)

        found = attempts(deployment)

        assert len(found) == MAX_ATTEMPTS == 1000
        assert found[-1].cause == "1.1100"

    def test_never_replace_those_of_a_later_claim(self, deployment: Deployment) -> None:
        deployment.create()
        claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        save(deployment.stores.claims, claim, 1, claim_number=1 + 64)

        save(deployment.stores.claims, claim, 1, claim_number=1)

        assert [attempt.cause for attempt in attempts(deployment)] == ["65.1"]


def save(claims: ClaimStore, claim: Any, record: int, claim_number: int | None = None) -> None:
    """Stores a failed call of a claim, or of the same job's claim of another number."""
    own = replace(claim, number=claim_number or claim.number)
    cause = f"{own.number}.{record}"
    failed = Attempt("summary", "s", "f", "m", Tier.STANDARD, Spending(Usage(1, 0, 1, 0), calls=1), "timeout", cause)
    claims.save_attempt(own, record, "m", failed)
