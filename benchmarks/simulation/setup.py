"""What is simulated, and what comes of it."""

import math
from array import array
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.simulation.arrivals import DAY

Headers = Literal["right", "none", "above", "full", "past"]
"""What a server tells of its limits: what is left, nothing, more than all, always all of it, resets in the past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is simulated; times in seconds, rates per second where nothing else is said."""

    batch_size: int = 10
    window: float = 0  # how long a poller gathers a batch
    receive_seconds: float = 20  # of a receive that finds nothing; with a window, a poller waits for its end
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
    windows: bool = False  # limits are full again each minute, not bit by bit
    headers: Headers = "right"
    first_backoff: float = 10
    deadline_seconds: float = DAY  # of each job, from when it comes in
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
    sends_again: int = 0  # of jobs that were refused a call
    sent_back: int = 0  # jobs that were not claimed, as the account had no room
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
