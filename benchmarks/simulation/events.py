"""A discrete-event model of queue, pollers, worker function and model server.

What it knows: pollers that grow as AWS documents, batches that end with their slowest job, cold starts, a processor
that the jobs of a batch share, writes that wait for the table, and a model server whose limits are buckets that fill
up continuously, or are full again each minute. A call that is refused puts its job off by a backoff, through the
queue, until the job's deadline. With a pacing (`benchmarks.simulation.pacing`), jobs wait for a slot of the model's
account before they run.

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
from dataclasses import dataclass

from benchmarks.simulation.account import ModelServer
from benchmarks.simulation.pacing import LONGEST_WAIT, Pacing
from benchmarks.simulation.setup import Outcome, Setup
from benchmarks.simulation.workers import Environment, Environments, Gathered, Pollers, Table, Windows
from jobchain.pace import Demand

# The worker's own: functions/worker/jobchain_worker/retry_policy.py
BACKOFF_FACTOR = 4
LONGEST_BACKOFF = 720.0
JITTER = 0.2
LAST_TRY = 0.9
"""Where a backoff passes the deadline, a last try is made after this part of the time that is left."""

LOOK_SECONDS = 0.02
"""How long a worker has a job that it does not claim: it is read, and its message sent again."""

REFUSAL_SECONDS = 0.2
"""How long a call takes that is refused."""

_CALL_ENDS, _INVOCATION_ENDS, _COMES_BACK, _MORE_POLLERS, _RECEIVE_ENDS, _CALL_BEGINS = range(6)


@dataclass(slots=True)
class _Invocation:
    environment: Environment
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
        self._events: list[tuple[float, int, int, int, _Invocation | Gathered | None]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._waiting: deque[int] = deque()
        self._arrived = array("d")
        self._steps = bytearray()
        self._tries: dict[int, int] = {}
        self._running = 0
        self._pollers = Pollers(setup)
        self._growing = False
        self._windows = Windows(setup, self._random)
        self._environments = Environments(setup)
        self._calling = 0
        self._unended = 0
        self._server = ModelServer.of(setup)
        self._table = Table(setup)
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
                at, _, kind, job, of = heapq.heappop(events)
                self._pass_to(at)
                self._happen(kind, job, of)
            self._receive()
        self.outcome.ended_at = self._now
        self.outcome.cold_starts = self._environments.cold_starts
        return self.outcome

    def _pass_to(self, time: float) -> None:
        self.outcome.job_seconds += self._unended * (time - self._now)
        self._now = time

    def _at(self, time: float, kind: int, job: int = -1, of: _Invocation | Gathered | None = None) -> None:
        heapq.heappush(self._events, (time, next(self._order), kind, job, of))

    def _happen(self, kind: int, job: int, of: _Invocation | Gathered | None) -> None:
        if isinstance(of, Gathered):
            if self._windows.ends(of, self._now):
                self._start(of.jobs)
        elif of:
            self._go_on(kind, job, of)
        elif kind == _COMES_BACK:
            self._delayed -= 1
            self._waiting.append(job)
        elif kind == _MORE_POLLERS:
            self._growing = False

    def _go_on(self, kind: int, job: int, invocation: _Invocation) -> None:
        if kind == _CALL_ENDS:
            self._calling -= 1
            if self._pacing:
                self._pacing.answered(id(invocation.environment), job, self._now)
            self._store(job, invocation)
        elif kind == _INVOCATION_ENDS:
            self._end(invocation)
        elif kind == _CALL_BEGINS:
            self._call(job, invocation, self._now)

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

    def _receive(self) -> None:
        """Starts invocations for what waits, as far as pollers and their windows let it."""
        setup, waiting, pollers = self._setup, self._waiting, self._pollers
        pollers.scale(self._running + len(self._windows), waits=bool(waiting), now=self._now)
        while waiting and self._running < pollers.allowed:
            if setup.window:
                self._gather(waiting.popleft(), pollers.allowed - self._running)
            else:
                self._start([waiting.popleft() for _ in range(min(setup.batch_size, len(waiting)))])
        self.outcome.most_waiting = max(self.outcome.most_waiting, len(waiting))
        # What waits for a poller, not for its window.
        blocked = waiting and self._running >= pollers.allowed
        if blocked and not self._growing and (wait := pollers.next_in()) is not None:
            self._growing = True
            self._at(self._now + wait, _MORE_POLLERS)

    def _gather(self, job: int, free: int) -> None:
        batch, complete = self._windows.add(job, free, self._now)
        if complete:
            self._start(batch.jobs)
        else:
            self._at(batch.due, _RECEIVE_ENDS, of=batch)

    # --- invocations ---------------------------------------------------------------------------

    def _start(self, jobs: list[int]) -> None:
        outcome = self.outcome
        environment, ready = self._environments.take(self._now)
        invocation = _Invocation(environment, self._now, len(jobs))
        self._running += 1
        outcome.invocations += 1
        outcome.received += len(jobs)
        outcome.most_invocations = max(outcome.most_invocations, self._running)
        for job in jobs:
            if self._now >= self._deadline(job):
                self._fail()
                self._leave(invocation, ready + LOOK_SECONDS)
            elif self._pacing:
                self._ask(job, invocation, ready)
            else:
                done = self._environments.work(environment, ready)
                self._call(job, invocation, done + self._write(self._setup.claim_writes))

    def _ask(self, job: int, invocation: _Invocation, ready: float) -> None:
        """Asks whether the job may run, and sends it back to the queue if it may not."""
        assert self._pacing
        waiting = len(self._waiting) + self._delayed
        at = self._pacing.admit(id(invocation.environment), job, self._demands(job), waiting, self._now)
        if at > self._now + LONGEST_WAIT:
            self.outcome.sent_back += 1
            self._send_for(job, min(at, self._deadline(job)))
            self._leave(invocation, ready + LOOK_SECONDS)
            return
        done = self._environments.work(invocation.environment, ready) + self._write(self._setup.claim_writes)
        self._at(max(at, done), _CALL_BEGINS, job, invocation)

    def _deadline(self, job: int) -> float:
        return self._arrived[job] + self._setup.deadline_seconds

    def _fail(self) -> None:
        self.outcome.failed += 1
        self._unended -= 1

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

    def _end(self, invocation: _Invocation) -> None:
        self._running -= 1
        self.outcome.billed += self._now - invocation.started
        self._environments.give_back(invocation.environment, self._now)

    def _leave(self, invocation: _Invocation, at: float) -> None:
        """One of the invocation's jobs is done with at that time; the last one ends it."""
        invocation.running -= 1
        invocation.ends = max(invocation.ends, at)
        if not invocation.running:
            self._at(invocation.ends, _INVOCATION_ENDS, of=invocation)

    def _write(self, units: float) -> float:
        """How long a write takes, with the wait for the table where that is behind."""
        wait = self._table.wait(units, self._now)
        self.outcome.table_wait += wait
        return self._setup.write_seconds + wait

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
        at = self._environments.work(invocation.environment, self._now) + self._write(setup.step_writes)
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
        wait = min(LONGEST_BACKOFF, self._setup.first_backoff * BACKOFF_FACTOR ** min(10, tries - 1))
        wait *= self._random.uniform(1 - JITTER, 1 + JITTER)
        left = self._deadline(job) - at
        if wait >= left:
            wait = left * LAST_TRY
            if wait < self._setup.first_backoff:
                self._fail()
                return
        self.outcome.sends_again += 1
        self._send_for(job, at + wait)


def simulate(setup: Setup, arrivals: Iterable[float], pacing: Pacing | None = None) -> Outcome:
    """Runs `setup` for jobs that come in at `arrivals`, which ascend."""
    return Simulation(setup, pacing).run(arrivals)
