"""Trouble of every kind for many jobs at a time: all complete, and the model is asked no more than needed."""

import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from aws_lambda_powertools import Logger
from botocore.config import Config

from jobchain.aws.queue import JobQueue
from jobchain.domain import NewJob, utc_now
from jobchain_sweeper.sweeper import Sweep, Sweeper
from tests.fake_model.journal import Call, Journal
from tests.fake_model.replies import DROPPED, EMPTY_OBJECT, HTML, SERVER_ERROR, Reply, too_many_requests
from tests.fakes import FakeClock
from tests.faults.conftest import FaultyStack, faulty_stack
from tests.faults.ledger import (
    BROKEN,
    Killer,
    accounts,
    as_numbers,
    assert_balanced,
    balance,
    needs_proc,
    pause_worker,
    report,
    submit_all,
    sweep_until_final,
)
from tests.stores import Stores

SEED = 20261122


# --- a storm of 429 --------------------------------------------------------------------------------


class Storm:
    """A rule for the model: from the first call on, for a number of seconds, half of all calls are too many."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._chance = random.Random(SEED)
        self._lock = threading.Lock()
        self._until = 0.0

    def __call__(self, call: Call) -> Reply | None:
        with self._lock:
            self._until = self._until or call.at + self._seconds
            if call.at > self._until or self._chance.random() < 0.5:
                return None
            return too_many_requests(retry_after=self._chance.randint(1, 3))


def too_early(journal: Journal, marker: str) -> list[Call]:
    """The calls for the marker that came before the time that an earlier one was told to wait for."""
    found: list[Call] = []
    not_before = 0.0
    for call in journal.calls(marker):
        if call.at < not_before:
            found.append(call)
        if call.reply and call.ended:
            not_before = max(not_before, call.ended + call.reply.retry_after)
    return found


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "count", "seconds"),
    [("storm", 30, 5), pytest.param("long-storm", 100, 30, marks=pytest.mark.faults)],
)
def test_all_jobs_outlast_a_storm_of_429_and_none_asks_before_its_retry_after(
    world: FaultyStack, name: str, count: int, seconds: float
) -> None:
    # given a model that answers half of all calls with 429
    world.model.rule = Storm(seconds)
    try:
        # when jobs are posted, and the storm passes
        started = time.monotonic()
        jobs = submit_all(world, (f"job-{name}-{number}" for number in range(count)))
        sweep_until_final(world, jobs, limit_seconds=500, every=30)
        lasted = time.monotonic() - started
    finally:
        world.model.rule = lambda call: None

    # then
    tally = balance(accounts(world, jobs))
    early = [call for marker in jobs.values() for call in too_early(world.model.journal, marker)]
    report(name, **as_numbers(tally), too_early=len(early), seconds=round(lasted))
    # The pace is lowered after the first refusals, and keeps most jobs from asking while the storm lasts.
    assert 4 <= tally.refused <= count
    assert_balanced(tally)
    assert tally.wasted == 0
    assert early == []


# --- everything at once ----------------------------------------------------------------------------


class Mischief:
    """A rule for the model: every seventh call or so goes wrong in some way, at most twice in each way a step.

    More than that could fail a job in good order: a step has five tries, and three answers a try.
    """

    refusals: tuple[Reply, ...] = (too_many_requests(1), too_many_requests(), SERVER_ERROR, DROPPED, HTML, EMPTY_OBJECT)

    def __init__(self) -> None:
        self._chance = random.Random(SEED)
        self._lock = threading.Lock()
        self._met: Counter[tuple[str, str, str]] = Counter()

    def __call__(self, call: Call) -> Reply | None:
        with self._lock:
            kind, replies = self._chance.choice((("refused", self.refusals), ("broken", BROKEN)))
            met = (call.marker, call.step, kind)
            if self._chance.random() > 0.15 or self._met[met] >= 2:
                return None
            self._met[met] += 1
            return self._chance.choice(replies)


def submit_with_copies(world: FaultyStack, markers: list[str]) -> dict[str, str]:
    """Jobs for all markers; the messages of every fifth come one to three more times."""
    jobs = submit_all(world, markers)
    send_copies(world, jobs)
    return jobs


def send_copies(world: FaultyStack, jobs: Iterable[str]) -> None:
    """Sends the messages of every fifth job one to three more times."""
    chance = random.Random(SEED)
    jobs = list(jobs)
    for event_id in chance.sample(sorted(jobs), len(jobs) // 5):
        for _ in range(chance.randint(1, 3)):
            world.stack.client("sqs").send_message(
                QueueUrl=world.stack.queue_url, MessageBody=json.dumps({"event_id": event_id})
            )


@needs_proc
@pytest.mark.faults
@pytest.mark.timeout(420)
def test_a_thousand_jobs_with_faults_all_the_time_all_complete() -> None:
    # given
    with faulty_stack(latency=0.1, parameters={"WorkerConcurrency": "4"}) as world:
        world.model.rule = Mischief()
        started = time.monotonic()

        # when a worker is killed every few seconds, from the first of ten waves of jobs on until all are final
        with Killer(world.stack, random.Random(SEED), (3, 9), at_most=1000) as killer:
            jobs: dict[str, str] = {}
            for wave in range(10):
                jobs |= submit_with_copies(world, [f"job-wave-{wave}-{number}" for number in range(100)])
                world.sweep()
            swept = sweep_until_final(world, jobs, limit_seconds=360, every=3, patience=15)
        seconds = time.monotonic() - started

        # then
        tally = balance(accounts(world, jobs))
        report(
            "thousand",
            **as_numbers(tally),
            kills=killer.kills,
            swept=swept,
            seconds=round(seconds),
            jobs_a_second=round(len(jobs) / seconds, 1),
        )
        assert tally.jobs == 1000
        assert_balanced(tally)
        assert not any(world.queued(world.stack.dead_letter_url).values())


# --- a backlog -------------------------------------------------------------------------------------

BACKLOG = 10_000


@pytest.mark.faults
@pytest.mark.timeout(420)
def test_a_backlog_of_ten_thousand_jobs_is_not_flooded_with_copies() -> None:
    # given many pending jobs, and no worker
    clock = FakeClock()
    clock.now = utc_now() + timedelta(days=1)  # ahead of the stack's own sweeper
    with faulty_stack() as world:
        pause_worker(world, paused=True)
        stores, queue = connect(world, clock)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: stores.admission.create(new_job(), timedelta(days=30)), range(BACKLOG)))

        # when the sweeper runs each minute of an hour, as the function does
        sweeper = Sweeper(
            due=stores.due,
            queue=queue,
            clock=clock,
            logger=quiet(),
            threads=16,
            page_size=25,
            most=1000,
            meter=lambda *_: None,
        )
        sent, slowest = sweep_each_minute(sweeper.sweep, clock, minutes=60)
        copies = world.queued()["waiting"]

    # then
    table = {minute: count for minute, count in enumerate(sent) if count}
    report("backlog", jobs=BACKLOG, sent_by_minute=table, messages=copies, slowest_sweep_seconds=round(slowest, 1))
    assert sum(sent) == copies
    assert max(sent) == sum(sent), "once the queue has a backlog, no more"
    assert 1000 <= sum(sent) <= 1200, "a thousand a sweep, and the rest of a round"


def connect(world: FaultyStack, clock: FakeClock) -> tuple[Stores, JobQueue]:
    """The table and the queue of the stack, as the sweeper's function has them."""
    config = Config(proxies={}, max_pool_connections=20)

    def client(service: str) -> object:
        return world.stack.clients.session.client(service, endpoint_url=world.stack.endpoint_url, config=config)

    return (
        Stores(client("dynamodb"), world.stack.table, clock),  # type: ignore[arg-type]
        JobQueue(client("sqs"), world.stack.queue_url),  # type: ignore[arg-type]
    )


def new_job() -> NewJob:
    return NewJob(str(uuid4()), "local", "guideline_checklist", {"guidelines": "Lock the door."}, "fingerprint")


def quiet() -> Logger:
    return Logger(service=f"test-{uuid4()}", stream=io.StringIO())


def sweep_each_minute(sweep: Callable[..., Sweep], clock: FakeClock, minutes: int) -> tuple[list[int], float]:
    """The messages that each minute's sweep sent, and the seconds that the slowest took."""
    sent, slowest = [], 0.0
    for _ in range(minutes):
        started = time.monotonic()
        sent.append(sweep(clock() + timedelta(minutes=1)).sent)
        slowest = max(slowest, time.monotonic() - started)
        clock.advance(timedelta(minutes=1))
    return sent, slowest
