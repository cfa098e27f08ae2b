"""The embedded stack, measured as the simulation sees it. Linux only: see `benchmarks.processes`."""

import os
import statistics
import time
from dataclasses import dataclass
from datetime import datetime

import httpx2
import psutil

from benchmarks import model_server, processes
from benchmarks.simulation.events import simulate
from benchmarks.simulation.setup import Outcome, Setup
from local.settings import Settings
from local.stack import EmbeddedStack

CALL_SECONDS = 0.5
STEPS = 3
_BATCH = 100
_PATIENCE = 300.0
PROCESSORS = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Measured:
    """Jobs that were all there at once; seconds."""

    jobs: int
    latencies: list[float]
    makespan: float
    processor: float  # of all processes together
    free: float  # of each processor, the share that no other program took meanwhile

    def latency(self, quantile: float) -> float:
        return sorted(self.latencies)[int(quantile * (len(self.latencies) - 1))]


class Check:
    """A stack with `workers`, and a model that takes `CALL_SECONDS` for each call."""

    def __init__(self, stack: EmbeddedStack, http: httpx2.Client, workers: int) -> None:
        self._stack = stack
        self._http = http
        self.workers = workers

    def run(self, jobs: int) -> Measured:
        """Posts `jobs` at once, and waits for their ends."""
        processor, busy, began = processor_seconds(), _busy_seconds(), time.monotonic()
        ids = [event_id for start in range(0, jobs, _BATCH) for event_id in self._post(min(_BATCH, jobs - start))]
        self._wait()
        used = processor_seconds() - processor
        others = max(0.0, _busy_seconds() - busy - used) / (time.monotonic() - began)
        times = [self._times(event_id) for event_id in ids]
        latencies = [end - start for start, end in times]
        makespan = max(end for _, end in times) - min(start for start, _ in times)
        return Measured(jobs, latencies, makespan, used, 1 - others / PROCESSORS)

    def _post(self, jobs: int) -> list[str]:
        entries = [{"input_text": f"Doors of job-{number} must be locked at night."} for number in range(jobs)]
        answer = self._http.post("/jobs/batch", json={"jobs": entries})
        answer.raise_for_status()
        return [result["event_id"] for result in answer.json()["results"]]

    def _wait(self) -> None:
        """Returns once nothing is unfinished. Raises TimeoutError."""
        deadline = time.monotonic() + _PATIENCE
        while sum(self._http.get("/stats").raise_for_status().json()["jobs"][s] for s in ("pending", "processing")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the embedded stack has not completed its jobs within {_PATIENCE:g} s")
            time.sleep(0.5)

    def _times(self, event_id: str) -> tuple[float, float]:
        job = self._http.get(f"/jobs/{event_id}").raise_for_status().json()
        if job["status"] != "completed":
            raise RuntimeError(f"job {event_id} is {job['status']}, not completed: {job['error']}")
        return _seconds(job["created_at"]), _seconds(job["finished_at"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside its simulation; `alone` is the job by which the simulation was set up."""

    workers: int
    alone: float
    cpu_seconds: float
    measured: Measured
    simulated: Outcome


def compare(workers: int, jobs: int) -> Comparison:
    """Runs `jobs` on an embedded stack, and simulates the same.

    The simulation knows three things of this machine: how long a job takes that is alone, and what a job takes of the
    processors, both from other runs than the one it is compared with; and from this one, what other programs took.
    """
    with (
        model_server.running(CALL_SECONDS) as model,
        EmbeddedStack.start(
            Settings(openai_base_url=model.base_url), parameters={"WorkerConcurrency": str(workers)}
        ) as stack,
        httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as http,
    ):
        check = Check(stack, http, workers)
        warm = check.run(10 * workers)
        warm = check.run(10 * workers)
        alone = statistics.median(check.run(1).makespan for _ in range(5))
        cpu = warm.processor / warm.jobs
        measured = check.run(jobs)
    return Comparison(workers, alone, cpu, measured, simulate(_setup(workers, alone, cpu, measured.free), [0.0] * jobs))


def _setup(workers: int, alone: float, cpu: float, free: float) -> Setup:
    # What a job alone takes beyond its calls and its own work is waiting: for the queue's pollers, and for writes.
    writes = STEPS + 2
    waited = max(0.0, alone - STEPS * CALL_SECONDS - cpu)
    return Setup(
        concurrency=workers,
        pollers_first=workers,
        cold_start=0,
        shared_processors=PROCESSORS,
        processor_share=free,
        cpu_seconds=cpu,
        write_seconds=waited / writes,
        steps=STEPS,
        call_seconds=CALL_SECONDS,
        call_spread=0,
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _busy_seconds() -> float:
    """What all programs of this machine have used: user, nice, system, interrupts."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def processor_seconds() -> float:
    """What this process and all that it has started have used, those included that ended and were waited for."""
    return processes.cpu_seconds_of_tree(os.getpid())
