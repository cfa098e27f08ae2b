"""How a worker keeps to the slots that its jobs are granted: near ones it waits for, later ones travel in messages."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue, QueueDepth, Slot
from jobchain.domain import NewJob, Status, Tier, WaitReason
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain.pace import Demand, Granted, Refused
from jobchain.rate_limits import RateLimits
from tests.conftest import make_admission_control, make_runner
from tests.fake_model.llm import SchemaLLM
from tests.fakes import FakeClock
from tests.stores import Stores
from tests.unit.test_long_texts import INVOCATION, LIMIT, TEXT, ReadingLLM

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

EVENT_ID = "0b6c2f4e-0000-4000-8000-000000000001"
SECOND = timedelta(seconds=1)


class ScriptedPace:
    """Answers requests for slots with these waits; a negative one is a refusal for as long."""

    def __init__(self, clock: FakeClock, *waits: timedelta, most: int = 1000) -> None:
        """At most `most` requests are granted at once."""
        self.clock = clock
        self.most = most
        self.waits = list(waits)
        self.asked: list[Demand] = []
        self.settled: list[tuple[Demand, Demand]] = []

    def reserve(
        self, demands: Sequence[Demand], _tenant: str, waiting: Callable[[], int] = lambda: 0
    ) -> Granted | Refused:
        self.asked.append(demands[0])
        wait = self.waits.pop(0)
        if wait < timedelta(0):
            waiting()
            return Refused(self.clock() - wait)
        return Granted(self.clock() + wait, Demand(min(demands[0].requests, self.most), demands[0].tokens))

    def reserve_at_once(self, _demands: Sequence[Demand], _tenant: str) -> Granted | None:
        """As where the pace has not been looked at for a while: each answer takes a request."""
        return None

    def learn_at_once(self, _asked: Demand, _limits: RateLimits) -> bool:
        return False

    def learn(self, _asked: Demand, _limits: RateLimits) -> None:
        """Nothing: what answers tell is not what is looked at here."""

    def settles_nothing(self, _granted: Demand, _asked: Demand, _used: Demand, _limits: RateLimits) -> bool:
        return False

    def settle(self, granted: Demand, asked: Demand, _used: Demand, _limits: RateLimits, _refused: bool) -> None:
        self.settled.append((granted, asked))


class RecordedQueue(JobQueue):
    """Notes the delay and the slot of each message. A delayed one can't be received."""

    sent: list[tuple[timedelta, Slot | None]]

    def send(
        self,
        event_id: str,
        tenant: str,
        delay: timedelta = timedelta(0),
        tier: Tier = Tier.STANDARD,
        slot: Slot | None = None,
    ) -> None:
        super().send(event_id, tenant, delay, tier, slot)
        self.sent.append((delay, slot))


class Stage:
    """One job, and a worker whose account has the scripted pace. Whatever sleeps moves the clock."""

    def __init__(self, stores: Stores, queue: RecordedQueue, clock: FakeClock, logger: Logger) -> None:
        self.stores, self.queue, self.clock, self.logger = stores, queue, clock, logger
        self.sent = queue.sent
        self.started = clock()
        self.begun: list[timedelta] = []
        self.pace = ScriptedPace(clock)
        self.pace_most = 1000
        self.llm: SchemaLLM = SchemaLLM(clock=clock)

    def worker(self, *waits: timedelta, llm: Any = None, **changes: Any) -> None:
        self.pace = ScriptedPace(self.clock, *waits, most=self.pace_most)
        llm = llm or self.llm
        paces = dict.fromkeys(Tier, cast(PaceStore, self.pace))
        control = make_admission_control(self.stores, self.queue, llm, self.logger, paces=lambda _: paces, **changes)
        self.runner = make_runner(self.stores, self.queue, llm, self.logger, control=control, **changes)
        self._note_begins(llm)

    def _note_begins(self, llm: Any) -> None:
        ask = llm.ask

        async def noted(request: ModelRequest) -> ModelAnswer:
            self.begun.append(self.clock() - self.started)
            answer: ModelAnswer = await ask(request)
            return answer

        llm.ask = noted

    def run(self, slot: Slot | None = None) -> Any:
        asyncio.run(self.runner.run(EVENT_ID, self.clock() + INVOCATION, slot))
        return self.stores.jobs.get("local", EVENT_ID)


@pytest.fixture
def stage(
    stores: Stores,
    sqs: "SQSClient",
    queue_url: str,
    clock: FakeClock,
    logger: Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock.advance(timedelta(seconds=seconds))
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    queue = RecordedQueue(sqs, queue_url)
    queue.sent = []
    return Stage(stores, queue, clock, logger)


def create(stage: Stage, text: str = "Passwords must be long.", **changes: Any) -> None:
    new = NewJob(EVENT_ID, "local", "guideline_checklist", {"guidelines": text}, fingerprint="f", **changes)
    stage.stores.admission.create(new, timedelta(days=30))


def test_a_slot_that_is_near_is_waited_for_once_the_job_is_claimed(stage: Stage) -> None:
    create(stage)
    stage.worker(1.5 * SECOND)

    assert stage.run().status is Status.COMPLETED
    assert stage.begun[0] == 1.5 * SECOND
    assert stage.begun == [1.5 * SECOND] * 3, "the later calls are part of the slot"
    assert len(stage.pace.asked) == 1


def test_a_later_slot_is_in_the_jobs_next_message_and_is_used_without_asking_again(stage: Stage) -> None:
    create(stage)
    stage.worker(15 * SECOND)

    assert stage.run().status is Status.PENDING
    assert not stage.begun
    assert stage.pace.settled == [], "nothing is given back: the job keeps its slot"
    slot = Slot(stage.started + 15 * SECOND, stage.pace.asked[0].requests, stage.pace.asked[0].tokens)
    assert stage.sent == [(15 * SECOND, slot)]

    stage.clock.advance(14 * SECOND)
    assert stage.run(slot).status is Status.COMPLETED
    assert stage.begun[0] == 15 * SECOND
    assert len(stage.pace.asked) == 1


def test_a_slot_whose_message_comes_too_late_is_lost_and_the_job_asks_again(stage: Stage) -> None:
    create(stage)
    stage.worker(timedelta(0))
    slot = Slot(stage.started, 3, 1000)

    stage.clock.advance(61 * SECOND)
    assert stage.run(slot).status is Status.COMPLETED
    assert len(stage.pace.asked) == 1


def test_a_job_that_is_refused_is_not_claimed_and_comes_back_when_it_was_told(stage: Stage) -> None:
    create(stage)
    stage.worker(-40 * SECOND)

    job = stage.run()

    assert (job.status, job.attempts) == (Status.PENDING, 0)
    assert stage.sent == [(40 * SECOND, None)]


def test_a_refused_job_waits_no_longer_than_the_queue_can_delay_its_message(stage: Stage) -> None:
    create(stage)
    # the limiter reads its clock a moment after the job was read
    stage.worker(-timedelta(minutes=15, milliseconds=20))

    stage.run()

    assert stage.sent == [(timedelta(minutes=15), None)], "without a message it could wait for hours"


class CountedQueue(RecordedQueue):
    """Counts how often it is asked how many messages it holds."""

    asked = 0

    def depth(self, tier: Tier | None = None) -> QueueDepth:
        self.asked += 1
        return super().depth(tier)


@pytest.mark.parametrize(("waits", "asked"), [((), 0), ((-5 * SECOND,), 1)], ids=["granted", "refused"])
def test_the_queue_is_asked_for_its_backlog_only_for_a_job_that_is_refused(
    stage: Stage, sqs: "SQSClient", queue_url: str, waits: tuple[timedelta, ...], asked: int
) -> None:
    stage.queue = CountedQueue(sqs, queue_url)
    stage.queue.sent = []
    create(stage)
    stage.worker(*waits or [timedelta(0)])

    stage.run()

    assert stage.queue.asked == asked


class TestSlotsOfFlexJobs:
    """A flex job is a standard one when its time for flex calls is over, and each tier has a pace of its own."""

    def test_are_no_slots_of_standard_calls(self, stage: Stage) -> None:
        create(stage, tier=Tier.FLEX, flex_for=30 * SECOND)
        stage.worker(20 * SECOND, timedelta(0))
        stage.run()
        [(_, slot)] = stage.sent
        assert slot
        assert slot.tier is Tier.FLEX

        stage.clock.advance(31 * SECOND)
        assert stage.run(slot).status is Status.COMPLETED

        assert len(stage.pace.asked) == 2, "it asks for one of the tier that it has now"

    def test_that_wait_beyond_that_time_go_to_the_standard_queue(
        self, stage: Stage, sqs: "SQSClient", queue_url: str
    ) -> None:
        tiers: list[Tier] = []

        class Noting(RecordedQueue):
            def send(
                self,
                event_id: str,
                tenant: str,
                delay: timedelta = timedelta(0),
                tier: Tier = Tier.STANDARD,
                slot: Slot | None = None,
            ) -> None:
                tiers.append(tier)
                super().send(event_id, tenant, delay, tier, slot)

        stage.queue = Noting(sqs, queue_url)
        stage.queue.sent = []
        create(stage, tier=Tier.FLEX, flex_for=30 * SECOND)
        stage.worker(-10 * SECOND, -40 * SECOND)

        stage.run()
        stage.run()

        assert tiers == [Tier.FLEX, Tier.STANDARD]


class TestLaterWavesOfALongText:
    """The number of its parts is not known when it is admitted, so later waves may need more than was granted."""

    def test_wait_in_the_worker_for_a_slot_that_is_near(self, stage: Stage) -> None:
        self._create(stage)
        stage.worker(*[timedelta(0)], *[SECOND] * 20, llm=ReadingLLM(), max_input_tokens=LIMIT)

        assert stage.run().status is Status.COMPLETED
        assert len(stage.pace.asked) > 1
        assert stage.clock() - stage.started == (len(stage.pace.asked) - 1) * SECOND

    def test_leave_the_worker_for_a_later_slot_and_use_it_when_they_come_back(self, stage: Stage) -> None:
        self._create(stage)
        stage.worker(timedelta(0), 100 * SECOND, llm=ReadingLLM(), max_input_tokens=LIMIT)

        job = stage.run()

        assert job.status is Status.PENDING
        assert job.waiting_for
        assert job.waiting_for.reason is WaitReason.RATE_LIMIT
        assert stage.clock() == stage.started, "no worker sleeps for it"
        [(delay, slot)] = stage.sent
        assert delay == 100 * SECOND
        assert slot
        assert slot.at == stage.started + 100 * SECOND
        granted, asked = stage.pace.settled[0]
        assert granted == stage.pace.asked[0], "the slot of the next run is not given back with what this one had"
        assert asked.requests <= granted.requests

    def test_come_back_without_a_slot_where_there_is_none(self, stage: Stage) -> None:
        self._create(stage)
        stage.worker(timedelta(0), -30 * SECOND, llm=ReadingLLM(), max_input_tokens=LIMIT)

        job = stage.run()

        assert job.waiting_for
        assert job.waiting_for.reason is WaitReason.RATE_LIMIT
        assert stage.sent == [(30 * SECOND, None)]

    def test_use_what_was_granted_before_they_ask_for_more(self, stage: Stage) -> None:
        self._create(stage)
        # an account of three requests a minute
        stage.pace_most = 3
        stage.worker(timedelta(0), *[60 * SECOND] * 100, llm=ReadingLLM(), max_input_tokens=LIMIT)

        job, runs = stage.run(), 1
        while job.status is Status.PENDING and runs < 20:
            begun = len(stage.begun)
            delay, slot = stage.sent[-1]
            stage.clock.advance(delay)
            job, runs = stage.run(slot), runs + 1
            assert len(stage.begun) > begun, "a run that makes no call is one of an endless row"

        assert job.status is Status.COMPLETED

    def _create(self, stage: Stage) -> None:
        create(stage, TEXT * 6)
