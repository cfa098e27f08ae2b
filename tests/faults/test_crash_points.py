"""The process crashes at every point, one after the other; the job must end as if nothing had happened."""

import asyncio
from collections.abc import Callable

import boto3
import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.items import DISPATCH_GRACE
from jobchain.domain import Status
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.llm import AnswerText
from jobchain.spending import Usage
from tests.fake_model.answers import outputs_of
from tests.faults.world import TENANT, Killed, World

# A world for each point.
pytestmark = pytest.mark.timeout(600)

Act = Callable[[World], None]


@pytest.fixture
def world(dynamodb: object, logger: Logger) -> Callable[[], World]:
    """Makes worlds, which share a table and nothing else."""
    return lambda: World(boto3.client("dynamodb"), logger)


def run_all(world: World) -> None:
    for message in world.queue.visible():
        world.deliver(message)


def retried_later(world: World) -> None:
    world.model.faults = [TransientModelError("the model's server answered 503")]
    run_all(world)


def asked_again(world: World) -> None:
    world.model.faults = [AnswerText("gpt-6-luna", Usage(1, 0, 1, 0), "{}")]
    run_all(world)


def failed(world: World) -> None:
    world.model.faults = [PermanentModelError("model_refused", "declined")]
    run_all(world)


def cancelled_meanwhile(world: World) -> None:
    (event_id,) = world.markers

    async def cancel() -> None:
        await asyncio.to_thread(world.stores.jobs.cancel, TENANT, event_id)

    world.model.meanwhile = cancel
    run_all(world)


def points_of(world: World, act: Act) -> int:
    """How many points an undisturbed run passes."""
    world.submit()
    world.death.passed = 0
    act(world)
    count = world.death.passed
    world.settle()
    return count


@pytest.mark.parametrize(
    ("act", "ended"),
    [
        (run_all, Status.COMPLETED),
        (retried_later, Status.COMPLETED),
        pytest.param(asked_again, Status.COMPLETED, marks=pytest.mark.faults),
        (failed, Status.FAILED),
        (cancelled_meanwhile, Status.CANCELLED),
    ],
)
def test_a_worker_that_dies_at_any_point_loses_nothing(world: Callable[[], World], act: Act, ended: Status) -> None:
    undisturbed = world()
    count = points_of(undisturbed, act)
    (first,) = undisturbed.markers
    assert undisturbed.job(first).status is ended
    assert count >= 5

    for at in range(1, count + 1):
        # given a job, and a worker that dies at this point
        now = world()
        event_id = now.submit()
        marker = now.markers[event_id]
        now.death.passed, now.death.at = 0, at
        with pytest.raises(Killed):
            act(now)
        stored = {step.name for step in now.job(event_id).steps}

        # when the system is left to itself
        now.model.faults, now.model.meanwhile = [], None
        now.settle()

        # then the job ends as if nothing had happened, and only the call in flight was made once more
        job = now.job(event_id)
        # (where the refusal or the cancel died with the worker, the model is asked again, and answers)
        assert job.status in (ended, Status.COMPLETED), f"killed at point {at} of {count}"
        assert stored <= {step.name for step in job.steps}
        if job.status is Status.COMPLETED:
            assert {step.name: step.output for step in job.steps} == outputs_of(marker)
        asked_again_of = {step: times for step, times in now.answers(event_id).items() if times > 1}
        assert list(asked_again_of.values()) in ([], [2])
        assert not asked_again_of.keys() & stored, "a stored step is never asked for again"


def test_an_api_that_dies_at_any_point_leaves_no_job_half_accepted(world: Callable[[], World]) -> None:
    undisturbed = world()
    undisturbed.submit(key="key")
    count = undisturbed.death.passed
    assert count >= 4, "before and after storing the job and sending it"

    for at in range(1, count + 1):
        # given an api that dies at this point, so that its caller never gets an answer
        now = world()
        now.death.at = at
        with pytest.raises(Killed):
            now.submit(key=f"key-{at}", marker=f"job-{at}000")

        # when the caller repeats the request, with the same key
        now.death.at = None
        event_id = now.submit(key=f"key-{at}", marker=f"job-{at}000")
        now.settle()

        # then there is one job, and one set of model calls
        assert now.job(event_id).status is Status.COMPLETED
        assert now.answers(event_id) == {"summary": 1, "checklist": 1, "diagram": 1}


def test_a_sweeper_that_dies_at_any_point_leaves_no_job_behind(world: Callable[[], World]) -> None:
    def lose_the_message(now: World) -> str:
        event_id = now.submit()
        now.queue.messages.clear()
        now.clock.advance(DISPATCH_GRACE)
        now.death.passed = 0
        return event_id

    undisturbed = world()
    lose_the_message(undisturbed)
    undisturbed.sweep()
    count = undisturbed.death.passed
    assert count >= 6, "before and after reading, putting off and sending"

    for at in range(1, count + 1):
        now = world()
        event_id = lose_the_message(now)
        now.death.at = at
        with pytest.raises(Killed):
            now.sweep()

        now.settle()

        assert now.job(event_id).status is Status.COMPLETED
        assert now.answers(event_id) == {"summary": 1, "checklist": 1, "diagram": 1}
