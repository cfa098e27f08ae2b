"""Code steps in a deployment: stored as any step is, at no cost, and their faults as those of any chain's code."""

from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from jobchain import Chain, Text
from jobchain.aws.queue import JobQueue
from jobchain.domain import Status, WaitReason
from jobchain.spending import NOTHING_SPENT
from tests.deployment import Deployment
from tests.fake_model.script import asked
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

chain = Chain("guide", description="")
broken = False


@chain.ask
def summary(document: Text) -> str:
    """Summarize."""
    raise NotImplementedError


@chain.code
def words(summary: str) -> list[str]:
    if broken:
        raise ZeroDivisionError
    return summary.split()


@chain.code
def count(words: list[str], document: Text) -> int:
    return len(words) + len(document)


@pytest.fixture
def deployment(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> Deployment:
    made = Deployment(dynamodb, queue, clock, logger)
    made.runner = made.worker(chains={"guide": chain.compiled})
    made.create(job_name="guide", payload={"document": "Lock doors."})
    return made


def test_are_stored_without_a_call(deployment: Deployment) -> None:
    job = deployment.run({"summary": "Lock them."})

    assert job.status is Status.COMPLETED
    assert {step.name: step.output for step in job.steps} == {
        "summary": "Lock them.",
        "words": ["Lock", "them."],
        "count": 13,
    }
    assert [(step.model, step.total == NOTHING_SPENT) for step in job.steps[1:]] == [("", True), ("", True)]
    assert len(deployment.llm.requests) == 1
    assert asked(deployment.llm.requests[0].input, "SummaryAnswer").step == "summary"


def test_that_fail_are_tried_again_later_and_nothing_is_charged_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.test_code_steps.broken", True)
    job = deployment.run({"summary": "Lock them."})

    assert job.status is Status.PENDING
    assert job.waiting_for
    assert job.waiting_for.reason is WaitReason.RETRY
    assert "the step's code failed (ZeroDivisionError)" in job.waiting_for.detail
    monkeypatch.setattr("tests.unit.test_code_steps.broken", False)

    assert deployment.run_until_final().status is Status.COMPLETED
    assert job.spending.calls == 1
    deployment.spent()
