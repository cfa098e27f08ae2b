"""A whole system in one process, on moto's table, in which time stands still and any call can be the last.

The worker's, the api's and the sweeper's own code runs in it. Only the queue is simulated: moto's keeps real time.
Every request to the table, every message and every call of the model has a point before and a point after it, at which
the process can be killed, or an answer lost. A worker can also be stopped there, while others go on: `Process`.
"""

import asyncio
import contextvars
import itertools
import json
import random
import re
import selectors
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import boto3
from aws_lambda_powertools import Logger
from botocore.exceptions import ReadTimeoutError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from jobchain.aws.attributes import Item, from_item
from jobchain.aws.items import spending_of
from jobchain.aws.queue import JobQueue, QueueDepth, Slot
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain.domain import Job, Tier
from jobchain.errors import (
    CallReport,
    JobchainError,
    JobNotFound,
    ModelError,
    MustRunAlone,
    TransientModelError,
    Unavailable,
)
from jobchain.limits import NO_LIMITS, Limits
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain.spending import NOTHING_SPENT, Spending, Usage, summed
from jobchain_api.auth import LOCAL_TENANT, Caller
from jobchain_api.job_factory import new_event_id
from jobchain_api.requests import CreateJob
from jobchain_api.service import JobService
from jobchain_sweeper.sweeper import Sweeper
from jobchain_worker.runner import Runner
from tests.conftest import TABLE, make_runner
from tests.fake_model.answers import STEP_OF_SCHEMA, content, outputs_of
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TENANT = LOCAL_TENANT
CALLER = Caller(TENANT)
INVOCATION = timedelta(minutes=5)
CALL_TIME = timedelta(seconds=80)

# Worlds may share a table, and then see each other's jobs.
_NUMBERS = itertools.count()

Fate = Literal["goes on", "dies", "loses"]
"""What happens at a point: nothing, the process is killed, or an answer is lost."""

JobKey = tuple[str, str]
"""A job's id and uid."""


class Killed(BaseException):
    """The process ends here, as by kill -9: no handler of the code under test may catch it."""


class Points:
    """The points of a process: at the `at`th from now on it meets its fate."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.fate: Fate = "dies"
        self.passed = 0
        self.disturbed = False
        """Whether it was killed, or an answer was lost."""
        self.uncounted = NOTHING_SPENT
        """What it added to the usage records, less what it counted as metrics."""

    def point(self, loss: Callable[[], Exception]) -> None:
        """Raises Killed, or `loss` for an answer that is lost."""
        self.passed += 1
        if self.passed == self.at:
            self.meet(self.fate, loss)

    def meet(self, fate: Fate, loss: Callable[[], Exception]) -> None:
        if fate == "goes on":
            return
        self.disturbed = True
        if fate == "dies":
            raise Killed
        raise loss()


class Process(Points):
    """Runs in a thread of its own, and stops at each point until it may go on: a worker, or a request to the API."""

    def __init__(self, act: Callable[[], object], message: "Message | None" = None) -> None:
        """`message` is that of a worker."""
        super().__init__()
        self.message = message
        self.event_id = message.event_id if message else ""
        self.ended = False
        self.killed = False
        self.claim: tuple[JobKey, int] | None = None
        self.learned: list[Spending] = []
        """What its calls used whose answers it got, an unbilled failure included."""
        self.begun = 0
        """Its calls."""
        self.maybe_billed = 0
        """Its calls whose answers were lost."""
        self.stored: list[Spending] = []
        """The spending of the records that it stored."""
        self.frozen: int | None = None
        """How many records it had stored when somebody else settled its claim."""
        self.contended = False
        """Whether it stored a record while others had begun to claim or cancel its job."""
        self.late_calls = 0
        """The calls that it began when it had lost its claim already."""
        self.settled_later = 0
        """How often later claims were settled by others since."""
        self.disturbed_late = False
        """Whether it was disturbed when it had lost its claim."""
        self.erased = False
        """Whether its job was deleted before it ended."""
        self.ended_itself = False
        """Whether it settled its own claim."""
        self.error: BaseException | None = None
        self._fate: Fate = "goes on"
        self._serial = threading.RLock()
        self._arrived, self._may_go = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()
        self._arrived.acquire()

    def _run(self, act: Callable[[], object]) -> None:
        CURRENT.set(self)
        try:
            act()
        except (Killed, JobchainError):
            pass
        except BaseException as error:  # noqa: BLE001  # told by the one that goes on with it
            self.error = error
        finally:
            self.ended = True
            self._arrived.release()

    def point(self, loss: Callable[[], Exception]) -> None:
        with self._serial:
            if self.killed:
                raise Killed
            self.passed += 1
            self._arrived.release()
            self._may_go.acquire()
            fate, self._fate = self._fate, "goes on"
            self.killed = fate == "dies"
            if fate != "goes on" and self.frozen is not None:
                self.disturbed_late = True
            self.meet(fate, loss)

    def go(self, points: int, fate: Fate = "goes on") -> None:
        """Lets it pass this many points; at the last it meets `fate`."""
        for number in range(points):
            if self.ended:
                break
            self._fate = fate if number == points - 1 else "goes on"
            self._may_go.release()
            self._arrived.acquire()
        if self.error:
            raise self.error

    def finish(self) -> None:
        """Lets it go on until it ends."""
        while not self.ended:
            self.go(1)

    @property
    def may_be_estimated(self) -> bool:
        """Whether the estimate of a call that was in flight may stay, as nothing better was reported."""
        return self.frozen is not None and self.recorded() != [self.learned]

    def kill(self) -> None:
        """Ends it."""
        if not self.ended:
            with suppress(BaseException):
                self.go(1, "dies")
                self.finish()

    def recorded(self) -> list[list[Spending]]:
        """What can be in the usage records of its calls, but for estimates, once it has ended: one of these."""
        stored = self.stored[: self.frozen]
        # The one that settled its claim may have read its records a moment before.
        earlier = stored[:-1] if self.contended else stored
        if self.ended_itself:
            return [self.learned]
        if self.frozen is None:  # it made no call, or ended by an error
            return [self.learned, stored] if not self.learned or self.disturbed else [stored]
        if self.killed and not self.disturbed_late:
            return [stored, earlier]
        excused = self.disturbed or self.erased or self.settled_later >= 3
        return [self.learned, stored, earlier] if excused else [self.learned]


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
"""The worker that runs, where it is one that can be stopped."""


def _table_silent() -> Exception:
    return ReadTimeoutError(endpoint_url="the table")


def _queue_silent() -> Exception:
    return Unavailable("the queue does not answer")


class _Selector(selectors.DefaultSelector):
    """Waits for no timer: the clock moves instead."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if not timeout or timeout < 0:
            return super().select(timeout)
        found = super().select(0)
        if not found:
            self.skipped += timeout
            self._clock.advance(timedelta(seconds=timeout))
        return found


class _Loop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time."""

    def __init__(self, clock: FakeClock) -> None:
        self._skipping = _Selector(clock)
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped


@dataclass
class Message:
    """A message of the simulated queue."""

    event_id: str
    visible_at: datetime


class SimulatedQueue(JobQueue):
    """Keeps each message until a worker is done with it, by the fake clock."""

    def __init__(self, world: "World") -> None:
        self.messages: list[Message] = []
        self.is_down = False
        self._world = world
        self._clock = world.clock

    def send(
        self,
        event_id: str,
        tenant: str,
        delay: timedelta = timedelta(0),
        tier: Tier = Tier.STANDARD,
        slot: Slot | None = None,
    ) -> None:
        self._point()
        if self.is_down:
            raise Unavailable("the queue does not take the job")
        self.messages.append(Message(event_id, self._clock() + delay))
        self._point()

    def send_batch(self, jobs: Sequence[tuple[str, str]], tier: Tier = Tier.STANDARD) -> list[str]:
        try:
            self._point()
            if not self.is_down:
                self.messages += [Message(event_id, self._clock()) for event_id, _ in jobs]
            self._point()
        except Unavailable:
            return [event_id for event_id, _ in jobs]
        return [event_id for event_id, _ in jobs] if self.is_down else []

    def depth(self, tier: Tier | None = None) -> QueueDepth:
        visible = len(self.visible())
        return QueueDepth(waiting=visible, in_flight=0, delayed=len(self.messages) - visible)

    def _point(self) -> None:
        self._world.point(_queue_silent, CURRENT.get())

    def visible(self) -> list[Message]:
        return [message for message in self.messages if message.visible_at <= self._clock()]


class Model:
    """Answers each step out of its job's marker (`job-7`), each time differently: with the call's number."""

    model = "gpt-6-luna"
    max_output_tokens = 1000

    def __init__(self, world: "World") -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        """Good answers by marker and step."""
        self.saw: dict[int, set[int]] = {}
        """By the number of each good answer, the numbers of the answers in its request."""
        self.faults: list[Exception | ModelAnswer] = []
        """What the next calls get instead."""
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        """What happens, once, while a call is in flight."""
        self.calls = 0
        self._world = world

    async def count_tokens(self, text: str) -> int | None:
        return None

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        found = re.search(r"job-\d+", request.input)
        assert found, "each input tells which job it belongs to"
        marker, step = found[0], STEP_OF_SCHEMA[request.answer.__name__]
        process = CURRENT.get()
        unreachable = TransientModelError("the model's server is unreachable", type_="unreachable")
        self._point(unreachable, process)
        self._world.begins(step, marker, process)
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        self.calls += 1
        answer = self.faults.pop(0) if self.faults else self._good(step, marker, request)
        lost = TransientModelError("the connection was lost", type_="connection_lost", report=CallReport(True))
        self._point(lost, process)
        self._learn(process, answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _point(self, loss: TransientModelError, process: Process | None) -> None:
        try:
            self._world.point(lambda: loss, process)
        except TransientModelError:
            self._learn(process, loss)
            raise

    def _good(self, step: str, marker: str, request: ModelRequest) -> ModelAnswer:
        self.answered[marker, step] += 1
        self.saw[self.calls] = {int(number) for number in re.findall(r"job-\d+-v(\d+)", request.input)}
        return AnswerText(self.model, Usage(100 + self.calls, 0, 20, 0), content(step, f"{marker}-v{self.calls}"))

    @staticmethod
    def _learn(process: Process | None, answer: Exception | ModelAnswer) -> None:
        if process is None:
            return
        told = isinstance(answer, ModelError) and not answer.report.maybe_billed
        if isinstance(answer, Exception) and not told:
            process.maybe_billed += 1
            return
        usage = None if isinstance(answer, Exception) else answer.usage
        process.learned.append(Spending(usage or Usage(), calls=1))


def version_of(output: object) -> int:
    """The number of the call whose answer became this output."""
    found = re.search(r"job-\d+-v(\d+)", json.dumps(output))
    assert found, "each output tells the call that it comes from"
    return int(found[1])


class World:
    """The system, and what can happen to it."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        logger: Logger,
        numbers: Iterator[int] = _NUMBERS,
        chains: Mapping[str, Chain] = CHAINS,
    ) -> None:
        self._numbers = numbers
        self._chains = chains
        self.clock = FakeClock()
        self.death = Points()
        self.queue = SimulatedQueue(self)
        self.model = Model(self)
        self.markers: dict[str, str] = {}
        """The marker of each job that was accepted, by its id."""
        self.counted: dict[str, Spending] = {}
        """What the metrics have counted, by model."""
        self.added: dict[JobKey, Spending] = {}
        """What was added to the daily usage, by job."""
        self.processes: list[Process] = []
        """All workers that can be stopped, those too that have ended."""
        self.stores = Stores(dynamodb, TABLE, self.clock)
        self._mortal_client = self._mortal(boto3.client("dynamodb", region_name="us-east-1"))
        mortal = Stores(self._mortal_client, TABLE, self.clock)
        self.service = JobService(
            chains=chains,
            default_chain=CHAINS.default,
            admission=mortal.admission,
            jobs=mortal.jobs,
            decisions=mortal.decisions,
            due=mortal.due,
            usage=mortal.usage,
            health=mortal.health(self.queue),
            queue=self.queue,
            dead_letters=self.queue,
            retention=timedelta(days=30),
            clock=self.clock,
            logger=logger,
            meter=self._count,
            outcome_meter=lambda _: None,
        )
        # One thread, as moto bears no more, and so that a death comes to the same job each time.
        self.sweeper = Sweeper(
            due=mortal.due,
            queue=self.queue,
            clock=self.clock,
            logger=logger,
            meter=self._count,
            outcome_meter=lambda _: None,
            threads=1,
            page_size=5,
            most=1000,
        )
        self._logger = logger
        random.seed(0)

    # --- points ----------------------------------------------------------------------------------

    def _mortal(self, client: "DynamoDBClient") -> "DynamoDBClient":
        """A client that has a point before and after each request."""
        make: Callable[[str, Item], Item] = client._make_api_call  # type: ignore[attr-defined]

        def request(operation: str, parameters: Item) -> Item:
            process = CURRENT.get()
            self.point(_table_silent, process)
            result = make(operation, parameters)
            self._notice(operation, parameters, result, process)
            self.point(_table_silent, process)
            return result

        client._make_api_call = request  # type: ignore[attr-defined]
        return client

    def point(self, loss: Callable[[], Exception], process: Process | None) -> None:
        """A point of the process, or of whatever else runs."""
        (process or self.death).point(loss)

    # --- what is noticed of the writes -------------------------------------------------------------

    def _notice(self, operation: str, parameters: Item, result: Item, process: Process | None) -> None:
        if operation == "PutItem" and process:
            item = from_item(parameters["Item"])
            if item["sk"].startswith(("STEP#", "ATTEMPT#")):
                process.stored.append(spending_of(item))
                process.contended |= any(
                    other is not process and not other.ended and other.event_id in ("", process.event_id)
                    for other in self.processes
                )
        if operation == "UpdateItem" and process and process.claim is None:
            meta = from_item(result.get("Attributes", {}))
            if ":lease_until" in parameters["ExpressionAttributeValues"]:
                process.claim = (meta["pk"].removeprefix("JOB#"), meta["uid"]), int(meta["claim"])
        if operation in ("UpdateItem", "TransactWriteItems"):
            updates = [write["Update"] for write in parameters.get("TransactItems", []) if "Update" in write]
            self._notice_updates(updates or [parameters] * (operation == "UpdateItem"), process)

    def _notice_updates(self, updates: Sequence[Item], process: Process | None) -> None:
        keys = [from_item(update["Key"]) for update in updates]
        added = summed(_added(update) for update, key in zip(updates, keys, strict=True) if key["sk"][:6] == "USAGE#")
        for key in keys:
            if key["sk"] == "META" and key["pk"].startswith("JOB#"):
                meta = self.meta(key["pk"].removeprefix("JOB#"))
                job = key["pk"].removeprefix("JOB#"), meta.get("uid", "")
                self.added[job] = self.added.get(job, NOTHING_SPENT) + added
                self._freeze(job, int(meta["settled"]), process)
        owner = process or self.death
        owner.uncounted += added

    def _freeze(self, job: JobKey, settled: int, writer: Process | None) -> None:
        for process in self.processes:
            if process is writer or process.claim is None or process.claim[0] != job or process.ended_itself:
                continue
            if process.claim[1] <= settled:
                if process.frozen is None:
                    process.frozen = len(process.stored)
                elif process.claim[1] < settled:
                    process.settled_later = max(process.settled_later, settled - process.claim[1])
        if writer and writer.claim and writer.claim[0] == job and writer.claim[1] <= settled and writer.frozen is None:
            writer.ended_itself = True

    def begins(self, step: str, marker: str, process: Process | None) -> None:
        """A call begins. Raises AssertionError where the worker has the job, and the step is completed."""
        if process is None or process.claim is None:
            return
        process.begun += 1
        (event_id, uid), number = process.claim
        meta = self.meta(event_id)
        if meta.get("uid") != uid or int(meta["claim"]) != number or meta["status"] != "processing":
            process.late_calls += 1
            return
        names = {shown.name for shown in self.job(event_id).steps}
        assert step not in names, f"{step} of {marker} is called again"

    def meta(self, event_id: str) -> Item:
        """The job's META, empty where there is none."""
        return next((item for item in self.items(f"JOB#{event_id}") if item["sk"] == "META"), {})

    def items(self, prefix: str) -> list[Item]:
        """All items whose partition keys begin so. Read from moto itself, whose API takes a hundred times as long."""
        found: list[Item] = []
        # A transaction that fails replaces moto's tables.
        table = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].get_table(TABLE)
        for pk, items in table.items.items():
            name = pk.value if hasattr(pk, "value") else pk
            if name.startswith(prefix):
                found += [from_item(item.to_json()["Attributes"]) for item in items.values()]
        return found

    def _count(self, _chain: str, model: str, spending: Spending) -> None:
        self.counted[model] = self.counted.get(model, Spending()) + spending
        owner = CURRENT.get() or self.death
        owner.uncounted -= spending

    # --- what can happen ---------------------------------------------------------------------------

    def submit(self, key: str | None = None, marker: str | None = None, limits: Limits = NO_LIMITS, **more: Any) -> str:
        """A caller posts a job; gives its id."""
        marker = marker or f"job-{next(self._numbers)}"
        caller = Caller(TENANT, limits=limits)
        request = CreateJob(input_text=f"{marker} must be done.", **more)
        event_id = new_event_id(TENANT, key or marker)
        try:
            self.service.submit(caller, request, key or marker)
        finally:
            # Also a job whose caller has got no answer must end.
            if self.meta(event_id):
                self.markers[event_id] = marker
        return event_id

    def job(self, event_id: str) -> Job:
        return self.stores.jobs.get(TENANT, event_id)

    async def work(self, message: Message) -> None:
        """A worker takes a message; it stays in the queue where its consumer would report the record as failed."""
        message.visible_at = self.clock() + 6 * INVOCATION
        runner = self._new_runner()
        try:
            try:
                await runner.run(message.event_id, self.clock() + INVOCATION)
            except MustRunAlone:
                await runner.run(message.event_id, self.clock() + INVOCATION, alone=True)
        except JobNotFound:
            pass
        except JobchainError:
            return
        with suppress(ValueError):
            self.queue.messages.remove(message)

    def _new_runner(self) -> Runner:
        """That of a worker's process: with one for all, a worker that stands at a point would hold others' locks.

        The stores are its own too, as they have locks.
        """
        stores = Stores(self._mortal_client, TABLE, self.clock)
        more = {"call_time": CALL_TIME, "meter": self._count, "chains": self._chains}
        return make_runner(stores, self.queue, self.model, self._logger, **more)

    def start(self, message: Message) -> Process:
        """The same worker, stopped before its first request."""
        process = Process(lambda: self.deliver(message), message)
        self.processes.append(process)
        return process

    def start_request(self, act: Callable[[], object]) -> Process:
        """A request to the API, stopped likewise."""
        process = Process(act)
        self.processes.append(process)
        return process

    def deliver(self, message: Message) -> None:
        with asyncio.Runner(loop_factory=lambda: _Loop(self.clock)) as runner:
            runner.run(self.work(message))

    def answers(self, event_id: str) -> dict[str, int]:
        """How often the model answered each step of the job."""
        marker = self.markers[event_id]
        return {step: times for (whose, step), times in self.model.answered.items() if whose == marker}

    def used_today(self) -> int:
        """The tokens of the tenant's day so far."""
        usage = self.stores.usage.today(TENANT).spending.usage
        return usage.input_tokens + usage.output_tokens

    def sweep(self) -> None:
        self.sweeper.sweep(self.clock() + timedelta(minutes=1))

    def settle(self, limit: timedelta = timedelta(days=10)) -> None:
        """Lets time pass, with no help but the sweeper's, until every job is final. Raises AssertionError."""
        self.death.at = None
        deadline = self.clock() + limit
        while unfinished := [event_id for event_id in self.markers if not self._is_final(event_id)]:
            assert self.clock() < deadline, f"{len(unfinished)} jobs never end"
            for message in self.queue.visible():
                process = self.start(message)
                process.finish()
            self.clock.now = max(self.clock() + timedelta(seconds=20), self._next_event(unfinished))
            self.sweep()

    def _next_event(self, unfinished: Sequence[str]) -> datetime:
        """When a message becomes visible, or a job is due."""
        due = (self.meta(event_id).get("due_at", 0) for event_id in unfinished)
        times = [datetime.fromtimestamp(int(at), UTC) for at in due]
        return min([*times, *(message.visible_at for message in self.queue.messages)], default=self.clock())

    def _is_final(self, event_id: str) -> bool:
        try:
            return self.job(event_id).status.final
        except JobNotFound:
            return True

    # --- what must hold ------------------------------------------------------------------------------

    def assert_shown_right(self, event_id: str) -> None:
        """The steps shown are of this job, and each was made of the others that are shown."""
        job = self.job(event_id)
        shown = {step.name: version_of(step.output) for step in job.steps}
        for step in job.steps:
            version = shown[step.name]
            outputs = outputs_of(f"{self.markers[event_id]}-v{version}")
            approved = {each.step: each.value for each in job.approvals if each.is_approved}
            assert step.output == {**outputs, **approved}[step.name]
            assert self.model.saw[version] <= set(shown.values()), "the steps do not belong together"

    def assert_sums_agree(self) -> None:
        """The totals of the jobs, the daily usage and the metrics are the same sum."""
        metas = [item for item in self.items("JOB#") if item["sk"] == "META"]
        for meta in metas:
            key = meta["pk"].removeprefix("JOB#"), meta["uid"]
            assert spending_of(meta) == self.added.get(key, NOTHING_SPENT), "totals differ from the daily usage"
        day = summed(spending_of(item) for item in self.items("TENANT#") if item["sk"].startswith("USAGE#"))
        assert day == summed(self.added.values())
        owners = [self.death, *self.processes]
        assert day == summed([*self.counted.values(), *(owner.uncounted for owner in owners)])
        for owner in self.processes:
            if owner.ended and not owner.disturbed:
                assert owner.uncounted == NOTHING_SPENT, "not counted as metrics"

    def assert_exact(self, job: JobKey) -> None:
        """What the servers told is recorded to the token, for all calls whose workers learned it; once all is over."""
        workers = [process for process in self.processes if process.claim and process.claim[0] == job]
        total = self.added.get(job, NOTHING_SPENT)
        possible = {(0, 0, 0)}
        for worker in workers:
            ways = {_exact(summed(sums)) for sums in worker.recorded()}
            possible = {tuple(map(sum, zip(one, way, strict=True))) for one in possible for way in ways}  # type: ignore[misc]
        assert _exact(total) in possible, (_exact(total), possible)
        assert total.calls >= sum(worker.begun - worker.late_calls for worker in workers), "a call is in no record"
        lost = sum(worker.maybe_billed + worker.may_be_estimated for worker in workers)
        assert total.estimated.calls <= lost, "more estimated than was lost"


def _exact(spending: Spending) -> tuple[int, int, int]:
    estimated = spending.estimated
    usage = spending.usage
    return (
        usage.input_tokens - estimated.input_tokens,
        usage.output_tokens - estimated.output_tokens,
        spending.calls - estimated.calls,
    )


def _added(update: Mapping[str, Any]) -> Spending:
    """What an update adds."""
    values = from_item(update["ExpressionAttributeValues"])
    _, _, additions = update["UpdateExpression"].partition(" ADD ")
    return spending_of({name: values[value] for name, value in (pair.split() for pair in additions.split(", "))})
