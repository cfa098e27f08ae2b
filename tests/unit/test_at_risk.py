"""The estimate for calls that were in flight when a worker vanished, for those who do not know the job's chain."""

import asyncio
import json
from datetime import timedelta
from typing import cast

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.queue import JobQueue
from jobchain_worker.consumer import Consumer
from tests.conftest import make_runner, make_service
from tests.fakes import FakeClock, FakeContext
from tests.gateway import Api
from tests.stores import Stores
from tests.unit.test_table_cost import Crash, LongTextLLM, text_of


@pytest.mark.parametrize(("characters", "max_input_tokens", "in_flight"), [(38_000, 1000, 10), (500, 8000, 1)])
def test_a_cancelled_job_estimates_all_calls_of_the_wave_that_was_in_flight(
    stores: Stores,
    queue: JobQueue,
    logger: Logger,
    clock: FakeClock,
    event_loop: asyncio.AbstractEventLoop,
    characters: int,
    max_input_tokens: int,
    in_flight: int,
) -> None:
    # given a worker that vanishes while its calls are in flight
    llm = LongTextLLM(clock=clock)
    llm.together = in_flight

    def crash() -> None:
        raise Crash

    llm.meanwhile = crash
    api = Api(make_service(stores, queue, logger), logger)
    runner = make_runner(stores, queue, llm, logger, max_input_tokens=max_input_tokens)
    event_id = api("POST", "/jobs", {"input_text": text_of(characters)}).body["event_id"]
    record = {"messageId": "m", "body": json.dumps({"event_id": event_id})}
    with pytest.raises(Crash):
        Consumer(runner, event_loop, clock, logger).consume(
            {"Records": [record]}, cast(LambdaContext, FakeContext(timedelta(minutes=5)))
        )
    assert len(llm.requests) == in_flight
    clock.advance(timedelta(minutes=6))

    # when its job is cancelled
    job, recorded = stores.jobs.cancel("local", event_id)

    # then the estimate is of all of them, and what is recorded is the job's total
    assert job.spending.estimated.calls == in_flight
    assert job.spending.estimated.output_tokens == in_flight * llm.max_output_tokens
    assert recorded == {llm.model: job.spending}
