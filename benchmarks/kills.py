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
from typing import Any

from benchmarks import client, model_server, ours
from benchmarks.baseline import services
from benchmarks.baseline.hardened.terms import LEASE_SECONDS
from benchmarks.client import Caller
from benchmarks.model_server import ModelServer, StepCalls
from benchmarks.report import Fragment
from benchmarks.sides import DEFAULT, HARDENED, OURS, Side, Start, Terms
from benchmarks.spread import number
from jobchain.markdown import table

KILLS = 6
BETWEEN = (0.1, 0.7)
"""The shares of all calls after which there are kills, the least and the most.

A job that is lost makes no more calls, so that more may never be reached.
"""
DELAY = 1.0
"""Seconds that a call of the model takes."""
JOBS: Mapping[str, int] = {OURS: 300, DEFAULT: 24, HARDENED: 300}
"""Enough for jobs to run until after the last kill."""
WARM_UP: Mapping[str, int] = {OURS: ours.AT_ONCE, DEFAULT: 4, HARDENED: ours.AT_ONCE}
PATIENCE = 480.0
"""Seconds in which no job ends, after which the rest is given up. A lease may last 300, and a sweeper comes each 60."""
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
    again: int
    """Calls that were answered, and were made again: their worker was killed before it had stored the answer."""
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
    outcomes = {name: _run(terms.start(name), name) for name in terms.sides}
    for name, outcome in outcomes.items():
        terms.say(f"kills, {name}: {outcome}")
    return {"55-kills": fragment(outcomes)}


def _run(start: Start, name: str) -> Outcome:
    with model_server.running() as model, start(model.base_url) as side:
        client.warm_up(side.url, model, WARM_UP[name])
        model.set_delay(DELAY)
        return run(side, model, JOBS[name], KILLS)


def run(side: Side, model: ModelServer, count: int, most: int) -> Outcome:
    """Posts `count` jobs while processes are killed, and waits until all have ended or none can any more."""
    chance = random.Random(SEED)  # noqa: S311  # no secret
    calls = client.CALLS * count
    moments = sorted(model.answered() + calls * chance.uniform(*BETWEEN) for _ in range(most))
    with killing(side, model, moments, chance) as times:
        client.post(side.url, range(count), text_of=text)
        jobs = wait(side, count)
    return judge(jobs, model.calls(), times)


def judge(jobs: Sequence[Mapping[str, Any]], calls: Sequence[StepCalls], kills: Sequence[float]) -> Outcome:
    """The outcome: `jobs` as the API shows them, `calls` as the model counted them, `kills` in seconds since 1970."""
    statuses = [job["status"] for job in jobs]
    ends = [client.finished_at(job) for job in jobs if job.get("finished_at")]
    return Outcome(
        jobs=len(jobs),
        completed=statuses.count("completed"),
        failed=statuses.count("failed"),
        unended=len(jobs) - statuses.count("completed") - statuses.count("failed"),
        kills=len(kills),
        cut=sum(call.cut for call in calls),
        again=sum(call.answered - 1 for call in calls if call.answered > 1),
        recovery=max(0.0, max(ends, default=0.0) - max(kills, default=0.0)),
    )


@contextmanager
def killing(side: Side, model: ModelServer, moments: Sequence[float], chance: random.Random) -> Iterator[list[float]]:
    """Kills one of the side's processes at each of these numbers of calls that the model has answered.

    Gives the times of the kills so far, in seconds since 1970.
    """
    over, times = threading.Event(), list[float]()

    def kill() -> None:
        while len(times) < len(moments) and not over.wait(0.05):
            if model.answered() >= moments[len(times)] and (running := side.running()):
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


def wait(side: Side, count: int, patience: float = PATIENCE, quiet_for: float = 10 * DELAY) -> list[dict[str, Any]]:
    """The newest `count` jobs, once all have ended, or the rest is given up.

    It is where no job ended for `patience` seconds, or for `quiet_for` and nothing could run them any more: a job that
    is running has ended by then.
    """
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
            if now == count or quiet > patience or (hopeless and quiet > quiet_for):
                return jobs
            time.sleep(0.5)


def fragment(outcomes: Mapping[str, Outcome]) -> Fragment:
    """The section of the page."""
    rows = [
        [name, *map(str, (one.jobs, one.kills, one.completed, one.failed, one.unended, one.cut, one.again)), _last(one)]
        for name, one in outcomes.items()
    ]
    head = ["", "jobs", "kills", "completed", "failed", "lost", "calls cut off", "answers lost", "all done after"]
    body = f"""\
`kill -9` hits one process of those in which jobs run, {KILLS} times, at random moments between {BETWEEN[0]:.0%} and
{BETWEEN[1]:.0%} of all calls, with the model at {DELAY:g} s. A kill hits unlike numbers of jobs:

- *{OURS}*: one of {ours.WORKERS} workers of ten jobs each.
- *{DEFAULT}*: a child of the prefork pool, which runs one job; its parent replaces it.
- *{HARDENED}*: one of {services.CORES} Celery workers with all its threads; a supervisor starts it again.

What the columns say:

- *Lost* jobs were accepted with a 201 and have no end, and nothing is left that could run them: no message in the
  broker, and no sweeper or relay.
- *Calls cut off* were in flight when their worker was killed; *answers lost* had been sent, and the worker was killed
  before it had stored them. A side that loses no job makes these calls again, and both are paid.
- *All done after* is the time from the last kill to the end of the last job. With the template's defaults a worker of
  Jobchain holds a lease for 5 minutes at most, its sweeper runs each minute, and a message that was received and not
  yet claimed counts as lost after 5 minutes. Leases of the hardened form last {LEASE_SECONDS} s, and a heartbeat
  extends them.

{table(head, rows)}"""
    return Fragment("Jobs under kill -9", body, data={name: asdict(one) for name, one in outcomes.items()})


def _last(outcome: Outcome) -> str:
    return "never" if outcome.unended else f"{number(outcome.recovery)} s"
