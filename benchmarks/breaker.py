"""A backlog while the model's account is dead: what fails, which calls are made meanwhile, and how long it takes after.

    python -m benchmarks.breaker --jobs 1000 --dead 180

The embedded stack runs the jobs against a model that refuses every call with `insufficient_quota` for that many
seconds, from when it has answered a tenth of the jobs' calls. Ends with 1 if a job failed, or if more calls were made
than those in flight when the first one was refused and one probe a minute.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks import client, ours
from benchmarks.model_account import Reply, ended_jobs, judge, serving, wait, wait_for_jobs
from jobchain.breaker import PROBE_EVERY

WORKERS = 10
IN_FLIGHT_SECONDS = 5.0
"""So long after the first refusal, calls may still be refused that are no probes: workers know by then."""
NO_QUOTA = {
    "message": "You exceeded your current quota, please check your plan and billing details.",
    "type": "insufficient_quota",
    "param": None,
    "code": "insufficient_quota",
}
"""https://platform.openai.com/docs/guides/error-codes"""


@dataclass(slots=True)
class Account:
    """What the server knows: whether the account is dead, and when it answered and refused which calls."""

    dead: bool = False
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self) -> Reply:
        """Counts a call; gives how it is taken."""
        with self._lock:
            (self.refused if self.dead else self.answered).append(time.time())
            return Reply(NO_QUOTA if self.dead else None)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it. `dead` and `alive` are when the account died and when it worked again."""

    statuses: Counter[str]
    errors: Counter[str]
    answered: Sequence[float]
    refused: Sequence[float]
    dead: float
    alive: float
    ended: float

    @property
    def in_flight(self) -> int:
        """The refused calls that had begun before all workers knew."""
        first = min(self.refused, default=0.0)
        return sum(at < first + IN_FLIGHT_SECONDS for at in self.refused)

    @property
    def probes(self) -> list[float]:
        """When the other calls were refused, in seconds after the first one."""
        first = min(self.refused, default=0.0)
        return [at - first for at in sorted(self.refused) if at >= first + IN_FLIGHT_SECONDS]

    @property
    def is_good(self) -> bool:
        """No job failed, no more calls than the promise allows, and no two probes less than a minute apart."""
        most = int((self.alive - self.dead) / PROBE_EVERY.total_seconds())
        seldom = all(later - earlier > PROBE_EVERY.total_seconds() - 1 for earlier, later in pairwise(self.probes))
        return set(self.statuses) == {"completed"} and len(self.probes) <= most and seldom

    def lines(self) -> Iterator[str]:
        """The result, in words."""
        yield f"jobs: {dict(self.statuses)}, errors: {dict(self.errors)}"
        yield f"the account was dead for {self.alive - self.dead:.0f} s; calls answered in all: {len(self.answered)}"
        seconds = Counter(int(at - self.dead) for at in self.refused)
        yield f"calls refused, by second: {dict(sorted(seconds.items()))}"
        yield f"in flight when the breaker opened: {self.in_flight}"
        yield f"probes: {len(self.probes)}, seconds after the first refusal: {[round(at, 1) for at in self.probes]}"
        after = [at for at in self.answered if at > self.alive]
        if after:
            yield f"the account works: first call after {min(after) - self.alive:.0f} s"
        yield f"all jobs ended {self.ended - self.alive:.0f} s after it, {self.ended - self.dead:.0f} s after it died"


def measure(jobs: int, dead_seconds: float) -> Run:
    """Runs the jobs. Raises BenchmarkError where they do not end."""
    account = Account()
    with serving(account) as base_url, ours.start(base_url, workers=WORKERS) as side, ThreadPoolExecutor(1) as pool:
        posting = pool.submit(client.post, side.url, range(jobs))
        wait(lambda: len(account.answered) >= client.CALLS * jobs // 10, "the first calls")
        account.dead, dead = True, time.time()
        _say(f"the account is dead, after {len(account.answered)} calls")
        posting.result()
        time.sleep(max(0.0, dead + dead_seconds - time.time()))
        account.dead, alive = False, time.time()
        _say(f"the account works again; {len(account.refused)} calls were refused")
        wait_for_jobs(side)
        ended = time.time()
        found = ended_jobs(side, jobs)
    statuses = Counter(str(job["status"]) for job in found)
    errors = Counter(str(job["error"]["type"]) for job in found if job.get("error"))
    return Run(statuses, errors, account.answered, account.refused, dead, alive, ended)


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """The exit status: 0 as promised, 1 not (argparse: 2), 128 + n if signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breaker", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--dead", type=float, default=180, metavar="SECONDS")
    options = parser.parse_args()
    return judge(lambda: measure(options.jobs, options.dead))


if __name__ == "__main__":
    sys.exit(main())
