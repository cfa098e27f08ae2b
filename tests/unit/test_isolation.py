"""A job that crashes its workers harms no other: suspects run alone, after the other jobs of their batch."""

import asyncio
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import cast

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.domain import Status
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain_sweeper.resending import MAX_CRASHES
from jobchain_worker.consumer import Consumer
from tests.deployment import AFTER_LEASE, INVOCATION, Deployment
from tests.fake_model.llm import SchemaLLM, WorkerVanished
from tests.fakes import FakeContext

POISON = "poison"
# A look at a suspect costs no time, and jobs that end have nothing left to do.
ROUNDS = 8


class PoisonedLLM(SchemaLLM):
    """Ends the process at a call for the poison, once all jobs that run at the same time have made theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.all_ask = asyncio.Barrier(1)

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        await self.all_ask.wait()
        if POISON in request.input:
            raise WorkerVanished
        if self.all_ask.parties > 1:
            await asyncio.Event().wait()  # The process ends before it is answered.
        return await super().ask(request)


class Batch:
    """Ten jobs that are delivered together until all are final, one of which kills each process that runs it."""

    def __init__(self, deployment: Deployment, logger: Logger, place: int) -> None:
        self.deployment = deployment
        self.llm = PoisonedLLM()
        deployment.llm = self.llm
        self.ids = [
            deployment.create(number, payload={"guidelines": f"Job {number}. {POISON if number == place else 'Fine'}."})
            for number in range(10)
        ]
        self.poison = self.ids[place]
        self._logger = logger

    @property
    def unfinished(self) -> list[str]:
        return [event_id for event_id in self.ids if not self.deployment.job(event_id).status.final]

    def deliver(self, ids: Sequence[str]) -> list[str]:
        """One invocation; gives the places of the messages that failed. Raises WorkerVanished where it is killed."""
        records = [
            {"messageId": f"m{place}", "body": json.dumps({"event_id": event_id}), "messageAttributes": {}}
            for place, event_id in enumerate(ids)
        ]
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            loop.set_default_executor(ThreadPoolExecutor(1))
            consumer = Consumer(self.deployment.worker(), loop, self.deployment.clock, self._logger)
            context = cast(LambdaContext, FakeContext(INVOCATION))
            answer = consumer.consume({"Records": records}, context)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@pytest.mark.parametrize("place", [0, 4, 9])
def test_nine_jobs_complete_beside_one_that_kills_the_process_and_that_one_fails(
    deployment: Deployment, logger: Logger, place: int
) -> None:
    # given ten jobs that are claimed together, and sent together again after each kill
    batch = Batch(deployment, logger, place)

    for number in range(ROUNDS):
        if not batch.unfinished:
            break
        batch.llm.all_ask = asyncio.Barrier(10 if number < 2 else 1)
        with suppress(WorkerVanished):
            assert batch.deliver(batch.unfinished) == []
        deployment.clock.advance(AFTER_LEASE)
        deployment.sweep()

    # then
    ends = {event_id: deployment.job(event_id) for event_id in batch.ids}
    poisoned = ends.pop(batch.poison)
    assert {job.status for job in ends.values()} == {Status.COMPLETED}
    assert poisoned.error is not None
    assert poisoned.error.type == "worker_lost"
    assert poisoned.attempts == MAX_CRASHES
    assert all(job.attempts == 3 for job in ends.values()), "two in company, and one alone"


def test_suspects_run_one_after_the_other_when_the_others_have_ended(deployment: Deployment, logger: Logger) -> None:
    # given six suspects and three jobs that are none
    batch = Batch(deployment, logger, place=0)
    batch.ids.remove(batch.poison)
    for _ in range(2):
        for event_id in batch.ids[:6]:
            deployment.stores.claim(event_id, deployment.clock() + INVOCATION)
        deployment.clock.advance(AFTER_LEASE)

    # when
    assert batch.deliver(batch.ids) == []

    # then
    assert batch.unfinished == []
    found = (re.search(r"Job (\d)", request.input) for request in batch.llm.requests)
    order = [int(number[1]) for number in found if number]
    calls = len(order) // 9
    assert set(order[: 3 * calls]) == {7, 8, 9}
    assert order[3 * calls :] == [number for number in range(1, 7) for _ in range(calls)]


def test_a_suspect_whose_deadline_is_over_ends_though_the_others_left_no_time_for_a_call(
    deployment: Deployment,
) -> None:
    # given a suspect whose batches are always busy until shortly before their end
    event_id = deployment.create(1)
    for _ in range(2):
        deployment.stores.claim(event_id, deployment.clock() + INVOCATION)
        deployment.clock.advance(AFTER_LEASE)
    short = timedelta(seconds=10)
    runner = deployment.worker()
    asyncio.run(runner.run(event_id, deployment.clock() + short, alone=True))
    assert not deployment.job(event_id).status.final, "it comes back, as it has time left"

    # when
    deployment.clock.advance(timedelta(days=1))
    asyncio.run(runner.run(event_id, deployment.clock() + short, alone=True))

    # then
    error = deployment.job(event_id).error
    assert error is not None
    assert error.type == "deadline_exceeded"
