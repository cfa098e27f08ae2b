"""Anything can happen to jobs, in any order; the promises hold all the while, and in the end every job is final."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import boto3
import hypothesis.strategies as st
import pytest
from aws_lambda_powertools import Logger
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from moto import mock_aws

from jobchain.aws.attributes import Item
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain.domain import FinishedStep, Job, Status
from jobchain.errors import CallReport, JobchainError, PermanentModelError, TransientModelError
from jobchain.limits import NO_LIMITS, Limits
from jobchain.llm import AnswerText, ModelAnswer
from jobchain.spending import Usage
from tests.conftest import botocore_session, create_table
from tests.faults.world import CALLER, INVOCATION, Fate, JobKey, Killed, Message, Process, World
from tests.properties import VARIABLE

FAULTS: dict[str, Exception | ModelAnswer] = {
    "busy": TransientModelError("the model's server answered 503"),
    "timeout": TransientModelError("no answer", type_="timeout", report=CallReport(maybe_billed=True)),
    "refused": PermanentModelError("model_refused", "declined"),
    "broken": AnswerText("gpt-6-luna", Usage(1, 0, 1, 0), "{}"),
    "bug": RuntimeError("a fault of the adapter"),
}
MAX_WORKERS = 3
A_WAVE = 3
"""The calls that a worker can begin before it finds that it has lost its job: an answer that does not fit twice."""

fates = st.sampled_from(["dies", "loses"])


class Jobs(RuleBasedStateMachine):
    """Callers, workers, sweepers, crashes, lost messages and answers, in every order that Hypothesis thinks of."""

    ids = Bundle("ids")
    chains: Mapping[str, Chain] = CHAINS

    def __init__(self) -> None:
        super().__init__()
        self.aws = mock_aws()
        self.aws.start()
        boto3.setup_default_session(botocore_session=botocore_session())
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client)
        logger = Logger(service="properties", level="CRITICAL")
        self.world = World(client, logger, itertools.count(), self.chains)
        self.uids: dict[str, str] = {}
        """The uid of each job when it was looked at."""
        self.deleted: set[JobKey] = set()
        self.may_be_deleted: set[str] = set()
        self.ended: dict[JobKey, Status] = {}
        """How the jobs ended that were not retried since."""
        self.claims: Counter[JobKey] = Counter()
        self.shown: dict[JobKey, dict[str, FinishedStep]] = {}
        """The steps of each job that a caller has seen."""
        self.checked: dict[str, list[Item]] = {}
        """The items of each job when it was looked at."""
        self.budgets: dict[str, float | None] = {}
        self.orphans = 0
        """The texts that a disturbed request may have left."""

    def teardown(self) -> None:
        try:
            self.world.model.faults, self.world.queue.is_down = [], False
            for process in self.world.processes:
                process.finish()
            self.world.settle()
            self.every_promise_holds()
            for job in self.world.added:
                self.world.assert_exact(job)
        finally:
            for process in self.world.processes:
                process.kill()
            self.aws.stop()

    # --- what callers do ------------------------------------------------------------------------

    @rule(target=ids, budget=st.sampled_from([None, None, None, 0.001]), daily=st.sampled_from([0, 0, 400]))
    def create(self, budget: float | None, daily: int) -> str:
        number = next(self.world._numbers)
        limits = Limits(tokens_per_day=self.world.used_today() + daily) if daily else NO_LIMITS
        self.budgets[f"job-{number}"] = budget
        return self.world.submit(f"key-{number}", f"job-{number}", limits, max_cost_usd=budget)

    @rule(at=st.integers(1, 8), fate=fates)
    def create_disturbed(self, at: int, fate: Fate) -> None:
        self.orphans += 1
        number = next(self.world._numbers)
        with self.disturbed(at, fate):
            self.world.submit(f"key-{number}", f"job-{number}")

    @rule(event_id=ids)
    def create_again(self, event_id: str) -> None:
        """The same request comes once more: a replay, or a new job where the first one was deleted."""
        assert self.post_again(event_id) == event_id

    @rule(event_id=ids, at=st.integers(0, 10), fate=fates)
    def cancel(self, event_id: str, at: int, fate: Fate) -> None:
        with self.disturbed(at, fate):
            self.world.service.cancel(CALLER, event_id)

    @rule(event_id=ids)
    def retry(self, event_id: str) -> None:
        with suppress(JobchainError):
            self.world.service.retry(CALLER, event_id)
            # A job that waits for its next try has not ended.
            self.ended.pop((event_id, self.uids[event_id]), None)

    @rule(event_id=ids)
    def delete(self, event_id: str) -> None:
        with suppress(JobchainError):
            self.may_be_deleted.add(event_id)
            self.world.service.delete(CALLER, event_id)
            assert not self.world.meta(event_id)

    @precondition(lambda self: len(self.running()) < MAX_WORKERS)
    @rule(event_id=ids, what=st.sampled_from(["create", "cancel", "delete"]), points=st.integers(1, 6))
    def ask(self, event_id: str, what: str, points: int) -> None:
        """A caller's request that is not answered yet."""
        acts: dict[str, Callable[[], object]] = {
            "create": lambda: self.post_again(event_id),
            "cancel": lambda: self.world.service.cancel(CALLER, event_id),
            "delete": lambda: self.world.service.delete(CALLER, event_id),
        }
        if what == "delete":
            self.may_be_deleted.add(event_id)
        self.orphans += what == "create"
        self.world.start_request(acts[what]).go(points)

    # --- what workers do --------------------------------------------------------------------------

    @precondition(lambda self: self.world.queue.visible())
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.world.start(self.message(data)).finish()

    @precondition(lambda self: self.world.queue.visible())
    @rule(data=st.data(), at=st.integers(1, 30), fate=fates)
    def deliver_disturbed(self, data: st.DataObject, at: int, fate: Fate) -> None:
        process = self.world.start(self.message(data))
        process.go(at, fate)
        process.finish()

    @precondition(lambda self: self.world.queue.visible() and len(self.running()) < MAX_WORKERS)
    @rule(data=st.data(), points=st.integers(1, 24))
    def start(self, data: st.DataObject, points: int) -> None:
        self.world.start(self.message(data)).go(points)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), points=st.integers(1, 12), fate=st.sampled_from(["goes on", "goes on", "loses", "dies"]))
    def go_on(self, data: st.DataObject, points: int, fate: Fate) -> None:
        data.draw(st.sampled_from(self.running())).go(points, fate)

    @precondition(lambda self: self.workers())
    @rule(data=st.data())
    def overtake(self, data: st.DataObject) -> None:
        """The lease of a worker ends where it is, and another one takes its job."""
        message = data.draw(st.sampled_from(self.workers()))
        self.world.clock.advance(INVOCATION + timedelta(seconds=1))
        other = self.world.start(replace(message))
        other.go(data.draw(st.integers(1, 30)))

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.running())).finish()

    # --- what happens to them ---------------------------------------------------------------------

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

    @rule(by=st.sampled_from([INVOCATION / 10, INVOCATION / 2, INVOCATION, 4 * INVOCATION]))
    def time_passes(self, by: timedelta) -> None:
        self.world.clock.advance(by)

    @rule(at=st.sampled_from([0, 0, *range(17, 30)]), fate=fates)
    def sweep(self, at: int, fate: Fate) -> None:
        with self.disturbed(at, fate):
            self.world.sweep()

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self) -> None:
        due = self.due()
        items = {event_id: self.world.items(f"JOB#{event_id}") for event_id in self.world.markers}
        for event_id in self.world.markers:
            if self.is_deleted(event_id):
                continue
            if items[event_id] == self.checked.get(event_id):
                continue
            job = self.world.job(event_id)
            self.stands_in_the_index_until_it_is_final(job, due)
            self.ends_once(job)
            self.keeps_what_was_shown(job)
            self.world.assert_shown_right(event_id)
            assert (job.error is not None) is (job.status is Status.FAILED)
            if job.status is Status.COMPLETED:
                wanted = [step.name for step in self.chains["guideline_checklist"].steps]
                assert [step.name for step in job.steps] == wanted
            key = event_id, self.uids[event_id]
            assert job.attempts >= self.claims[key], "a claim's number never shrinks"
            self.claims[key] = job.attempts
        self.checked = items
        self.world.assert_sums_agree()
        self.has_a_text()
        assert all(process.late_calls <= A_WAVE for process in self.world.processes)

    def is_deleted(self, event_id: str) -> bool:
        meta = self.world.meta(event_id)
        if meta:
            self.uids[event_id] = meta["uid"]
            assert (event_id, meta["uid"]) not in self.deleted, "a deleted job stays deleted"
            return False
        assert event_id in self.may_be_deleted
        job = event_id, self.uids[event_id]
        self.deleted.add(job)
        for process in self.running():
            process.erased |= bool(process.claim and process.claim[0] == job)
        return True

    def stands_in_the_index_until_it_is_final(self, job: Job, due: set[str]) -> None:
        assert (job.event_id in due) is not job.status.final

    def ends_once(self, job: Job) -> None:
        key = job.event_id, self.uids[job.event_id]
        if job.status.final:
            assert self.ended.setdefault(key, job.status) is job.status, "a worker wrote after its claim"
        else:
            assert key not in self.ended, "a final job came back to life"

    def keeps_what_was_shown(self, job: Job) -> None:
        shown = {step.name: step for step in job.steps}
        before = self.shown.setdefault((job.event_id, self.uids[job.event_id]), {})
        assert shown.items() >= before.items(), "a step that a caller has seen is another one now"
        before.update(shown)

    def has_a_text(self) -> None:
        """Every job has its text; there are others only of requests that were disturbed while they stored a job."""
        items = self.world.items("JOB#")
        needed = {(item["pk"], item["uid"]) for item in items if item["sk"] == "META"}
        texts = {(item["pk"], item["uid"]) for item in items if item["sk"].startswith("INPUT")}
        assert needed <= texts
        assert len(texts - needed) <= self.orphans

    # --- how it is done -------------------------------------------------------------------------

    def message(self, data: st.DataObject) -> Message:
        found: Message = data.draw(st.sampled_from(self.world.queue.visible()))
        return found

    def running(self) -> list[Process]:
        return [process for process in self.world.processes if not process.ended]

    def workers(self) -> list[Message]:
        """The messages of the workers that run."""
        return [process.message for process in self.running() if process.message]

    def post_again(self, event_id: str) -> str:
        marker = self.world.markers[event_id]
        return self.world.submit(marker.replace("job", "key"), marker, max_cost_usd=self.budgets[marker])

    def due(self) -> set[str]:
        """The ids of the jobs that the index `due` holds."""
        found = self.world.items("JOB#")
        return {item["pk"].removeprefix("JOB#") for item in found if "due_shard" in item and "due_at" in item}

    def disturbed(self, at: int, fate: Fate) -> "_Disturbed":
        return _Disturbed(self.world, at, fate)


class _Disturbed(suppress):
    """Within, what the caller or the sweeper does meets `fate` at a point; 0 for no point."""

    def __init__(self, world: World, at: int, fate: Fate) -> None:
        super().__init__(Killed, JobchainError)
        self._death = world.death
        self._death.passed, self._death.at, self._death.fate = 0, at, fate

    def __exit__(self, *exception: object) -> bool:
        self._death.at = None
        return bool(super().__exit__(*exception))  # type: ignore[arg-type]


TestJobs = pytest.mark.deeper(pytest.mark.timeout(600)(Jobs.TestCase))
# A run takes as long as a few hundred examples of anything else.
TestJobs.settings = settings(
    max_examples=max(8, settings().max_examples // 100) if VARIABLE in os.environ else 8,
    stateful_step_count=25,
    # Shrinking takes minutes, and 25 steps are few enough to read.
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
