"""A process crashes, or loses an answer, at every point, one after the other; the job must end as if nothing had been.

A point is before and after each request to the table, each message, and each call of the model.
"""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import boto3
import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.items import DISPATCH_GRACE
from jobchain.domain import Status
from jobchain.errors import JobchainError, JobIsFinal, JobNotFound, PermanentModelError, TransientModelError
from jobchain.limits import Limits
from jobchain.llm import AnswerText, ModelAnswer
from jobchain.spending import Usage
from jobchain_sweeper.resending import MAX_CRASHES
from tests.faults.world import CALLER, INVOCATION, TENANT, Fate, Killed, Process, World

# A world for each point.
pytestmark = pytest.mark.timeout(600)

MakeWorld = Callable[[], World]
Act = Callable[[World], object]

BUSY = TransientModelError("the model's server answered 503")
DECLINED = PermanentModelError("model_refused", "declined")
BROKEN = AnswerText("gpt-6-luna", Usage(1, 0, 1, 0), "{}")

AFTER_THE_LEASE = INVOCATION + timedelta(seconds=1)


@pytest.fixture
def world(dynamodb: object, logger: Logger) -> MakeWorld:
    """Makes worlds, which share a table: each begins without items."""
    client = boto3.client("dynamodb")

    def make() -> World:
        for item in client.scan(TableName="jobs")["Items"]:
            client.delete_item(TableName="jobs", Key={name: item[name] for name in ("pk", "sk")})
        return World(client, logger, itertools.count())

    return make


# --- workers -------------------------------------------------------------------------------------


def worker(world: World) -> Process:
    """A worker that has a message, and is stopped before its first request."""
    return world.start(world.queue.visible()[0])


def run(process: Process, at: int, fate: Fate) -> None:
    process.go(at, fate)
    process.finish()


def in_its_call(world: World) -> Process:
    """A worker that is stopped while its first call is in flight."""
    process = worker(world)
    while not world.model.answered:
        process.go(1)
    return process


def claimed(process: Process) -> Process:
    """The worker, once it has claimed its job, and has done nothing more."""
    while process.claim is None:
        process.go(1)
    return process


def crash(world: World) -> None:
    """A worker crashes in its first call, and its lease ends."""
    in_its_call(world).go(1, "dies")
    world.clock.advance(AFTER_THE_LEASE)


def message(world: World) -> None:
    """The job's message is there once more."""
    (event_id,) = world.markers
    world.queue.messages.clear()
    world.queue.send(event_id, TENANT)


def posted(world: World) -> Process:
    world.submit(metadata={"case": "7"})
    return worker(world)


def meeting(*faults: Exception | ModelAnswer) -> Callable[[World], Process]:
    def prepare(world: World) -> Process:
        world.submit()
        world.model.faults = [*faults]
        return worker(world)

    return prepare


def cancelled_meanwhile(world: World) -> Process:
    event_id = world.submit()

    async def cancel() -> None:
        await asyncio.to_thread(world.stores.jobs.cancel, TENANT, event_id)

    world.model.meanwhile = cancel
    return worker(world)


def after_a_crash(world: World) -> Process:
    world.submit()
    crash(world)
    message(world)
    return worker(world)


def after_two_crashes(world: World) -> Process:
    """The second worker crashed when it had claimed the job, before it settled what the first one had left."""
    claimed(after_a_crash(world)).go(1, "dies")
    world.clock.advance(AFTER_THE_LEASE)
    message(world)
    return worker(world)


def overtaken(world: World) -> Process:
    """Its job was completed by another one while its call was in flight."""
    world.submit()
    slow = in_its_call(world)
    world.clock.advance(AFTER_THE_LEASE)
    message(world)
    worker(world).finish()
    return slow


def overtaken_and_not_settled(world: World) -> Process:
    """Another one has claimed its job, and nothing more, while its call was in flight."""
    world.submit()
    slow = in_its_call(world)
    world.clock.advance(AFTER_THE_LEASE)
    message(world)
    claimed(worker(world))
    return slow


def over_its_daily_budget(world: World) -> Process:
    # Calls in flight at a crash are charged too, and may use up a second day.
    world.submit(limits=Limits(tokens_per_day=150), deadline_seconds=604_800)
    return worker(world)


WORKERS = {
    "three steps": (posted, Status.COMPLETED),
    "a call that fails": (meeting(BUSY), Status.COMPLETED),
    "an answer that does not fit": (meeting(BROKEN), Status.COMPLETED),
    "a refusal": (meeting(DECLINED), Status.FAILED),
    "a refusal after two answers that do not fit": (meeting(BROKEN, BROKEN, DECLINED), Status.FAILED),
    "a cancel": (cancelled_meanwhile, Status.CANCELLED),
    "a crash before": (after_a_crash, Status.COMPLETED),
    "two crashes before": (after_two_crashes, Status.COMPLETED),
    "overtaken": (overtaken, Status.COMPLETED),
    "overtaken before the usage is settled": (overtaken_and_not_settled, Status.COMPLETED),
    "a daily budget": (over_its_daily_budget, Status.COMPLETED),
}
ESSENTIAL = ("three steps", "a call that fails", "overtaken")
"""Those that the short run has too."""


@pytest.mark.parametrize("fate", ["dies", pytest.param("loses", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    "name", [name if name in ESSENTIAL else pytest.param(name, marks=pytest.mark.thorough) for name in WORKERS]
)
def test_a_worker_that_is_disturbed_at_any_point_loses_nothing(world: MakeWorld, name: str, fate: Fate) -> None:
    prepare, ended = WORKERS[name]
    undisturbed = world()
    process = prepare(undisturbed)
    before = process.passed
    process.finish()
    count = process.passed - before
    assert count >= 4
    settle(undisturbed)
    assert_promises(undisturbed)
    (first,) = undisturbed.markers
    assert undisturbed.job(first).status is ended

    for at in range(1, count + 1):
        # given a job, and a worker that crashes or loses an answer at this point
        now = world()
        process = prepare(now)
        (event_id,) = now.markers
        run(process, at, fate)
        stored = {step.name for step in now.job(event_id).steps}
        calls = now.answers(event_id)

        # when the system is left to itself
        settle(now)

        # then the job ends as if nothing had happened, and every call is in the usage records
        job = now.job(event_id)
        # (where the refusal or the cancel died with the worker, the model is called again, and answers)
        assert job.status in (ended, Status.COMPLETED), f"{fate} at point {at} of {count}"
        assert stored <= {step.name for step in job.steps}
        assert not {step for step, times in now.answers(event_id).items() if times > calls.get(step, 0)} & stored
        assert_promises(now)


def settle(world: World) -> None:
    world.model.faults, world.model.meanwhile = [], None
    for process in world.processes:
        process.finish()
    world.settle()


def assert_promises(world: World) -> None:
    world.assert_sums_agree()
    for job in world.added:
        world.assert_exact(job)
    for event_id in world.markers:
        with suppress(JobNotFound):
            world.assert_shown_right(event_id)


# --- callers, and the sweeper ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller or the sweeper does, after `prepare`; `ended` is how the job ends if it is done again after it."""

    prepare: Act
    act: Act
    ended: Status | None


def the_job(world: World) -> str:
    (event_id,) = world.markers
    return event_id


def crashed(world: World) -> None:
    world.submit()
    crash(world)


def crashed_five_times(world: World) -> None:
    world.submit()
    for _ in range(MAX_CRASHES):
        claimed(worker(world)).go(1, "dies")
        world.clock.advance(AFTER_THE_LEASE)
        message(world)
    world.queue.messages.clear()
    world.clock.advance(timedelta(hours=1))


def declined(world: World) -> None:
    meeting(BROKEN, DECLINED)(world).finish()


def lost(world: World) -> None:
    world.submit()
    world.queue.messages.clear()
    world.clock.advance(DISPATCH_GRACE)


def cancel(world: World) -> None:
    with suppress(JobIsFinal):
        world.service.cancel(CALLER, the_job(world))


def delete(world: World) -> None:
    with suppress(JobNotFound):
        world.service.delete(CALLER, the_job(world))


def post(world: World) -> None:
    limits = Limits(jobs_per_minute=5, unfinished_jobs=5)
    world.submit(key="key", marker="job-0", limits=limits, metadata={"case": "7"})


def retry(world: World) -> None:
    with suppress(JobchainError):
        world.service.retry(CALLER, the_job(world))


REQUESTS = {
    "post": Request(lambda world: None, post, Status.COMPLETED),
    "post again": Request(post, post, Status.COMPLETED),
    "cancel of a crashed job": Request(crashed, cancel, Status.CANCELLED),
    "cancel": Request(lambda world: world.submit(), cancel, Status.CANCELLED),
    "a job that crashes its workers": Request(crashed_five_times, World.sweep, Status.FAILED),
    "a message that was lost": Request(lost, World.sweep, Status.COMPLETED),
    "delete": Request(declined, delete, None),
    "retry": Request(declined, retry, Status.COMPLETED),
}


@pytest.mark.parametrize("fate", ["dies", pytest.param("loses", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    "name",
    [name if name in ("post", "delete") else pytest.param(name, marks=pytest.mark.thorough) for name in REQUESTS],
)
def test_a_request_that_is_disturbed_at_any_point_and_made_again_is_as_one(
    world: MakeWorld, name: str, fate: Fate
) -> None:
    request = REQUESTS[name]
    undisturbed = world()
    request.prepare(undisturbed)
    before = undisturbed.death.passed
    request.act(undisturbed)
    count = undisturbed.death.passed - before
    assert count >= 4
    settle(undisturbed)
    assert_promises(undisturbed)

    for at in range(1, count + 1):
        # given a process that crashes or loses an answer at this point
        now = world()
        request.prepare(now)
        now.death.passed, now.death.at, now.death.fate = 0, at, fate
        with suppress(Killed, JobchainError):
            request.act(now)
        now.death.at = None

        # when the request is made again, and the system is left to itself
        request.act(now)
        settle(now)

        # then
        where = f"{fate} at point {at} of {count}"
        if request.ended is None:
            assert now.items("JOB#") == [], where
        else:
            # (a job that a sweep could not fail gets another worker, which completes it here)
            either = (request.ended, Status.COMPLETED) if request.act is World.sweep else (request.ended,)
            assert now.job(the_job(now)).status in either, where
        assert set(now.answers(the_job(now)).values()) <= {1}, where
        assert_promises(now)
        assert_one_text(now, at_most=2 if name.startswith("post") else 1)


def assert_one_text(world: World, at_most: int) -> None:
    """A job has one text, and more only where a process crashed while it stored the job: they expire."""
    for event_id in world.markers:
        texts = [item for item in world.items(f"JOB#{event_id}") if item["sk"].startswith("INPUT")]
        assert len(texts) <= at_most
        assert not world.meta(event_id) or world.meta(event_id)["uid"] in {item["uid"] for item in texts}


@pytest.mark.parametrize("points", range(1, 7))
def test_a_job_that_is_posted_again_while_it_is_deleted_is_a_job_with_its_text(world: MakeWorld, points: int) -> None:
    # given a job that has failed, and the same request once more, which has come to a point
    now = world()
    post(now)
    now.model.faults = [DECLINED]
    worker(now).finish()
    again = now.start_request(lambda: post(now))
    again.go(points)

    # when the job is deleted meanwhile
    now.service.delete(CALLER, the_job(now))
    again.finish()
    settle(now)

    # then the request's job completes, or there is none
    with suppress(JobNotFound):
        assert now.job(the_job(now)).status is Status.COMPLETED
    assert_promises(now)


def test_a_deleted_job_leaves_no_text_of_requests_that_were_disturbed(world: MakeWorld) -> None:
    # given a job whose request came again, and crashed when it had stored the text
    now = world()
    post(now)
    now.model.faults = [DECLINED]
    worker(now).finish()
    again = now.start_request(lambda: post(now))
    again.go(2, "dies")
    now.clock.advance(timedelta(minutes=2))
    assert len([item for item in now.items("JOB#") if item["sk"].startswith("INPUT")]) == 2

    # when the job is deleted
    delete(now)

    # then nothing is left
    assert now.items("JOB#") == []
