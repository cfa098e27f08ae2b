"""Workers and the emulator are killed, messages are lost: no job is lost, and no call is charged twice."""

import json
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from jobchain_sweeper.resending import MAX_CRASHES
from jobchain_worker.admission_control import SUSPECT
from tests.e2e.conftest import poll
from tests.fake_model.answers import STEPS
from tests.faults.conftest import FaultyStack, assert_right, faulty_stack
from tests.faults.ledger import (
    Killer,
    Kills,
    accounts,
    as_numbers,
    assert_balanced,
    balance,
    let_leases_end,
    needs_proc,
    pause_worker,
    report,
    submit_all,
    sweep_until_final,
    worker_processes,
)

SEED = 20261122


def assert_asked_once(world: FaultyStack, marker: str) -> None:
    assert world.model.journal.replies(marker) == [(step, "answer") for step in STEPS]


@pytest.mark.thorough
@needs_proc
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "kills", "pause"),
    [
        ("kills", 6, (0.1, 0.5)),
        pytest.param("kills-again-and-again", 20, (0.1, 1.0), marks=pytest.mark.faults),
    ],
)
def test_no_job_is_lost_when_workers_are_killed(name: str, kills: int, pause: tuple[float, float]) -> None:
    # given 50 jobs, each of three calls that take 0.4 s
    with faulty_stack(latency=0.4, parameters={"WorkerConcurrency": "4"}) as world:
        started = time.monotonic()
        pause_worker(world, paused=True)
        jobs = submit_all(world, (f"job-{name}-{number}" for number in range(50)))
        pause_worker(world, paused=False)
        poll(lambda: len(world.model.journal.calls()) >= 10)

        # when workers are killed at random moments, and the sweeper runs
        with Killer(world.stack, random.Random(SEED), pause, at_most=kills) as killer:
            swept = sweep_until_final(world, jobs, limit_seconds=500, patience=10)

        # then every job is complete, and only what was in flight at a kill was asked for again
        tally = balance(accounts(world, jobs))
        seconds = round(time.monotonic() - started)
        report(name, **as_numbers(tally), kills=killer.kills, swept=swept, seconds=seconds)
        assert tally.claims_lost > 0, "no kill met a job"
        assert_balanced(tally)
        for event_id, marker in jobs.items():
            assert_right(world.job(event_id), marker)


@pytest.mark.thorough
def test_jobs_outlive_a_restart_of_queue_table_and_workers() -> None:
    # given jobs that run
    with faulty_stack(latency=0.5, persist=True) as world:
        jobs = submit_all(world, (f"job-restart-{number}" for number in range(20)))
        poll(lambda: len(world.model.journal.calls()) >= 5)

        # when all is stopped and started again, and the leases have run out
        world.stack.emulator.stop()
        stopped = time.time()
        world.stack.emulator.launch()
        world.stack.emulator.wait()
        let_leases_end(world, before=stopped)
        swept = sweep_until_final(world, jobs, limit_seconds=250)

        # then
        tally = balance(accounts(world, jobs))
        report("restart", **as_numbers(tally), swept=swept)
        assert tally.claims_lost > 0, "the stop met no job"
        assert_balanced(tally)


@pytest.mark.thorough
def test_jobs_whose_messages_were_purged_are_sent_again(world: FaultyStack) -> None:
    # given pending jobs whose messages are lost
    pause_worker(world, paused=True)
    try:
        jobs = submit_all(world, (f"job-purged-{number}" for number in range(20)))
        world.stack.client("sqs").purge_queue(QueueUrl=world.stack.queue_url)
        assert world.queued()["waiting"] == 0
    finally:
        pause_worker(world, paused=False)

    # when their due time has come, which is moved here, not waited for
    for event_id in jobs:
        world.make_due(event_id)
    swept = world.sweep()

    # then
    assert swept["sent"] == len(jobs)
    for event_id, marker in jobs.items():
        assert_right(world.finished(event_id), marker)
        assert_asked_once(world, marker)


class Poison(Kills):
    """Kills a worker of a stack each time that it calls the model for a marker, and no other one."""

    def __init__(self, world: FaultyStack, marker: str) -> None:
        super().__init__()
        self._world = world
        self._marker = marker

    def _run(self) -> None:
        seen = 0
        while not self._ended.wait(0.02):
            calls = self._world.model.journal.calls(self._marker)
            for call in calls[seen:]:
                for worker in worker_processes(self._world.stack):
                    with suppress(psutil.NoSuchProcess, ProcessLookupError):
                        if any(each.laddr.port == call.port for each in psutil.Process(worker).net_connections()):
                            os.kill(worker, signal.SIGKILL)
                            self.kills += 1
            seen = len(calls)


@pytest.mark.thorough
@needs_proc
@pytest.mark.timeout(600)
def test_jobs_complete_beside_one_that_kills_each_worker_that_runs_it() -> None:
    # given a batch of ten jobs, one of which kills its worker at each call
    with faulty_stack(latency=1.0) as world:
        with world.workers_paused():
            jobs = submit_all(world, ["job-poison", *(f"job-beside-{number}" for number in range(9))])
        poison = next(event_id for event_id, marker in jobs.items() if marker == "job-poison")

        # when the workers get it
        with Poison(world, "job-poison") as killer:
            sweep_until_final(world, jobs, limit_seconds=500, patience=5)

        # then it fails, and the others are complete, after at most two kills that they shared with it
        assert world.job(poison)["error"]["type"] == "worker_lost"
        assert killer.kills == MAX_CRASHES
        for event_id, marker in jobs.items():
            if event_id != poison:
                assert_right(world.job(event_id), marker)
                assert len(world.model.journal.calls(marker)) <= len(STEPS) + SUSPECT


def post_fifty_times(world: FaultyStack, marker: str, at_once: int) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda _: world.post(marker, key=f"key-of-{marker}"), range(50)))

    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    (event_id,) = {answer.json()["event_id"] for answer in answers}
    assert_right(world.finished(event_id), marker)
    assert_asked_once(world, marker)


def test_fifty_requests_with_one_key_are_one_job(world: FaultyStack) -> None:
    post_fifty_times(world, "job-one-key", at_once=8)


@pytest.mark.faults
def test_fifty_requests_at_the_same_moment_with_one_key_are_one_job() -> None:
    with faulty_stack() as world:
        # Fifty functions start at once: on a machine of few cores that takes longer than a request may.
        functions = world.stack.client("lambda")
        for function in functions.list_functions()["Functions"]:
            functions.update_function_configuration(FunctionName=function["FunctionName"], Timeout=60)

        post_fifty_times(world, "job-one-moment", at_once=50)


def test_a_message_that_arrives_four_times_is_worked_on_once(world: FaultyStack) -> None:
    # given 20 jobs
    markers = [f"job-doubled-{number}" for number in range(20)]
    jobs = submit_all(world, markers)

    # when the message of each comes three more times
    sqs = world.stack.client("sqs")
    for _ in range(3):
        for event_id in jobs:
            sqs.send_message(QueueUrl=world.stack.queue_url, MessageBody=json.dumps({"event_id": event_id}))
    poll(lambda: not any(world.queued().values()))

    # then
    for event_id, marker in jobs.items():
        assert_right(world.finished(event_id), marker)
        assert_asked_once(world, marker)
    assert not any(world.queued(world.stack.dead_letter_url).values())
