"""Two thousand jobs with every fault on: what they cost is in the records, to the token, whatever fails."""

import random
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict

import pytest

from jobchain.spending import Spending, summed
from tests.fake_model.replies import NEVER
from tests.faults.aws_proxy import ANSWER_LOST, THROTTLED
from tests.faults.conftest import KNOWN_LIMIT, FaultyStack, faulty_stack
from tests.faults.ledger import (
    CLIENTS,
    Killer,
    accounts,
    as_metrics,
    as_numbers,
    assert_balanced,
    balance,
    daily_usage,
    metrics,
    needs_proc,
    report,
    sweep_until_final,
)
from tests.faults.test_storm import Mischief, send_copies

SEED = 20261129
JOBS = 2000
WAVE = 100
BATCH = 10
CALLS_OF_A_CLAIM = 9
"""The most calls of one claim: three steps, each with two answers that do not fit."""


class Soak(Mischief):
    """The same with calls that are never answered."""

    refusals = (*Mischief.refusals, NEVER)


def submit_until_accepted(world: FaultyStack, markers: Iterable[str]) -> dict[str, str]:
    """Jobs for all markers, each posted again with its key until it is accepted: marker by event_id."""

    def submit(marker: str) -> str:
        while (answer := world.post(marker, key=f"key-of-{marker}")).status_code == 503:
            time.sleep(0.2)
        return str(answer.raise_for_status().json()["event_id"])

    markers = list(markers)
    with ThreadPoolExecutor(CLIENTS) as pool:
        return dict(zip(pool.map(submit, markers), markers, strict=True))


@needs_proc
@pytest.mark.faults
@pytest.mark.timeout(700)
def test_two_thousand_jobs_with_every_fault_on_are_in_the_records_to_the_token() -> None:
    # given a model that fails in every way, and a table that throttles, and whose answers get lost
    with (
        faulty_stack(proxied=True, latency=0.05, parameters={"WorkerConcurrency": "4", **KNOWN_LIMIT}) as world,
        ExitStack() as faults,
    ):
        world.model.rule = Soak()
        for operation in ("UpdateItem", "PutItem", "TransactWriteItems", "Query", "BatchWriteItem"):
            faults.enter_context(world.proxy.failing(THROTTLED, operation, every=23))
        for operation in ("UpdateItem", "PutItem", "TransactWriteItems"):
            faults.enter_context(world.proxy.failing(ANSWER_LOST, operation, every=29))
        started = time.monotonic()

        # when workers are killed, from the first wave of jobs on until all are final
        with Killer(world.stack, random.Random(SEED), (4, 10), at_most=1000) as killer:
            jobs: dict[str, str] = {}
            for first in range(0, JOBS, WAVE):
                wave = submit_until_accepted(world, (f"job-soak-{number}" for number in range(first, first + WAVE)))
                send_copies(world, wave)
                jobs |= wave
            posted = time.monotonic() - started
            swept = sweep_until_final(world, jobs, limit_seconds=500, every=3, patience=15)
        seconds = time.monotonic() - started
        found = accounts(world, jobs)
        daily, counted = daily_usage(world), metrics(world)

    # then all jobs are right, and their records are those of the model's server
    tally = balance(found)
    total = summed(account.spent for account in found)
    unlogged = {name: count - counted[name] for name, count in as_metrics(daily).items()}
    unrecorded = sum(account.told.input_tokens - _exact_input(account.spent) for account in found)
    report(
        "soak",
        **as_numbers(tally),
        kills=killer.kills,
        swept=swept,
        seconds=round(seconds),
        posted_after=round(posted),
        jobs_a_second=round(JOBS / seconds, 1),
        aws_faults=sum(world.proxy.faults().values()),
        told_input_tokens=sum(account.told.input_tokens for account in found),
        told_and_not_recorded_input_tokens=unrecorded,
        estimate=asdict(total.estimated) | {"cost_usd": str(total.estimated.cost_usd)},
        cost_usd=str(total.known_cost_usd),
        unlogged=unlogged,
    )
    assert tally.jobs == JOBS
    assert not [account for account in found if account.misstated]
    assert_balanced(tally)

    # and the day is the sum of the jobs, and the metrics too, but for what killed workers could not log any more
    assert daily == total
    assert 0 <= unlogged["Calls"] <= killer.kills * BATCH * CALLS_OF_A_CLAIM


def _exact_input(spent: Spending) -> int:
    return spent.usage.input_tokens - spent.estimated.input_tokens
