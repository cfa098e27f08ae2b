"""Steps that a person decides, in every order of callers, workers, sweepers, crashes and lost answers."""

import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from pydantic import JsonValue

from jobchain.approvals import Approval, Decided, Decision
from jobchain.aws.parking import is_parked
from jobchain.chains import CHAINS
from jobchain.chains.approving import ApprovalOptions, ApprovalStep
from jobchain.chains.chain import Chain, StepContext
from jobchain.domain import Job, Status
from jobchain.errors import DecidedAlready, DecisionTooLate, JobchainError
from jobchain_api.requests import DecideStep
from tests.faults.test_crash_points import assert_promises, message, run, settle, the_job, worker
from tests.faults.test_properties import Jobs, fates
from tests.faults.world import CALLER, TENANT, Fate, Killed, Process, World
from tests.properties import VARIABLE

pytestmark = pytest.mark.timeout(600)

WAIT = timedelta(hours=1)


def _shown(context: StepContext[Any]) -> JsonValue:
    summary: JsonValue = context.outputs["summary"]
    return summary


def _with_review() -> Chain:
    """The shipped chain, whose summary a person decides; it is approved at its deadline."""
    shipped = CHAINS["guideline_checklist"]
    options = ApprovalOptions("Review the summary", int(WAIT.total_seconds()), "approve")
    review = ApprovalStep("review", _shown, ("summary",), output_type=str, options=options)
    summary, checklist, diagram = shipped.steps
    return replace(shipped, steps=(summary, review, replace(checklist, needs=(*checklist.needs, "review")), diagram))


REVIEWED: Mapping[str, Chain] = {"guideline_checklist": _with_review()}

APPROVE, REJECT = DecideStep(decision=Decision.APPROVE, by="Mia"), DecideStep(decision=Decision.REJECT)


def edited(world: World, event_id: str) -> DecideStep:
    """An edit of what is shown: a text that names its job as that does."""
    approvals = world.job(event_id).approvals
    shown = approvals[-1].shown if approvals else "job-0-v0"
    return DecideStep(decision=Decision.EDIT, value=f"Edited: {shown}")


MakeWorld = Callable[[], World]


@pytest.fixture
def world(dynamodb: object, logger: Logger) -> MakeWorld:
    """Makes worlds, which share a table: each begins without items."""
    client = boto3.client("dynamodb")

    def make() -> World:
        for item in client.scan(TableName="jobs")["Items"]:
            client.delete_item(TableName="jobs", Key={name: item[name] for name in ("pk", "sk")})
        return World(client, logger, itertools.count(), REVIEWED)

    return make


# --- every point of parking and waking ---------------------------------------------------------------


def posted(world: World) -> Process:
    world.submit()
    return worker(world)


def parked(world: World) -> None:
    posted(world).finish()
    assert is_parked(world.meta(the_job(world)))


def approved(world: World) -> Process:
    parked(world)
    world.service.decide(CALLER, the_job(world), "review", APPROVE)
    return worker(world)


@pytest.mark.parametrize("fate", ["dies", pytest.param("loses", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("prepare", [posted, pytest.param(approved, marks=pytest.mark.thorough)])
def test_a_worker_that_is_disturbed_where_a_step_is_parked_or_woken_loses_no_decision(
    world: MakeWorld, prepare: Callable[[World], Process], fate: Fate
) -> None:
    undisturbed = world()
    process = prepare(undisturbed)
    before = process.passed
    process.finish()
    count = process.passed - before
    assert count >= 4

    for at in range(1, count + 1):
        # given a worker that crashes or loses an answer at this point
        now = world()
        process = prepare(now)
        event_id = the_job(now)
        run(process, at, fate)
        calls = now.answers(event_id)
        stored = {step.name for step in now.job(event_id).steps}
        decided = [approval.decided for approval in now.job(event_id).approvals]

        # when the system is left to itself
        settle(now)

        # then the job completes, its step was decided once, and what was decided before is as it was
        where = f"{fate} at point {at} of {count}"
        job = now.job(event_id)
        assert job.status is Status.COMPLETED, where
        assert len([approval for approval in job.approvals if approval.is_approved]) == 1, where
        assert [approval.decided for approval in job.approvals][: len(decided)] == decided or decided == [None], where
        assert not {step for step, times in now.answers(event_id).items() if times > calls.get(step, 0)} & stored, where
        assert_promises(now)


def overdue(world: World) -> None:
    parked(world)
    world.clock.advance(WAIT + timedelta(seconds=1))


def approve(world: World) -> None:
    world.service.decide(CALLER, the_job(world), "review", APPROVE)


def reject(world: World) -> None:
    world.service.decide(CALLER, the_job(world), "review", REJECT)


def edit(world: World) -> None:
    world.service.decide(CALLER, the_job(world), "review", edited(world, the_job(world)))


REQUESTS = {
    "approve": (parked, approve, Status.COMPLETED, Decision.APPROVE),
    "edit": (parked, edit, Status.COMPLETED, Decision.EDIT),
    "reject": (parked, reject, Status.FAILED, Decision.REJECT),
    "its deadline": (overdue, World.sweep, Status.COMPLETED, Decision.APPROVE),
}


@pytest.mark.parametrize("fate", ["dies", pytest.param("loses", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_decision_that_is_disturbed_at_any_point_and_made_again_is_as_one(
    world: MakeWorld, name: str, fate: Fate
) -> None:
    prepare, act, ended, decision = REQUESTS[name]
    undisturbed = world()
    prepare(undisturbed)
    before = undisturbed.death.passed
    act(undisturbed)
    count = undisturbed.death.passed - before
    assert count >= 4

    for at in range(1, count + 1):
        # given a process that crashes or loses an answer at this point
        now = world()
        prepare(now)
        now.death.passed, now.death.at, now.death.fate = 0, at, fate
        with suppress(Killed, JobchainError):
            act(now)
        now.death.at = None

        # when the decision is made again, and the system is left to itself
        act(now)
        settle(now)

        # then it was made once
        job = now.job(the_job(now))
        where = f"{fate} at point {at} of {count}"
        assert job.status is ended, where
        assert [approval.decided and approval.decided.decision for approval in job.approvals] == [decision], where
        assert set(now.answers(the_job(now)).values()) == {1}, where
        assert_promises(now)


@pytest.mark.parametrize("points", range(1, 9))
def test_of_two_that_decide_otherwise_at_the_same_time_one_is_refused(world: MakeWorld, points: int) -> None:
    # given one who approves, and has come to a point
    now = world()
    parked(now)
    refused: list[str] = []

    def try_to(decide: Callable[[World], None], name: str) -> None:
        try:
            decide(now)
        except DecidedAlready:
            refused.append(name)

    first = now.start_request(lambda: try_to(approve, "approve"))
    first.go(points)

    # when another one rejects meanwhile
    try_to(reject, "reject")
    first.finish()
    settle(now)

    # then the job ended as the one wanted who was not refused
    (loser,) = refused
    assert now.job(the_job(now)).status is (Status.COMPLETED if loser == "reject" else Status.FAILED)
    assert_promises(now)


@pytest.mark.parametrize("points", range(1, 9))
def test_a_decision_and_a_cancel_at_the_same_time_end_the_job_once(world: MakeWorld, points: int) -> None:
    now = world()
    parked(now)
    decide = now.start_request(lambda: approve(now))
    decide.go(points)
    with suppress(JobchainError):
        now.service.cancel(CALLER, the_job(now))
    decide.finish()
    settle(now)
    assert now.job(the_job(now)).status is Status.CANCELLED
    assert_promises(now)


def test_a_copy_of_the_message_wakes_no_job(world: MakeWorld) -> None:
    now = world()
    parked(now)
    before = now.meta(the_job(now))
    message(now)
    worker(now).finish()
    assert now.meta(the_job(now)) == before


# --- every order ---------------------------------------------------------------------------------------

decisions = st.sampled_from(["approve", "reject", "edit"])


class Approvals(Jobs):
    """Jobs with a step that callers decide, in every order that Hypothesis thinks of."""

    chains = REVIEWED

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[tuple[str, str], Decided] = {}
        """What a caller was told that is decided, by the job's id and uid, of the newest approval then."""
        self.kept: dict[tuple[str, str, int], Decided] = {}
        """How each parked step was decided, when it was looked at."""

    @initialize(target=Jobs.ids)
    def begin(self) -> str:
        """A job that waits for a decision."""
        event_id = f"{self.create(None, 0)}"
        worker(self.world).finish()
        return event_id

    @rule(event_id=Jobs.ids, decision=decisions, at=st.integers(0, 10), fate=fates)
    def decide(self, event_id: str, decision: str, at: int, fate: Fate) -> None:
        with self.disturbed(at, fate), suppress(DecisionTooLate):
            self._decide(event_id, decision)

    @rule(event_id=Jobs.ids, decision=decisions, points=st.integers(1, 8))
    def ask_to_decide(self, event_id: str, decision: str, points: int) -> None:
        """A decision that is not answered yet."""
        self.world.start_request(lambda: self._decide(event_id, decision)).go(points)

    def _decide(self, event_id: str, decision: str) -> None:
        if not self.world.meta(event_id):
            return
        request = {"approve": APPROVE, "reject": REJECT}.get(decision) or edited(self.world, event_id)
        job = self.world.service.decide(CALLER, event_id, "review", request)
        newest = [approval for approval in job.approvals if approval.decided][-1]
        assert newest.decided
        assert newest.decided.decision == decision, "another decision than the caller was told"

    @invariant()
    def decides_each_step_once(self) -> None:
        for event_id in self.world.markers:
            meta = self.world.meta(event_id)
            if not meta:
                continue
            job = self.world.stores.jobs.get(TENANT, event_id)
            self._check(job, meta["uid"])
            if is_parked(meta):
                (waiting,) = [each for each in job.approvals if each.claim == int(meta["claim"])]
                assert waiting.decided is None, "a decided job is parked"

    def _check(self, job: Job, uid: str) -> None:
        for approval in job.approvals:
            if approval.decided:
                first = self.kept.setdefault((job.event_id, uid, approval.claim), approval.decided)
                assert approval.decided == first, "a decision has changed"
        known = {claim for event_id, its_uid, claim in self.kept if (event_id, its_uid) == (job.event_id, uid)}
        assert known <= {approval.claim for approval in job.approvals}, "a decision is lost"
        approved = [approval for approval in job.approvals if approval.is_approved]
        assert len(approved) <= 1, "a step is approved twice"
        outputs = {step.name: step.output for step in job.steps}
        assert "review" not in outputs or [approval.value for approval in approved] == [outputs["review"]]
        assert not outputs.keys() & {"checklist", "diagram"} or approved, "the job continued without an approval"
        self._check_end(job, job.approvals[-1:])

    @staticmethod
    def _check_end(job: Job, newest: tuple[Approval, ...]) -> None:
        rejected = job.error is not None and job.error.type == "approval_rejected"
        is_rejection = bool(newest and newest[0].decided and newest[0].decided.decision is Decision.REJECT)
        assert not rejected or is_rejection, "rejected without a decision"


TestApprovals = pytest.mark.deeper(pytest.mark.timeout(600)(Approvals.TestCase))
TestApprovals.settings = settings(
    max_examples=max(8, settings().max_examples // 100) if VARIABLE in os.environ else 8,
    stateful_step_count=25,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
