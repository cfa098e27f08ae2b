"""Anything can happen to jobs, in any order; the promises hold all the while, and in the end every job is final."""

import asyncio
import itertools
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import boto3
import hypothesis.strategies as st
import pytest
from aws_lambda_powertools import Logger
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from moto import mock_aws

from jobchain.domain import Job, Status
from jobchain.errors import JobIsFinal, JobIsNotFinal, JobNotFound, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, ModelAnswer
from jobchain.spending import Usage
from tests.conftest import TABLE, create_table
from tests.fake_model.answers import STEPS, outputs_of
from tests.faults.world import CALLER, INVOCATION, TENANT, Killed, World
from tests.properties import VARIABLE

FAULTS: dict[str, Exception | ModelAnswer] = {
    "busy": TransientModelError("the model's server answered 503"),
    "refused": PermanentModelError("model_refused", "declined"),
    "broken": AnswerText("gpt-6-luna", Usage(1, 0, 1, 0), "{}"),
}


class Jobs(RuleBasedStateMachine):
    """Callers, workers, sweepers, crashes and lost messages, in every order that Hypothesis thinks of."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.aws = mock_aws()
        self.aws.start()
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client)
        self.world = World(client, Logger(service="properties", level="CRITICAL"), itertools.count())
        self.deleted: set[str] = set()
        self.ended: dict[str, Status] = {}
        """How the jobs ended that were not retried since."""
        self.claims: Counter[str] = Counter()
        self.lost_in_flight: Counter[tuple[str, str]] = Counter()
        """Good answers that a worker which then died, or had lost its claim, could not store."""

    def teardown(self) -> None:
        try:
            self.world.model.faults, self.world.model.meanwhile = [], None
            self.world.queue.is_down = False
            self.world.settle()
            self.every_promise_holds()
        finally:
            self.aws.stop()

    # --- what can happen ------------------------------------------------------------------------

    @rule(target=ids)
    def create(self) -> str:
        return self.world.submit()

    @rule(death=st.integers(1, 6))
    def create_and_die(self, death: int) -> None:
        with self.dying(death), suppress(Killed):
            self.world.submit()

    @precondition(lambda self: self.world.queue.visible())
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.world.deliver(data.draw(st.sampled_from(self.world.queue.visible())))

    @precondition(lambda self: self.world.queue.visible())
    @rule(data=st.data(), death=st.integers(1, 26))
    def deliver_and_die(self, data: st.DataObject, death: int) -> None:
        message = data.draw(st.sampled_from(self.world.queue.visible()))
        before = self.world.model.answered.copy()
        with self.dying(death), suppress(Killed):
            self.world.deliver(message)
        self.count_lost(message.event_id, before)

    @precondition(lambda self: self.world.queue.visible())
    @rule(data=st.data(), fault=st.sampled_from(["none", *FAULTS]))
    def overtake(self, data: st.DataObject, fault: str) -> None:
        """A worker hangs in a call until its lease is over, and another one takes its job; then the call ends."""
        message = data.draw(st.sampled_from(self.world.queue.visible()))
        before = self.world.model.answered.copy()

        async def another_takes_it() -> None:
            self.world.clock.advance(INVOCATION + INVOCATION / 100)
            await self.world.runner.run(message.event_id, self.world.clock() + INVOCATION)
            self.world.model.faults = [FAULTS[fault]] if fault in FAULTS else []

        self.world.model.meanwhile = another_takes_it
        self.world.deliver(message)
        self.world.model.meanwhile = None
        self.count_lost(message.event_id, before)

    @precondition(lambda self: self.world.queue.messages)
    @rule(data=st.data())
    def double(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.world.queue.messages))
        self.world.queue.messages.append(replace(message))

    @precondition(lambda self: self.world.queue.messages)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.world.queue.messages.remove(data.draw(st.sampled_from(self.world.queue.messages)))

    @rule(fault=st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3))
    def model_fails(self, fault: str, times: int) -> None:
        self.world.model.faults = [FAULTS[fault]] * times

    @rule(is_down=st.booleans())
    def queue_goes_down_or_up(self, is_down: bool) -> None:
        self.world.queue.is_down = is_down

    @rule(event_id=ids)
    def cancel(self, event_id: str) -> None:
        with suppress(JobIsFinal, JobNotFound):
            self.world.service.cancel(CALLER, event_id)

    @precondition(lambda self: self.world.queue.visible())
    @rule(data=st.data())
    def cancel_meanwhile(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.world.queue.visible()))

        async def cancel() -> None:
            with suppress(JobIsFinal, JobNotFound):
                await asyncio.to_thread(self.world.stores.jobs.cancel, TENANT, message.event_id)

        self.world.model.meanwhile = cancel
        self.world.deliver(message)
        self.world.model.meanwhile = None

    @rule(event_id=ids)
    def retry(self, event_id: str) -> None:
        with suppress(JobIsFinal, JobIsNotFinal, JobNotFound):
            self.world.service.retry(CALLER, event_id)
            self.ended.pop(event_id)

    @rule(event_id=consumes(ids))
    def delete(self, event_id: str) -> None:
        with suppress(JobIsNotFinal, JobNotFound):
            self.world.service.delete(CALLER, event_id)
            self.deleted.add(event_id)

    @rule(by=st.sampled_from([INVOCATION / 10, INVOCATION / 2, INVOCATION, 4 * INVOCATION]))
    def time_passes(self, by: object) -> None:
        self.world.clock.advance(by)  # type: ignore[arg-type]  # a timedelta

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    @rule(death=st.integers(1, 12))
    def sweep_and_die(self, death: int) -> None:
        with self.dying(death), suppress(Killed):
            self.world.sweep()

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self) -> None:
        due = self.due()
        for event_id, marker in self.world.markers.items():
            if event_id in self.deleted:
                assert not self.exists(event_id), "a deleted job stays deleted"
                assert event_id not in due
                continue
            job = self.world.job(event_id)
            self.stands_in_the_index_until_it_is_final(job, due)
            self.ends_once(job)
            self.was_charged_once(job, marker)
            self.is_right(job, marker)
            assert job.attempts >= self.claims[event_id], "a claim's number never shrinks"
            self.claims[event_id] = job.attempts

    def stands_in_the_index_until_it_is_final(self, job: Job, due: set[str]) -> None:
        assert (job.event_id in due) is not job.status.final

    def ends_once(self, job: Job) -> None:
        if job.status.final:
            assert self.ended.setdefault(job.event_id, job.status) is job.status, "a worker wrote after its claim"
        else:
            assert job.event_id not in self.ended, "a final job came back to life"

    def was_charged_once(self, job: Job, marker: str) -> None:
        for step in STEPS:
            once = 1 + self.lost_in_flight[marker, step]
            assert self.world.model.answered[marker, step] <= once, f"{step} was charged twice"

    def is_right(self, job: Job, marker: str) -> None:
        expected = outputs_of(marker)
        assert all(step.output == expected[step.name] for step in job.steps)
        assert (job.error is not None) is (job.status is Status.FAILED)
        if job.status is Status.COMPLETED:
            assert [step.name for step in job.steps] == list(expected)

    # --- how it is done -------------------------------------------------------------------------

    def due(self) -> set[str]:
        found = boto3.client("dynamodb", region_name="us-east-1").scan(TableName=TABLE, IndexName="due")["Items"]
        return {item["pk"]["S"].removeprefix("JOB#") for item in found}

    def exists(self, event_id: str) -> bool:
        try:
            return bool(self.world.job(event_id))
        except JobNotFound:
            return False

    def count_lost(self, event_id: str, before: Counter[tuple[str, str]]) -> None:
        """Counts the answers since `before` that did not come to be stored."""
        marker = self.world.markers.get(event_id, "")
        stored = {step.name for step in self.world.job(event_id).steps} if self.exists(event_id) else set()
        for (whose, step), times in (self.world.model.answered - before).items():
            if whose == marker:
                self.lost_in_flight[whose, step] += times - (step in stored and not before[whose, step])

    def dying(self, at: int) -> "_Dying":
        return _Dying(self.world, at)


class _Dying:
    def __init__(self, world: World, at: int) -> None:
        self._death = world.death
        self._at = at

    def __enter__(self) -> None:
        self._death.passed, self._death.at = 0, self._at

    def __exit__(self, *_: object) -> None:
        self._death.at = None


TestJobs = pytest.mark.deeper(pytest.mark.timeout(600)(Jobs.TestCase))
# A run takes as long as a few hundred examples of anything else.
TestJobs.settings = settings(
    max_examples=max(8, settings().max_examples // 100) if VARIABLE in os.environ else 8,
    stateful_step_count=25,
    # Shrinking takes minutes, and 25 steps are few enough to read.
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
