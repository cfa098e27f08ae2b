"""A deployment in one process, on moto's table and queue: the api's stores, a worker and a sweeper, and its faults."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools import Logger
from botocore.exceptions import ConnectionClosedError

from jobchain.aws.attributes import Item
from jobchain.aws.items import job_key
from jobchain.aws.queue import JobQueue
from jobchain.aws.table import Table
from jobchain.domain import Job, NewJob
from jobchain.errors import MustRunAlone
from jobchain.spending import Spending, summed
from jobchain_sweeper.resending import MAX_CRASHES
from jobchain_sweeper.sweeper import Sweep
from tests.conftest import TABLE, make_runner, make_sweeper
from tests.fake_model.llm import Said, SchemaLLM, ScriptedLLM, WorkerVanished
from tests.fake_model.script import Script
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TENANT = "local"
TEXT = "Passwords must be long. They must be stored hashed."
INVOCATION = timedelta(minutes=5)
AFTER_LEASE = INVOCATION + timedelta(seconds=2)
RETENTION = timedelta(days=30)

Fault = Literal["refused", "lost"]


class Faults:
    """Makes calls of a client fail: before the table gets them, or after it, so that only the answer is lost."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self.choose: Callable[[str], Fault | None] = lambda _operation: None
        """The fault of the next call of an operation."""
        self._now: Fault | None = None
        client.meta.events.register("before-call.dynamodb", self._before)
        client.meta.events.register("after-call.dynamodb", self._after)

    def script(self, operation: str, *faults: Fault | None) -> None:
        """The faults of the next calls of an operation."""
        left = list(faults)
        self.choose = lambda called: left.pop(0) if called == operation and left else None

    def _before(self, model: Any, **_: object) -> None:
        self._now = self.choose(model.name)
        if self._now == "refused":
            raise ConnectionClosedError(endpoint_url="the table")

    def _after(self, **_: object) -> None:
        if self._now == "lost":
            raise ConnectionClosedError(endpoint_url="the table")


class Deployment:
    """All functions on one table. A job is run by `run`, as if its message were delivered."""

    def __init__(
        self,
        client: "DynamoDBClient",
        queue: JobQueue,
        clock: FakeClock,
        logger: Logger,
        llm: ScriptedLLM | None = None,
    ) -> None:
        self.clock = clock
        self.faults = Faults(client)
        self.stores = Stores(client, TABLE, clock)
        self.llm = llm or SchemaLLM(clock=clock)
        self.metered: list[tuple[str, str, Spending]] = []
        self.queue = queue
        self._client = client
        self._logger = logger
        self.runner = self.worker()
        self.sweeper = make_sweeper(self.stores, queue, logger, clock=clock, meter=self.meter, page_size=100)
        self.event_id = ""

    def meter(self, chain: str, model: str, spending: Spending) -> None:
        """The metrics."""
        self.metered.append((chain, model, spending))

    def worker(self, **changes: Any) -> Any:
        """A worker of this deployment."""
        return make_runner(self.stores, self.queue, self.llm, self._logger, meter=self.meter, **changes)

    def create(self, number: int = 1, **changes: Any) -> str:
        """Stores a pending job, which the other methods mean from now on; gives its id."""
        self.event_id = f"0b6c2f4e-0000-4000-8000-{number:012}"
        given = {"job_name": "guideline_checklist", "payload": {"guidelines": TEXT}, "fingerprint": "f", **changes}
        self.stores.admission.create(NewJob(event_id=self.event_id, tenant=TENANT, **given), RETENTION)
        return self.event_id

    def run(self, *script: Said, event_id: str | None = None) -> Job:
        """One delivery of the job's message, with these answers of the model before all others."""
        self.llm.script = Script(*script)
        self.run_together([event_id or self.event_id])
        return self.job(event_id)

    def run_until_final(self, *script: Said, event_id: str | None = None) -> Job:
        """Runs the job each time that its wait is over, with the same answers each time, until it has ended."""
        while not (job := self.run(*script, event_id=event_id)).status.final:
            not_before = int(self.meta(event_id).get("not_before", 0)) / 1000
            self.clock.now = max(self.clock.now, datetime.fromtimestamp(not_before, UTC))
        return job

    def run_together(self, event_ids: Iterable[str]) -> None:
        """One batch of messages; suspects run after the others, alone. There is one thread: moto can't serve two."""
        ids = list(event_ids)

        async def all_of_them() -> None:
            runs = [self.runner.run(event_id, self.clock() + INVOCATION) for event_id in ids]
            for event_id, ended in zip(ids, await asyncio.gather(*runs, return_exceptions=True), strict=True):
                if isinstance(ended, MustRunAlone):
                    await self.runner.run(event_id, self.clock() + INVOCATION, alone=True)
                elif isinstance(ended, BaseException):
                    raise ended

        with asyncio.Runner() as loop:
            loop.get_loop().set_default_executor(ThreadPoolExecutor(1))
            loop.run(all_of_them())

    def sweep(self) -> Sweep:
        """One run of the sweeper."""
        return self.sweeper.sweep(self.clock() + timedelta(minutes=1))

    def job(self, event_id: str | None = None) -> Job:
        """The job as the api reads it."""
        return self.stores.jobs.get(TENANT, event_id or self.event_id)

    def meta(self, event_id: str | None = None) -> Item:
        """The job's META as it is stored."""
        return self.table.get(job_key(event_id or self.event_id)) or {}

    def items(self, event_id: str | None = None) -> list[Item]:
        """All items of the job as they are stored."""
        return self.table.query(job_key(event_id or self.event_id)["pk"], "!", "~")

    @property
    def table(self) -> Table:
        """The table, past the stores."""
        return Table(self._client, TABLE)

    @property
    def day(self) -> Spending:
        """What the tenant used today."""
        return self.stores.usage.today(TENANT).spending

    def sums(self, *event_ids: str) -> list[Spending]:
        """What was used by the jobs, by the tenant today, today by model and by key, and by the metrics."""
        today = self.stores.usage.today(TENANT)
        jobs = [self.job(event_id).spending for event_id in event_ids or [self.event_id]]
        metered = [spending for _, _, spending in self.metered]
        return [
            *(summed(part) for part in (jobs, [today.spending], today.by_model.values(), today.by_key.values())),
            summed(metered),
        ]

    def spent(self, *event_ids: str) -> Spending:
        """What all of `sums` agree on."""
        first, *others = self.sums(*event_ids)
        assert all(other == first for other in others), [first, *others]
        return first


def vanish_until_it_fails(deployment: Deployment, event_id: str) -> None:
    """Workers vanish with the job, one after the other, until the sweeper fails it."""
    for _ in range(MAX_CRASHES):
        try:
            deployment.run(WorkerVanished(), event_id=event_id)
        except WorkerVanished:
            deployment.clock.advance(AFTER_LEASE)
    deployment.clock.advance(timedelta(minutes=10))
    deployment.sweep()
