"""What becomes of jobs while `kill -9` hits the processes that run them, on each side."""

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks import client, model_server, ours
from benchmarks.client import Caller
from benchmarks.model_server import ModelServer, StepCalls
from benchmarks.report import Fragment
from benchmarks.sides import DEFAULT, HARDENED, OURS, Side, Start, Terms
from benchmarks.spread import number
from jobchain.markdown import table

KILLS = 6
PAUSE = (0.5, 2.0)
"""Seconds between two kills, the least and the most."""
DELAY = 1.0
"""Seconds that a call of the model takes."""
JOBS: Mapping[str, int] = {OURS: 300, DEFAULT: 24, HARDENED: 300}
"""So many that jobs run until after the last kill."""
WARM_UP: Mapping[str, int] = {OURS: ours.AT_ONCE, DEFAULT: 4, HARDENED: ours.AT_ONCE}
PATIENCE = 480.0
"""Seconds in which no job ends, after which the rest is given up. Our sweeper sends a lost message after 300."""
OUR_TIMEOUT = "60"
"""`WorkerTimeoutSeconds`, and so the longest lease. By default it is 300, and recovery takes as much longer."""
SEED = 18


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs of a run."""

    jobs: int
    completed: int
    failed: int
    unended: int
    """Jobs that were accepted and did not end while anything could still run them."""
    kills: int
    cut: int
    """Calls of the model that were in flight when their worker was killed."""
    repeated: int
    """Jobs of which a step whose answer had arrived was called again."""
    recovery: float
    """Seconds from the last kill to the end of the last job that ended."""


def text(number: int) -> str:
    """A job whose number is in the request of each of its steps."""
    return (
        f"# Door {number}\n\nDoor {number} must be locked at night. The keys of door {number} must be changed every 90 "
        f"days.\n\nA colleague must look at door {number} once a week.\n"
    )


def kills(terms: Terms) -> dict[str, Fragment]:
    """The section: one run of each side."""
    outcomes = {name: _run(_start(name, terms), name) for name in terms.sides}
    for name, outcome in outcomes.items():
        terms.say(f"kills, {name}: {outcome}")
    return {"55-kills": fragment(outcomes)}


def _start(name: str, terms: Terms) -> Start:
    start = terms.start(name)
    return partial(start, parameters={"WorkerTimeoutSeconds": OUR_TIMEOUT}) if name == OURS else start


def _run(start: Start, name: str) -> Outcome:
    with model_server.running() as model, start(model.base_url) as side:
        client.warm_up(side.url, model, WARM_UP[name])
        model.set_delay(DELAY)
        return run(side, model, JOBS[name], KILLS)


def run(side: Side, model: ModelServer, count: int, kills: int, pause: tuple[float, float] = PAUSE) -> Outcome:
    """Posts `count` jobs while processes are killed, and waits until all have ended or none can any more."""
    with _killing(side, kills, pause) as times:
        client.post(side.url, range(count), text_of=text)
        jobs = wait(side, count)
    return judge(jobs, model.calls(), times)


def judge(jobs: Sequence[Mapping[str, Any]], calls: Sequence[StepCalls], kills: Sequence[float]) -> Outcome:
    """The outcome by the jobs as the API shows them, the calls as the model counted them, and the times of the kills."""
    statuses = [job["status"] for job in jobs]
    ends = [client.finished_at(job) for job in jobs if job.get("finished_at")]
    return Outcome(
        jobs=len(jobs),
        completed=statuses.count("completed"),
        failed=statuses.count("failed"),
        unended=len(jobs) - statuses.count("completed") - statuses.count("failed"),
        kills=len(kills),
        cut=sum(call.cut for call in calls),
        repeated=len({call.job for call in calls if call.answered > 1}),
        recovery=max(0.0, max(ends, default=0.0) - max(kills, default=0.0)),
    )


@contextmanager
def _killing(side: Side, most: int, pause: tuple[float, float]) -> Iterator[list[float]]:
    """Kills one of the side's processes after each pause; gives the times of the kills so far, as seconds since 1970."""
    chance, over, times = random.Random(SEED), threading.Event(), list[float]()

    def kill() -> None:
        while len(times) < most and not over.wait(chance.uniform(*pause)):
            if running := side.running():
                # One may have ended since.
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(running), signal.SIGKILL)
                    times.append(time.time())

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def wait(side: Side, count: int, patience: float = PATIENCE) -> list[dict[str, Any]]:
    """The newest `count` jobs, once all have ended, or none of the rest can end any more."""
    ended, since = -1, time.monotonic()
    with closing(Caller(side.url)) as caller:
        while True:
            # First: what a worker has finished since is in the list then.
            hopeless = side.gave_up()
            jobs = list(itertools.islice(caller.jobs(), count))
            now = sum(job["status"] in ("completed", "failed") for job in jobs)
            if now != ended:
                ended, since = now, time.monotonic()
            quiet = time.monotonic() - since
            if now == count or quiet > patience or (hopeless and quiet > 10 * DELAY):
                return jobs
            time.sleep(0.5)


def fragment(outcomes: Mapping[str, Outcome]) -> Fragment:
    """The section of the page."""
    rows = [
        [
            name,
            str(one.jobs),
            str(one.kills),
            str(one.completed),
            str(one.failed),
            str(one.unended),
            str(one.cut),
            str(one.repeated),
            f"{number(one.recovery)} s",
        ]
        for name, one in outcomes.items()
    ]
    head = ["", "jobs", "kills", "completed", "failed", "lost", "calls cut off", "run twice", "after the last kill"]
    body = f"""\
`kill -9` hits one process of those in which jobs run, {KILLS} times, {PAUSE[0]:g} to {PAUSE[1]:g} s apart, while the
jobs are posted and run, with the model at {DELAY:g} s. The processes are one of {ours.WORKERS} workers of ten jobs each of
Jobchain; a child of Celery's prefork pool, which runs one job and is replaced by its parent; and a whole Celery worker
with its threads, which a supervisor starts again. So a kill hits unlike numbers of jobs: *calls cut off* counts those in
flight. *Lost* jobs were accepted with a 201 and have no end, after nothing was left that could run them: no message in
the broker, and no sweeper or relay. *Run twice* counts jobs of which a step was called again after its answer had
arrived; a call that was cut off is made again by all that lose no job. *After the last kill* is the time to the last end
of those that ended: leases take {OUR_TIMEOUT} s of ours here (`WorkerTimeoutSeconds`; by default 300 s, and recovery
takes as much longer) plus a minute's sweep, and 30 s with a heartbeat of the hardened form.

{table(head, rows)}"""
    return Fragment("Jobs under kill -9", body, data={name: asdict(one) for name, one in outcomes.items()})
