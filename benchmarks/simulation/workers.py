"""Pollers and environments of the worker function, and its table, as AWS documents them."""

import heapq
import math
import random
from dataclasses import dataclass, field

from benchmarks.simulation.setup import Setup


class Pollers:
    """How many invocations may run at once: more while jobs wait for one, and fewer again, as slowly, while none do."""

    def __init__(self, setup: Setup) -> None:
        self._first = min(setup.pollers_first, setup.concurrency)
        self._most = setup.concurrency
        self._growth = setup.pollers_growth
        self._allowed = float(self._first)
        self._allowed_at = 0.0

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    def scale(self, running: int, *, waits: bool, now: float) -> None:
        """Brings the number up to the time."""
        change = (now - self._allowed_at) * self._growth
        self._allowed_at = now
        # A hair more, so that a sum of small steps reaches the whole number that it was to reach.
        if waits and running >= self.allowed:
            self._allowed = min(self._most, self._allowed + change + 1e-9)
        else:
            self._allowed = max(self._first, running, self._allowed - change)

    def next_in(self) -> float | None:
        """The seconds until there is one more; None if there won't be."""
        if self._allowed >= self._most or not self._growth:
            return None
        return max((math.floor(self._allowed) + 1 - self._allowed) / self._growth, 1e-9)


@dataclass(slots=True, eq=False)
class Gathered:
    """Jobs that one poller gathers; times in seconds."""

    opened: float
    jobs: list[int] = field(default_factory=list)
    due: float = 0  # when the receive ends that the poller waits in


class Windows:
    """Pollers that gather batches. A message goes to any of the free ones, so each gathers its own.

    A poller receives again after each message, and sees that its window has passed when a receive ends: with the next
    message, or empty. That is how "up to 20 seconds" come about, which AWS documents for a window of a second:
    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """

    def __init__(self, setup: Setup, draw: random.Random) -> None:
        self._setup = setup
        self._draw = draw
        self._open: list[Gathered] = []

    def __len__(self) -> int:
        return len(self._open)

    def add(self, job: int, free: int, now: float) -> tuple[Gathered, bool]:
        """One of `free` pollers receives the job. Gives what it has gathered, and whether that is complete."""
        place = self._draw.randrange(free)
        if place >= len(self._open):
            place = len(self._open)
            self._open.append(Gathered(now))
        batch = self._open[place]
        batch.jobs.append(job)
        ends = batch.opened + self._setup.window
        batch.due = max(ends, now + self._setup.receive_seconds)
        complete = len(batch.jobs) >= self._setup.batch_size or now >= ends
        if complete:
            self._open.remove(batch)
        return batch, complete

    def ends(self, batch: Gathered, now: float) -> bool:
        """Whether the batch is complete because its last receive is over."""
        over = batch in self._open and now >= batch.due
        if over:
            self._open.remove(batch)
        return over


@dataclass(slots=True)
class Environment:
    """A process that runs one invocation after the other."""

    used_at: float = 0
    processor_free: float = 0


class Environments:
    """The processes, and the processors that they work on."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._idle: list[Environment] = []
        self._processors = [0.0] * setup.shared_processors
        # A job's work is cut evenly: one part to claim it, one for each step.
        self._part = setup.cpu_seconds / (setup.steps + 1) / setup.processor_share
        self.cold_starts = 0

    def take(self, now: float) -> tuple[Environment, float]:
        """An environment, and when it is ready: the one that was used last, or a new one."""
        if self._idle and now - self._idle[-1].used_at <= self._setup.idle_seconds:
            return self._idle.pop(), now
        self._idle.clear()
        self.cold_starts += 1
        return Environment(), now + self._setup.cold_start

    def give_back(self, environment: Environment, now: float) -> None:
        """Its invocation has ended."""
        environment.used_at = now
        self._idle.append(environment)

    def work(self, environment: Environment, ready: float) -> float:
        """When a part of a job's work is done that may begin at `ready`."""
        if self._processors:
            done = max(ready, self._processors[0]) + self._part
            heapq.heapreplace(self._processors, done)
        else:
            done = environment.processor_free = max(ready, environment.processor_free) + self._part
        return done


class Table:
    """Accepts a limited number of write units in a second. Further writes wait."""

    def __init__(self, setup: Setup) -> None:
        self._most = setup.table_writes
        self._free = 0.0

    def wait(self, units: float, now: float) -> float:
        """How long a write of these units waits for those before it."""
        if not units or self._most == math.inf:
            return 0.0
        wait = max(0.0, self._free - now)
        self._free = now + wait + units / self._most
        return wait
