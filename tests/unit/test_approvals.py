"""Steps that a person decides: parked, decided once, and gone on with."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from jobchain import Chain, Text
from jobchain.approvals import Decided, Decision
from jobchain.aws.items import Due
from jobchain.aws.queue import JobQueue
from jobchain.domain import Status, WaitReason, isoformat
from jobchain.errors import DecidedAlready, DecisionTooLate, JobIsFinal, JobIsNotFinal, JobNotFound, StepDoesNotWait
from jobchain.limits import NO_LIMITS
from jobchain.outcomes import Outcome
from jobchain.spending import NOTHING_SPENT
from jobchain.webhooks.events import Receiver
from tests.conftest import Messages
from tests.deployment import RETENTION, TENANT, Deployment
from tests.fakes import FakeClock
from tests.unit.test_webhook_outbox import bodies

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

chain = Chain("letters", description="")


@chain.ask
def draft(document: Text) -> str:
    """Write a letter."""
    raise NotImplementedError


@chain.approve(title="Review the letter", deadline_seconds=3600)
def review(draft: str) -> str:
    return draft


@chain.ask
def translation(review: str) -> str:
    """Translate."""
    raise NotImplementedError


lenient = Chain("lenient", description="")


@lenient.approve(deadline_seconds=60, on_deadline="approve")
def plan(document: Text) -> list[str]:
    return document.split()


@lenient.code
def count(plan: list[str]) -> int:
    return len(plan)


APPROVED, REJECTED = Decided(Decision.APPROVE, by="Mia"), Decided(Decision.REJECT)
EDITED = Decided(Decision.EDIT, "Dear Sir.", by="Mia", key_id="k1", comment="too short")
HOUR = timedelta(hours=1)


@pytest.fixture
def deployment(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> Deployment:
    made = Deployment(dynamodb, queue, clock, logger)
    made.runner = made.worker(chains={"letters": chain.compiled, "lenient": lenient.compiled})
    return made


@pytest.fixture
def parked(deployment: Deployment) -> Deployment:
    """A job whose step `review` waits."""
    deployment.create(job_name="letters", payload={"document": "Refund."})
    deployment.run({"draft": "Dear customer."})
    return deployment


def decide(deployment: Deployment, decided: Decided, step: str = "review", tenant: str = TENANT) -> bool:
    _, goes_on = deployment.stores.decisions.decide(tenant, deployment.event_id, step, decided)
    return goes_on


def test_a_job_waits_for_a_decision_and_holds_nothing(parked: Deployment, clock: FakeClock, messages: Messages) -> None:
    job = parked.job()
    (approval,) = job.approvals
    assert job.status is Status.PENDING
    assert job.waiting_for
    assert job.waiting_for.reason is WaitReason.APPROVAL
    assert (job.waiting_for.until, job.waiting_for.retryable) == (isoformat(clock() + HOUR), False)
    assert (approval.step, approval.title, approval.shown) == ("review", "Review the letter", "Dear customer.")
    assert (approval.since, approval.until, approval.decided) == (isoformat(clock()), isoformat(clock() + HOUR), None)
    assert [step.name for step in job.steps] == ["draft"]
    assert messages.count() == 0, "no message is sent before the decision"
    assert parked.meta()["due_shard"] in Due.LATER.value


def test_a_job_that_waits_for_what_only_a_later_version_knows_is_shown_and_run_when_its_wait_is_over(
    parked: Deployment, clock: FakeClock
) -> None:
    """After a rollback. An error in its place would hide the whole list of its tenant, and fail the job."""
    meta = parked.meta()
    parked.table.put({**meta, "waiting_for": {**meta["waiting_for"], "reason": "model"}})

    (listed,), _ = parked.stores.jobs.recent(TENANT, 10)
    assert listed.waiting_for
    assert listed.waiting_for.reason is WaitReason.DEPLOYMENT
    assert parked.run().status is Status.PENDING
    clock.advance(HOUR)
    assert parked.run().waiting_for == parked.job().waiting_for
    assert [approval.claim for approval in parked.job().approvals] == [1, 2], "it asks again"


def test_a_message_that_comes_while_a_job_waits_wakes_nothing(parked: Deployment) -> None:
    before = parked.items()
    parked.run({})
    assert parked.items() == before


def test_a_sweep_while_a_job_waits_changes_nothing(parked: Deployment, clock: FakeClock) -> None:
    before = parked.items()
    clock.advance(HOUR - timedelta(seconds=1))
    parked.sweep()
    assert parked.items() == before


def test_an_approved_job_goes_on_with_what_was_shown(parked: Deployment, clock: FakeClock) -> None:
    clock.advance(timedelta(minutes=10))
    assert decide(parked, APPROVED)
    assert parked.job().waiting_for is None

    job = parked.run({"translation": "Cher client."})

    assert job.status is Status.COMPLETED
    assert {step.name: step.output for step in job.steps} == {
        "draft": "Dear customer.",
        "review": "Dear customer.",
        "translation": "Cher client.",
    }
    (approval,) = job.approvals
    assert approval.decided == Decided(Decision.APPROVE, by="Mia", at=isoformat(clock()))
    assert job.steps[1].total == NOTHING_SPENT
    assert parked.spent().calls == 2


def test_an_edited_step_has_the_edit_for_its_value(parked: Deployment, clock: FakeClock) -> None:
    decide(parked, EDITED)

    job = parked.run({"translation": "Monsieur."})

    assert job.steps[1].output == "Dear Sir."
    assert "Dear Sir." in parked.llm.requests[-1].input
    assert job.approvals[0].shown == "Dear customer."
    assert job.approvals[0].decided == Decided(
        Decision.EDIT, "Dear Sir.", by="Mia", key_id="k1", comment="too short", at=isoformat(clock())
    )


def test_a_rejected_job_fails_at_once_with_an_error_of_its_own(parked: Deployment) -> None:
    counted: list[Outcome] = []
    job, goes_on = parked.stores.decisions.decide(TENANT, parked.event_id, "review", REJECTED, counted.append)

    assert (job.status, goes_on) == (Status.FAILED, False)
    assert job.error
    assert (job.error.type, job.error.step) == ("approval_rejected", "review")
    assert [outcome.error_type for outcome in counted] == ["approval_rejected"]
    assert parked.stores.usage.today(TENANT).ended[Status.FAILED] == 1
    assert parked.spent().calls == 1


def test_the_same_decision_again_changes_nothing(parked: Deployment) -> None:
    decide(parked, EDITED)
    before = parked.items()
    # The message may not have been sent.
    assert decide(parked, Decided(Decision.EDIT, "Dear Sir.", by="Tom"))
    assert parked.items() == before
    parked.run({"translation": "Monsieur."})
    assert not decide(parked, EDITED)


@pytest.mark.parametrize("first", [APPROVED, REJECTED, EDITED])
@pytest.mark.parametrize("second", [APPROVED, REJECTED, EDITED, Decided(Decision.EDIT, "Another.")])
def test_another_decision_is_refused(parked: Deployment, first: Decided, second: Decided) -> None:
    decide(parked, first)
    before = parked.items()
    if first.same_as(second):
        decide(parked, second)
    else:
        with pytest.raises(DecidedAlready, match=f"decided already \\({first.decision}\\)"):
            decide(parked, second)
    assert parked.items() == before


def test_nobody_else_can_decide(parked: Deployment) -> None:
    with pytest.raises(JobNotFound):
        decide(parked, APPROVED, tenant="another")


@pytest.mark.parametrize("step", ["draft", "translation", "", "no such step"])
def test_a_step_that_does_not_wait_is_refused_with_the_one_that_does(parked: Deployment, step: str) -> None:
    with pytest.raises(StepDoesNotWait, match="decide review, which does"):
        decide(parked, APPROVED, step)


def test_nothing_is_decided_of_a_job_that_waits_for_nothing(deployment: Deployment) -> None:
    deployment.create(job_name="letters", payload={"document": "Refund."})
    with pytest.raises(StepDoesNotWait, match="no step of the job does"):
        decide(deployment, APPROVED)


def test_after_its_deadline_a_step_is_decided_as_its_chain_says(parked: Deployment, clock: FakeClock) -> None:
    clock.advance(HOUR)
    for decided in (APPROVED, REJECTED):
        with pytest.raises(DecisionTooLate, match="could be decided until"):
            decide(parked, decided)

    clock.advance(timedelta(seconds=1))
    parked.sweep()

    job = parked.job()
    assert job.status is Status.FAILED
    assert job.error
    assert job.error.type == "approval_rejected"
    assert "was not approved until" in job.error.message
    assert job.approvals[0].decided == Decided(Decision.REJECT, at=isoformat(clock()), at_deadline=True)
    for decided in (APPROVED, REJECTED):
        with pytest.raises(DecisionTooLate):
            decide(parked, decided)


def test_a_step_that_is_approved_at_its_deadline_goes_on_with_the_next_sweep(
    deployment: Deployment, clock: FakeClock, messages: Messages
) -> None:
    deployment.create(job_name="lenient", payload={"document": "Lock doors."})
    deployment.run({})
    clock.advance(timedelta(seconds=61))

    deployment.sweep()
    assert deployment.job().waiting_for is None
    deployment.sweep()
    assert [message["event_id"] for message in messages.waiting()] == [deployment.event_id]

    job = deployment.run({})
    assert job.status is Status.COMPLETED
    assert job.steps[-1].output == 2
    assert job.approvals[0].decided
    assert job.approvals[0].decided.at_deadline


def test_a_messages_loss_after_a_decision_is_healed(parked: Deployment, clock: FakeClock, messages: Messages) -> None:
    decide(parked, APPROVED)
    clock.advance(timedelta(minutes=5, seconds=1))
    parked.sweep()
    assert [message["event_id"] for message in messages.waiting()] == [parked.event_id]


def test_the_jobs_deadline_stands_still_while_it_waits(parked: Deployment, clock: FakeClock) -> None:
    before = parked.job().deadline_at
    assert before
    clock.advance(timedelta(minutes=50))
    decide(parked, APPROVED)
    assert parked.job().deadline_at == before + 50 * 60


def test_a_moved_deadline_leaves_a_day_before_the_job_is_erased(deployment: Deployment, clock: FakeClock) -> None:
    deployment.create(job_name="letters", payload={"document": "Refund."}, deadline=RETENTION)
    deployment.run({"draft": "Dear customer."})
    clock.advance(timedelta(minutes=50))
    decide(deployment, APPROVED)
    job = deployment.job()
    assert job.deadline_at == job.expires_at - 86_400


def test_a_step_waits_no_longer_than_its_job_is_kept(deployment: Deployment, clock: FakeClock) -> None:
    deployment.create(job_name="letters", payload={"document": "Refund."})
    erased = datetime.fromtimestamp(deployment.job().expires_at, UTC)
    clock.now = erased - timedelta(days=1, minutes=20)
    deployment.table._client.update_item(  # a job whose deadline is not over
        TableName="jobs",
        Key={"pk": {"S": f"JOB#{deployment.event_id}"}, "sk": {"S": "META"}},
        UpdateExpression="SET deadline_at = :at",
        ExpressionAttributeValues={":at": {"N": str(int(erased.timestamp()) - 86_400)}},
    )
    deployment.run({"draft": "Dear customer."})
    assert deployment.job().approvals[0].until == isoformat(erased - timedelta(days=1))


def test_a_waiting_job_can_be_cancelled_and_then_nothing_is_decided(parked: Deployment) -> None:
    job, _ = parked.stores.cancel(TENANT, parked.event_id)
    assert job.status is Status.CANCELLED
    with pytest.raises(StepDoesNotWait, match="no step of the job does"):
        decide(parked, APPROVED)


def test_a_waiting_job_can_not_be_retried(parked: Deployment) -> None:
    with pytest.raises(JobIsNotFinal, match="waits for a decision"):
        parked.stores.jobs.retry(TENANT, parked.event_id)


def test_a_job_that_is_retried_after_a_rejection_asks_again(parked: Deployment, clock: FakeClock) -> None:
    decide(parked, REJECTED)
    parked.stores.jobs.retry(TENANT, parked.event_id, NO_LIMITS)
    clock.advance(timedelta(minutes=1))
    assert parked.run({}).approvals[1].decided is None

    # A decision of before is no decision of this one.
    assert decide(parked, APPROVED)
    job = parked.run({"translation": "Cher client."})
    assert job.status is Status.COMPLETED
    assert [approval.decided.decision for approval in job.approvals if approval.decided] == ["reject", "approve"]


def test_a_decided_step_is_not_asked_for_again_where_the_next_worker_crashes(
    parked: Deployment, clock: FakeClock
) -> None:
    decide(parked, EDITED)
    parked.stores.claim(parked.event_id, clock() + timedelta(minutes=5))
    clock.advance(timedelta(minutes=6))
    job = parked.run({"translation": "Monsieur."})
    assert job.status is Status.COMPLETED
    assert job.steps[1].output == "Dear Sir."
    assert len(job.approvals) == 1


def test_a_cancelled_job_that_is_retried_asks_again(parked: Deployment) -> None:
    parked.stores.cancel(TENANT, parked.event_id)
    parked.stores.jobs.retry(TENANT, parked.event_id, NO_LIMITS)
    job = parked.run({})
    assert [approval.claim for approval in job.approvals] == [1, 2]
    decide(parked, APPROVED)
    assert [bool(approval.decided) for approval in parked.job().approvals] == [False, True]


def test_a_cancel_while_the_worker_parks_the_step_ends_the_job(deployment: Deployment) -> None:
    deployment.create(job_name="lenient", payload={"document": "Lock doors."})
    original = deployment.stores.claims.release

    def cancelled_before(*arguments: object) -> bool:
        deployment.stores.cancel(TENANT, deployment.event_id)
        return original(*arguments)  # type: ignore[arg-type]

    deployment.stores.claims.release = cancelled_before  # type: ignore[method-assign, assignment]
    job = deployment.run({})
    assert job.status is Status.CANCELLED
    assert job.approvals == ()


def test_a_deleted_job_leaves_nothing_of_its_approvals(parked: Deployment) -> None:
    decide(parked, REJECTED)
    parked.stores.jobs.delete(TENANT, parked.event_id)
    assert parked.items() == []


def test_what_is_parked_expires_with_its_job(parked: Deployment) -> None:
    assert {item["expires_at"] for item in parked.items()} == {parked.job().expires_at}


def test_an_answer_that_is_lost_costs_no_decision(parked: Deployment) -> None:
    parked.faults.script("TransactWriteItems", "lost")
    with pytest.raises(Exception, match="does not answer"):
        decide(parked, APPROVED)
    assert decide(parked, APPROVED)
    with pytest.raises(DecidedAlready):
        decide(parked, REJECTED)


def test_a_final_job_is_not_decided(parked: Deployment) -> None:
    decide(parked, REJECTED)
    with pytest.raises(JobIsFinal):
        parked.stores.cancel(TENANT, parked.event_id)


def test_an_approved_value_that_another_version_can_not_read_waits_for_one_that_can(
    parked: Deployment, clock: FakeClock
) -> None:
    # given a step that was approved, and a deployment whose version of the chain gives another type
    decide(parked, APPROVED)
    other = Chain("letters", description="")

    @other.ask
    def draft(document: Text) -> str:
        """Write a letter."""
        raise NotImplementedError

    @other.approve
    def review(draft: str) -> int:
        return len(draft)

    @other.code
    def count(review: int) -> int:
        return review

    fitting, parked.runner = parked.runner, parked.worker(chains={"letters": other.compiled})

    # when that runs the job
    job = parked.run({})

    # then the job waits for a deployment, and the decision stays
    assert job.waiting_for
    assert job.waiting_for.reason is WaitReason.DEPLOYMENT
    assert "its step review gives another type" in job.waiting_for.detail
    parked.runner = fitting
    clock.advance(timedelta(minutes=30))
    assert parked.run({"translation": "Cher client."}).status is Status.COMPLETED


def test_endpoints_are_told_when_a_step_waits_and_when_the_job_is_rejected(deployment: Deployment) -> None:
    deployment.create(job_name="letters", payload={"document": "Refund."}, receivers=(Receiver("ep_all"),))
    deployment.run({"draft": "Dear customer."})
    (told,) = bodies(deployment)
    assert (told["type"], told["data"]["waiting_for"]["reason"]) == ("job.waiting", "approval")
    assert "Dear customer." not in str(told), "no text of a job is in an event"

    # Two events of one moment have no order.
    deployment.clock.advance(timedelta(minutes=1))
    decide(deployment, REJECTED)
    assert sorted(body["type"] for body in bodies(deployment)) == ["job.failed", "job.waiting"]
    assert len(deployment.stores.announced) == 2
