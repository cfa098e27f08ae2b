"""A whole system in one process, on moto's table, in which time stands still and any call can be the last.

The worker's, the api's and the sweeper's own code runs in it. Only the queue is simulated: moto's keeps real time.
"""

import asyncio
import itertools
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS, DEFAULT_CHAIN
from jobchain.domain import Job, Tier
from jobchain.errors import JobchainError, JobNotFound, Unavailable
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain.spending import Usage
from jobchain_api.auth import LOCAL_TENANT, Caller
from jobchain_api.requests import CreateJob
from jobchain_api.service import JobService
from jobchain_sweeper.sweeper import Sweeper
from tests.conftest import TABLE, make_runner
from tests.fake_model.answers import STEP_OF_SCHEMA, content
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TENANT = LOCAL_TENANT
CALLER = Caller(TENANT)
INVOCATION = timedelta(minutes=5)
CALL_TIME = timedelta(seconds=80)

# The calls that can be the last that a process makes.
_CALLS_OF_THE_TABLE = {
    "admission": ("create_many",),
    "jobs": ("cancel", "retry", "delete", "get"),
    "claims": ("claim", "save_step", "finish", "fail", "end_cancelled", "release"),
    "due": ("mark_due", "due_jobs", "postpone", "fail_stalled"),
}


# Worlds may share a table, and then see each other's jobs.
_NUMBERS = itertools.count()


class Killed(BaseException):
    """The process ends here, as by kill -9: no handler of the code under test may catch it."""


class Death:
    """Kills at the `at`th point from now on; there is a point before and one after every call to the outside."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.passed = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Killed

    def comes_to(self, thing: object, names: Sequence[str]) -> None:
        for name in names:
            setattr(thing, name, self._mortal(getattr(thing, name)))

    def _mortal(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.point()
            result = call(*args, **kwargs)
            self.point()
            return result

        return called


@dataclass
class Message:
    """A message of the simulated queue."""

    event_id: str
    visible_at: datetime


class SimulatedQueue(JobQueue):
    """Keeps each message until a worker is done with it, by the fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.messages: list[Message] = []
        self.is_down = False
        self._clock = clock

    def send(self, event_id: str, tenant: str, delay: timedelta = timedelta(0), tier: Tier = Tier.STANDARD) -> None:
        if self.is_down:
            raise Unavailable("the queue does not take the job")
        self.messages.append(Message(event_id, self._clock() + delay))

    def send_batch(self, jobs: Sequence[tuple[str, str]], tier: Tier = Tier.STANDARD) -> list[str]:
        if self.is_down:
            return [event_id for event_id, _ in jobs]
        for event_id, tenant in jobs:
            self.send(event_id, tenant)
        return []

    def visible(self) -> list[Message]:
        return [message for message in self.messages if message.visible_at <= self._clock()]


class Model:
    """Answers each step out of its job's marker (`job-7`), and keeps books of the good answers that it gave."""

    model = "gpt-6-luna"
    max_output_tokens = 500

    def __init__(self, death: Death) -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        """Good answers by marker and step."""
        self.faults: list[Exception | ModelAnswer] = []
        """What the next calls get instead."""
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        """What happens, once, while a call is in flight."""
        self._death = death

    async def count_tokens(self, text: str) -> int | None:
        return None

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        self._death.point()
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        found = re.search(r"job-\d+", request.input)
        assert found, "each input tells which job it belongs to"
        marker = found[0]
        step = STEP_OF_SCHEMA[request.answer.__name__]
        self.answered[marker, step] += 1
        self._death.point()
        return AnswerText("gpt-6-luna", Usage(100, 0, 20, 0), content(step, marker))


class World:
    """The system, and what can happen to it."""

    def __init__(self, dynamodb: "DynamoDBClient", logger: Logger, numbers: Iterator[int] = _NUMBERS) -> None:
        self._numbers = numbers
        self.clock = FakeClock()
        self.death = Death()
        self.queue = SimulatedQueue(self.clock)
        self.model = Model(self.death)
        self.markers: dict[str, str] = {}
        """The marker of each job that was accepted, by its id."""
        self.stores = Stores(dynamodb, TABLE, self.clock)
        mortal = Stores(dynamodb, TABLE, self.clock)
        for store, calls in _CALLS_OF_THE_TABLE.items():
            self.death.comes_to(getattr(mortal, store), calls)
        self.death.comes_to(self.queue, ("send", "send_batch"))
        self.service = JobService(
            chains=CHAINS,
            default_chain=DEFAULT_CHAIN,
            admission=mortal.admission,
            jobs=mortal.jobs,
            due=mortal.due,
            usage=mortal.usage,
            model_checks=mortal.model_checks,
            queue=self.queue,
            dead_letters=self.queue,
            retention=timedelta(days=30),
            clock=self.clock,
            logger=logger,
        )
        # One thread, as moto bears no more, and so that a death comes to the same job each time.
        self.sweeper = Sweeper(
            due=mortal.due, queue=self.queue, clock=self.clock, logger=logger, threads=1, page_size=5, most=1000
        )
        self.runner = make_runner(mortal, self.queue, self.model, logger, call_time=CALL_TIME)
        random.seed(0)

    def submit(self, key: str | None = None, marker: str | None = None) -> str:
        """A caller posts a job; gives its id."""
        marker = marker or f"job-{next(self._numbers)}"
        submission = self.service.submit(CALLER, CreateJob(input_text=f"{marker} must be done."), key or marker)
        self.markers[submission.job.event_id] = marker
        return submission.job.event_id

    def job(self, event_id: str) -> Job:
        return self.stores.jobs.get(TENANT, event_id)

    async def work(self, message: Message) -> None:
        """A worker takes a message; it stays in the queue where its consumer would report the record as failed."""
        message.visible_at = self.clock() + 6 * INVOCATION
        try:
            await self.runner.run(message.event_id, self.clock() + INVOCATION)
        except JobNotFound:
            pass
        except JobchainError:
            return
        self.queue.messages.remove(message)

    def deliver(self, message: Message) -> None:
        asyncio.run(self.work(message))

    def answers(self, event_id: str) -> dict[str, int]:
        """How often the model answered each step of the job."""
        marker = self.markers[event_id]
        return {step: times for (whose, step), times in self.model.answered.items() if whose == marker}

    def sweep(self) -> None:
        self.sweeper.sweep(self.clock() + timedelta(minutes=1))

    def settle(self, limit: timedelta = timedelta(days=2)) -> None:
        """Lets time pass, with no help but the sweeper's, until every job is final. Raises AssertionError."""
        self.death.at = None
        deadline = self.clock() + limit
        while unfinished := [event_id for event_id in self.markers if not self._is_final(event_id)]:
            assert self.clock() < deadline, f"{len(unfinished)} jobs never end"
            for message in self.queue.visible():
                self.deliver(message)
            self.clock.advance(timedelta(seconds=20))
            self.sweep()

    def _is_final(self, event_id: str) -> bool:
        try:
            return self.job(event_id).status.final
        except JobNotFound:
            return True
