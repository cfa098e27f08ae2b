"""A discrete-event model of queue, pollers, worker function and model server.

What it knows: pollers that grow as AWS documents, batches that end with their slowest job, cold starts, a processor
that the jobs of a batch share, writes that wait for the table, and a model server whose limits are buckets that fill
up continuously, or are full again each minute. A call that is refused puts its job off by a backoff, through the queue.
With a pacing (`benchmarks.simulation.pacing`), jobs wait for a slot of the model's account before they run.

What it leaves out: faults, the sweeper, flex, answers that are asked again, invocations that come near their timeout,
and the API, which only decides when jobs come in.
"""

import heapq
import itertools
import math
import random
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.simulation.pacing import ModelServer, Pacing
from jobchain.pace import Demand

# The worker's own: functions/worker/jobchain_worker/retry_policy.py
MAX_TRIES = 5
BACKOFF_FACTOR = 4
JITTER = 0.2

LONGEST_BACKOFF = 900.0

LOOK_SECONDS = 0.02
"""How long a worker has a job that it does not claim: it is read, and its message sent again."""

WAITED_FOR_SECONDS = 2.0
"""A slot that is no further away is waited for."""

REFUSAL_SECONDS = 0.2
"""How long a call takes that is refused."""

_CALL_ENDS, _INVOCATION_ENDS, _COMES_BACK, _MORE_POLLERS, _WINDOW_ENDS, _CALL_BEGINS = range(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is simulated; times in seconds, rates per second where nothing else is said."""

    batch_size: int = 10
    window: float = 0  # how long pollers gather a batch
    concurrency: int = 10  # the most invocations at once
    pollers_first: int = 5
    pollers_growth: float = 5
    cold_start: float = 1.5
    idle_seconds: float = 600
    processor_share: float = 0.58  # of one processor, for each environment
    shared_processors: int = 0  # processors, each to that share, that all environments share: one machine
    cpu_seconds: float = 0.045  # of a job
    write_seconds: float = 0.010
    steps: int = 3
    call_seconds: float = 4.0
    call_spread: float = 0.5
    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf
    tokens_per_call: float = 0
    input_tokens: float = 0  # of a call; with `output_caps`, the server counts these, not `tokens_per_call`
    output_tokens: float = 0
    output_caps: tuple[float, ...] = ()  # of each step
    counts_asked: bool = False  # the server counts the output that is asked for, not the one that is used
    windows: bool = False
    headers: bool = True
    first_backoff: float = 10
    most_tries: float = MAX_TRIES
    table_writes: float = math.inf
    create_writes: float = 0
    claim_writes: float = 0
    step_writes: float = 0
    finish_writes: float = 0
    release_writes: float = 0
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of a simulation; times in seconds."""

    jobs: int = 0
    completed: int = 0
    failed: int = 0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))  # of completed jobs
    starts: dict[int, float] = field(default_factory=dict)  # when a job's first call was let in
    ends: dict[int, float] = field(default_factory=dict)
    ended_at: float = 0
    invocations: int = 0
    received: int = 0
    cold_starts: int = 0
    billed: float = 0
    calls: int = 0
    refused: int = 0
    sends_again: int = 0
    most_invocations: int = 0
    most_waiting: int = 0
    most_calls: int = 0
    table_wait: float = 0
    job_seconds: float = 0  # the integral over time of jobs that have come and not ended

    def latency(self, quantile: float) -> float:
        """The latency that a share of the completed jobs stay below; 0 where there is none."""
        if not self.latencies:
            return 0.0
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1)]

    @property
    def batch(self) -> float:
        """The mean number of jobs of an invocation."""
        return self.received / self.invocations if self.invocations else 0.0


@dataclass(slots=True)
class _Environment:
    """A process that runs one invocation after the other."""

    used_at: float = 0
    processor_free: float = 0


@dataclass(slots=True)
class _Invocation:
    environment: _Environment
    started: float
    running: int
    ends: float = 0


class Simulation:
    """One run of a setup."""

    def __init__(self, setup: Setup, pacing: Pacing | None = None) -> None:
        self._setup = setup
        self._pacing = pacing
        self._delayed = 0
        self._random = random.Random(setup.seed)  # noqa: S311  # no secret
        self._events: list[tuple[float, int, int, int, _Invocation | None]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._waiting: deque[int] = deque()
        self._arrived = array("d")
        self._steps = bytearray()
        self._tries: dict[int, int] = {}
        self._running = 0
        self._allowed = float(min(setup.pollers_first, setup.concurrency))
        self._allowed_at = 0.0
        self._growing = False
        self._window_open = False
        self._idle: list[_Environment] = []
        self._calling = 0
        self._unended = 0
        self._server = ModelServer(
            setup.requests_per_minute, setup.tokens_per_minute, windows=setup.windows, headers=setup.headers
        )
        self._table_free = 0.0
        self._processors = [0.0] * setup.shared_processors
        self._share = setup.processor_share
        # A job's work is cut evenly: one part to claim it, one for each step.
        self._cpu_part = setup.cpu_seconds / (setup.steps + 1)
        self._log_call = math.log(setup.call_seconds) if setup.call_seconds else -math.inf
        self.outcome = Outcome()

    def run(self, arrivals: Iterable[float]) -> Outcome:
        """Lets jobs come in at `arrivals`, which ascend, and goes on until all have ended."""
        coming = iter(arrivals)
        arrival = next(coming, None)
        events = self._events
        while events or arrival is not None:
            if arrival is not None and (not events or arrival <= events[0][0]):
                self._pass_to(arrival)
                self._arrive()
                arrival = next(coming, None)
            else:
                at, _, kind, job, invocation = heapq.heappop(events)
                self._pass_to(at)
                self._happen(kind, job, invocation)
            self._receive()
        self.outcome.ended_at = self._now
        return self.outcome

    def _pass_to(self, time: float) -> None:
        self.outcome.job_seconds += self._unended * (time - self._now)
        self._now = time

    def _at(self, time: float, kind: int, job: int = -1, invocation: _Invocation | None = None) -> None:
        heapq.heappush(self._events, (time, next(self._order), kind, job, invocation))

    def _happen(self, kind: int, job: int, invocation: _Invocation | None) -> None:
        if kind == _CALL_ENDS and invocation is not None:
            self._calling -= 1
            if self._pacing:
                self._pacing.answered(id(invocation.environment), job, self._now)
            self._store(job, invocation)
        elif kind == _INVOCATION_ENDS and invocation is not None:
            self._end(invocation)
        elif kind == _COMES_BACK:
            self._delayed -= 1
            self._waiting.append(job)
        elif kind == _CALL_BEGINS and invocation is not None:
            self._call(job, invocation, self._now)
        elif kind == _MORE_POLLERS:
            self._growing = False
        elif kind == _WINDOW_ENDS:
            self._window_open = False
            self._receive(everything=True)

    # --- queue and pollers ---------------------------------------------------------------------

    def _arrive(self) -> None:
        self._write(self._setup.create_writes)
        job = len(self._arrived)
        self._arrived.append(self._now)
        self._steps.append(0)
        at = self._pacing.post(job, self._demands(job)[0], self._now) if self._pacing else self._now
        if at > self._now:
            self._send_for(job, at)
        else:
            self._waiting.append(job)
        self._unended += 1
        self.outcome.jobs += 1

    def _receive(self, *, everything: bool = False) -> None:
        """Starts invocations for what waits, as far as pollers and the window let it."""
        self._scale()
        setup, waiting = self._setup, self._waiting
        while waiting and self._running < int(self._allowed):
            if setup.window and not everything and len(waiting) < setup.batch_size:
                if not self._window_open:
                    self._window_open = True
                    self._at(self._now + setup.window, _WINDOW_ENDS)
                break
            self._start([waiting.popleft() for _ in range(min(setup.batch_size, len(waiting)))])
        self.outcome.most_waiting = max(self.outcome.most_waiting, len(waiting))
        # What waits for a poller, not for its window.
        blocked = waiting and self._running >= int(self._allowed)
        if blocked and not self._growing and self._allowed < setup.concurrency and setup.pollers_growth:
            self._growing = True
            wait = (math.floor(self._allowed) + 1 - self._allowed) / setup.pollers_growth
            self._at(self._now + max(wait, 1e-9), _MORE_POLLERS)

    def _scale(self) -> None:
        """More pollers while jobs wait, and fewer again, as slowly, while none do."""
        setup = self._setup
        change = (self._now - self._allowed_at) * setup.pollers_growth
        self._allowed_at = self._now
        # A hair more, so that a sum of small steps reaches the whole number that it was to reach.
        if self._waiting and self._running >= int(self._allowed):
            self._allowed = min(setup.concurrency, self._allowed + change + 1e-9)
        else:
            least = min(setup.pollers_first, setup.concurrency)
            self._allowed = max(least, self._running, self._allowed - change)

    # --- invocations ---------------------------------------------------------------------------

    def _start(self, jobs: list[int]) -> None:
        outcome = self.outcome
        environment, ready = self._environment()
        invocation = _Invocation(environment, self._now, len(jobs))
        self._running += 1
        outcome.invocations += 1
        outcome.received += len(jobs)
        outcome.most_invocations = max(outcome.most_invocations, self._running)
        for job in jobs:
            if self._pacing:
                self._ask(job, invocation, ready)
                continue
            self._call(job, invocation, self._work(environment, ready) + self._write(self._setup.claim_writes))

    def _ask(self, job: int, invocation: _Invocation, ready: float) -> None:
        """Asks whether the job may run, and sends it back to the queue if it may not."""
        assert self._pacing
        waiting = len(self._waiting) + self._delayed
        at = self._pacing.admit(id(invocation.environment), job, self._demands(job), waiting, self._now)
        if at > self._now + WAITED_FOR_SECONDS:
            self._send_for(job, at)
            self._leave(invocation, ready + LOOK_SECONDS)
            return
        done = self._work(invocation.environment, ready) + self._write(self._setup.claim_writes)
        self._at(max(at, done), _CALL_BEGINS, job, invocation)

    def _demands(self, job: int) -> list[Demand]:
        """What the job's remaining steps ask for, and what its next one does."""
        calls = [round(self._asked(step)) for step in range(self._steps[job], self._setup.steps)]
        return [Demand(len(calls), sum(calls)), Demand(1, calls[0])]

    def _asked(self, step: int) -> float:
        caps = self._setup.output_caps
        return self._setup.input_tokens + caps[step] if caps else self._setup.tokens_per_call

    def _used(self) -> float:
        setup = self._setup
        return setup.input_tokens + setup.output_tokens if setup.output_caps else setup.tokens_per_call

    def _send_for(self, job: int, at: float) -> None:
        self._delayed += 1
        self._at(at, _COMES_BACK, job)

    def _environment(self) -> tuple[_Environment, float]:
        """An environment, and when it is ready: the one that was used last, or a new one."""
        if self._idle and self._now - self._idle[-1].used_at <= self._setup.idle_seconds:
            return self._idle.pop(), self._now
        self._idle.clear()
        self.outcome.cold_starts += 1
        return _Environment(), self._now + self._setup.cold_start

    def _end(self, invocation: _Invocation) -> None:
        self._running -= 1
        self.outcome.billed += self._now - invocation.started
        invocation.environment.used_at = self._now
        self._idle.append(invocation.environment)

    def _leave(self, invocation: _Invocation, at: float) -> None:
        """One of the invocation's jobs is done with at that time; the last one ends it."""
        invocation.running -= 1
        invocation.ends = max(invocation.ends, at)
        if not invocation.running:
            self._at(invocation.ends, _INVOCATION_ENDS, invocation=invocation)

    def _work(self, environment: _Environment, ready: float) -> float:
        """When a part of a job's work is done that may begin at `ready`."""
        took = self._cpu_part / self._share
        if self._processors:
            done = max(ready, self._processors[0]) + took
            heapq.heapreplace(self._processors, done)
        else:
            done = environment.processor_free = max(ready, environment.processor_free) + took
        return done

    def _write(self, units: float) -> float:
        """How long a write takes, with the wait for the table where that is behind."""
        setup = self._setup
        wait = 0.0
        if units and setup.table_writes < math.inf:
            wait = max(0.0, self._table_free - self._now)
            self._table_free = self._now + wait + units / setup.table_writes
            self.outcome.table_wait += wait
        return setup.write_seconds + wait

    # --- steps ---------------------------------------------------------------------------------

    def _call(self, job: int, invocation: _Invocation, at: float) -> None:
        """Calls the model at that time. Its limits are looked at now, which is some hundredths of a second sooner."""
        setup, outcome = self._setup, self.outcome
        outcome.calls += 1
        asked, used = self._asked(self._steps[job]), self._used()
        accepted = self._server.call(asked if setup.counts_asked else used, self._now)
        if self._pacing:
            limits = self._server.limits(self._now)
            self._pacing.accounts[job].note(asked, used, limits, refused=not accepted)
        if not accepted:
            self._put_off(job, invocation, at + REFUSAL_SECONDS)
            return
        outcome.starts.setdefault(job, self._now)
        self._tries.pop(job, None)
        self._calling += 1
        outcome.most_calls = max(outcome.most_calls, self._calling)
        took = math.exp(self._random.gauss(self._log_call, setup.call_spread)) if setup.call_seconds else 0.0
        self._at(at + took, _CALL_ENDS, job, invocation)

    def _store(self, job: int, invocation: _Invocation) -> None:
        setup = self._setup
        at = self._work(invocation.environment, self._now) + self._write(setup.step_writes)
        self._steps[job] += 1
        if self._steps[job] < setup.steps:
            self._call(job, invocation, at)
            return
        at += self._write(setup.finish_writes)
        self.outcome.completed += 1
        self.outcome.latencies.append(at - self._arrived[job])
        self.outcome.ends[job] = at
        if self._pacing:
            self._pacing.leave(id(invocation.environment), job, self._now)
        self._unended -= 1
        self._leave(invocation, at)

    def _put_off(self, job: int, invocation: _Invocation, at: float) -> None:
        self.outcome.refused += 1
        tries = self._tries[job] = self._tries.get(job, 0) + 1
        at += self._write(self._setup.release_writes)
        self._leave(invocation, at)
        if self._pacing:
            self._pacing.leave(id(invocation.environment), job, self._now)
        if tries >= self._setup.most_tries:
            self.outcome.failed += 1
            self._unended -= 1
            return
        wait = min(LONGEST_BACKOFF, self._setup.first_backoff * BACKOFF_FACTOR ** min(10, tries - 1))
        self.outcome.sends_again += 1
        self._send_for(job, at + wait * self._random.uniform(1 - JITTER, 1 + JITTER))


def simulate(setup: Setup, arrivals: Iterable[float], pacing: Pacing | None = None) -> Outcome:
    """Runs `setup` for jobs that come in at `arrivals`, which ascend."""
    return Simulation(setup, pacing).run(arrivals)
