"""`POST /jobs/{event_id}/steps/{step}/decision`, and what callers read of a step that a person decides."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger
from pydantic import BaseModel

from jobchain import Chain, Quote, Text
from jobchain.aws.queue import JobQueue
from jobchain.domain import Status, isoformat
from jobchain_api.auth import Caller
from tests.conftest import Messages, make_service
from tests.deployment import Deployment
from tests.fakes import FakeClock
from tests.gateway import Answer, Api

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Claim(BaseModel):
    text: str
    source: Quote


chain = Chain("reports", description="")


@chain.ask
def draft(document: Text) -> str:
    """Write a report."""
    raise NotImplementedError


@chain.approve(title="Review the report", deadline_seconds=3600)
def review(draft: str) -> str:
    return draft


@chain.approve(on_deadline="approve")
def claims(document: Text, review: str) -> list[Claim]:
    return [Claim(text=review, source=Quote(document))]


CHAINS = {"reports": chain.compiled}


@pytest.fixture
def deployment(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> Deployment:
    made = Deployment(dynamodb, queue, clock, logger)
    made.runner = made.worker(chains=CHAINS)
    return made


@pytest.fixture
def api(deployment: Deployment, queue: JobQueue, logger: Logger) -> Api:
    service = make_service(deployment.stores, queue, logger, chains=CHAINS)
    return Api(service, logger, lambda _: Caller("local", key_id="k1"), chains=CHAINS)


@pytest.fixture
def event_id(deployment: Deployment) -> str:
    """A job whose step `review` waits."""
    event_id = deployment.create(job_name="reports", payload={"document": "Doors must be locked."})
    assert deployment.run({"draft": "Lock doors."}).status is Status.PENDING
    return event_id


def decide(api: Api, event_id: str, body: Any, step: str = "review") -> Answer:
    return api("POST", f"/jobs/{event_id}/steps/{step}/decision", body)


def approval_of(job: Any, step: str = "review") -> Any:
    return next(each["approval"] for each in job["steps"] if each["name"] == step)


def test_a_waiting_step_says_what_is_decided_until_when_and_what_then(
    api: Api, event_id: str, clock: FakeClock
) -> None:
    job = api("GET", f"/jobs/{event_id}").body
    assert job["status"] == "pending"
    assert job["waiting_for"] == {
        "reason": "approval",
        "since": isoformat(clock()),
        "until": isoformat(clock() + timedelta(hours=1)),
        "detail": "a decision on the step review",
        "retryable": False,
    }
    assert approval_of(job) == {
        "title": "Review the report",
        "shown": "Lock doors.",
        "since": isoformat(clock()),
        "until": isoformat(clock() + timedelta(hours=1)),
        "on_deadline": "reject",
        "decision": None,
        "value": None,
        "by": None,
        "key_id": None,
        "comment": None,
        "decided_at": None,
        "at_deadline": False,
    }
    assert [step["approval"] is None for step in job["steps"]] == [True, False, True]
    (listed,) = api("GET", "/jobs").body["jobs"]
    assert listed["waiting_for"]["reason"] == "approval"


def test_the_deadline_that_is_shown_moves_while_a_person_decides(api: Api, event_id: str, clock: FakeClock) -> None:
    before = api("GET", f"/jobs/{event_id}").body["deadline_at"]
    clock.advance(timedelta(minutes=30))
    during = api("GET", f"/jobs/{event_id}").body["deadline_at"]
    assert during != before
    after = decide(api, event_id, {"decision": "approve"}).body["deadline_at"]
    assert after == during


def test_a_decision_is_kept_with_who_made_it_and_when(
    api: Api, event_id: str, clock: FakeClock, messages: Messages
) -> None:
    clock.advance(timedelta(minutes=5))
    answer = decide(api, event_id, {"decision": "edit", "value": "Lock all doors.", "by": " Mia ", "comment": "All!"})

    assert answer.status == 200
    approval = approval_of(answer.body)
    assert (approval["decision"], approval["value"], approval["shown"]) == ("edit", "Lock all doors.", "Lock doors.")
    assert (approval["by"], approval["key_id"], approval["comment"]) == ("Mia", "k1", "All!")
    assert (approval["decided_at"], approval["at_deadline"]) == (isoformat(clock()), False)
    assert answer.body["waiting_for"]["reason"] == "queue"
    assert [message["event_id"] for message in messages.waiting()] == [event_id]


def test_a_chain_with_two_such_steps_waits_for_one_after_the_other(
    api: Api, event_id: str, deployment: Deployment
) -> None:
    decide(api, event_id, {"decision": "approve"})
    deployment.run({})

    job = api("GET", f"/jobs/{event_id}").body
    assert job["waiting_for"]["detail"] == "a decision on the step claims"
    assert approval_of(job, "claims")["title"] == "Claims"
    shown = [{"text": "Lock doors.", "source": "Doors must be locked.", "source_found": True}]
    assert approval_of(job, "claims")["shown"] == shown

    edit = [{"text": "Close.", "source": "Doors must be closed."}, {"text": "Lock.", "source": "doors must be locked"}]
    assert decide(api, event_id, {"decision": "edit", "value": edit}, "claims").status == 200
    deployment.run({})
    job = api("GET", f"/jobs/{event_id}").body
    assert job["status"] == "completed"
    assert [entry["source_found"] for entry in job["result"]["claims"]] == [False, True]
    assert [approval_of(job, step)["decision"] for step in ("review", "claims")] == ["approve", "edit"]


def test_a_rejection_fails_the_job(api: Api, event_id: str) -> None:
    answer = decide(api, event_id, {"decision": "reject", "comment": "wrong"})
    assert answer.status == 200
    assert answer.body["status"] == "failed"
    assert answer.body["error"] == {
        "type": "approval_rejected",
        "message": "the step review was rejected",
        "step": "review",
    }
    assert approval_of(answer.body)["comment"] == "wrong"
    assert decide(api, event_id, {"decision": "reject"}).status == 200


def test_the_same_decision_again_is_answered_and_another_one_refused(api: Api, event_id: str) -> None:
    decide(api, event_id, {"decision": "approve", "by": "Mia"})
    again = decide(api, event_id, {"decision": "approve", "by": "Tom"})
    assert (again.status, approval_of(again.body)["by"]) == (200, "Mia")
    other = decide(api, event_id, {"decision": "reject"})
    assert (other.status, other.body["type"]) == (409, "urn:jobchain:problem:decided-already")


def test_a_decision_after_the_deadline_is_gone(api: Api, event_id: str, clock: FakeClock) -> None:
    clock.advance(timedelta(hours=1))
    late = decide(api, event_id, {"decision": "approve"})
    assert (late.status, late.body["type"]) == (410, "urn:jobchain:problem:decision-too-late")


def test_a_job_of_another_tenant_is_not_there(api: Api, event_id: str, deployment: Deployment) -> None:
    other = Api(
        make_service(deployment.stores, deployment.queue, deployment._logger, chains=CHAINS),
        deployment._logger,
        lambda _: Caller("another"),
        chains=CHAINS,
    )
    for body in ({"decision": "approve"}, {"decision": "edit", "value": "Mine."}, {"decision": "edit", "value": 1}):
        answer = decide(other, event_id, body)
        assert (answer.status, answer.body["type"]) == (404, "urn:jobchain:problem:job-not-found")


@pytest.mark.parametrize("value", [1, None, ["Lock."], {"text": "Lock."}])
def test_an_edit_that_does_not_fit_is_refused_and_leaves_nothing(
    api: Api, event_id: str, deployment: Deployment, value: Any
) -> None:
    before = deployment.items()
    answer = decide(api, event_id, {"decision": "edit", "value": value})
    assert (answer.status, [*answer.body["errors"]]) == (422, ["value"])
    assert deployment.items() == before


def test_an_edit_that_is_too_large_is_refused(api: Api, event_id: str) -> None:
    answer = decide(api, event_id, {"decision": "edit", "value": "a" * 150_000})
    assert answer.status == 422
    assert "the most is 150000" in answer.body["errors"]["value"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "decision"),
        ({"decision": "maybe"}, "decision"),
        ({"decision": "edit"}, ""),
        ({"decision": "approve", "value": "x"}, ""),
        ({"decision": "approve", "by": "a" * 101}, "by"),
        ({"decision": "approve", "comment": "a" * 1001}, "comment"),
        ({"decision": "approve", "by": "a\0"}, "by"),
        ({"decision": "approve", "why": "x"}, "why"),
    ],
)
def test_a_decision_that_is_none_is_refused_by_its_field(api: Api, event_id: str, body: Any, field: str) -> None:
    answer = decide(api, event_id, body)
    assert answer.status == 422
    (where,) = answer.body["errors"]
    assert field in where


@pytest.mark.parametrize("step", ["draft", "claims", "no-such-step"])
@pytest.mark.parametrize("body", [{"decision": "approve"}, {"decision": "edit", "value": "x"}])
def test_a_step_that_does_not_wait_is_refused(api: Api, event_id: str, step: str, body: Any) -> None:
    answer = decide(api, event_id, body, step)
    assert answer.status in (409, 422)
    assert body["decision"] == "edit" or answer.body["type"] == "urn:jobchain:problem:step-does-not-wait"


def test_other_methods_are_refused_with_the_one_that_is_allowed(api: Api, event_id: str) -> None:
    answer = api("GET", f"/jobs/{event_id}/steps/review/decision")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


def test_texts_of_a_decision_reach_no_log(api: Api, event_id: str, log: Any) -> None:
    decide(api, event_id, {"decision": "edit", "value": "SECRET-1", "by": "SECRET-2", "comment": "SECRET-3"})
    assert "SECRET" not in log.getvalue()


def test_an_edit_of_a_chain_that_is_gone_is_refused(event_id: str, deployment: Deployment, logger: Logger) -> None:
    service = make_service(deployment.stores, deployment.queue, logger, chains={})
    bare = Api(service, logger, lambda _: Caller("local"), chains={})
    answer = decide(bare, event_id, {"decision": "edit", "value": "x"})
    assert (answer.status, answer.body["type"]) == (409, "urn:jobchain:problem:step-does-not-wait")
    assert decide(bare, event_id, {"decision": "approve"}).status == 200


def test_a_fork_from_a_later_step_copies_what_was_approved(api: Api, event_id: str, deployment: Deployment) -> None:
    decide(api, event_id, {"decision": "edit", "value": "Lock all doors."})
    deployment.run({})
    made = api("POST", f"/jobs/{event_id}/fork", {"from_step": "claims"}).body["event_id"]
    job = deployment.run({}, event_id=made)
    assert {step.name: step.output for step in job.steps}["review"] == "Lock all doors."
    assert [approval.step for approval in job.approvals] == ["claims"]
