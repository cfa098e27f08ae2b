"""How large batches get, what a job waits for them, and what the functions cost: `docs/explanation/batches.md`.

    python -m benchmarks.batches

simulates the alternatives, and writes the tables into the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from benchmarks import parts
from benchmarks.report import table
from benchmarks.simulate import MILLION, ROOM, Case, Simulator
from benchmarks.simulation import arrivals, limits
from benchmarks.simulation.arrivals import DAY
from benchmarks.simulation.inputs import Inputs

PAGE = "docs/explanation/batches.md"

A_DAY = MILLION / DAY
A_MONTH = A_DAY / 30
MOST_DELAY = 1.0
"""Seconds that a setting may cost a usual job on average."""

_SAMPLE = 30_000
_LARGE_BATCH = 20
_UNLIMITED = 1000
_MEMORIES = (256, 352, 512, 768, 1024, 1769)
_LONG_JOBS = 10


@dataclass(frozen=True, slots=True)
class Option:
    """Settings of the worker's event source; `changes` are those of a `Setup`."""

    name: str
    changes: dict[str, Any]
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an option. Times are in seconds; `dollars` are those of a million jobs, for all functions."""

    option: Option
    case: Case
    waits: Sequence[float]

    @property
    def waited(self) -> float:
        """Of a job for a worker, on average."""
        return sum(self.waits) / len(self.waits)

    def waited_at(self, quantile: float) -> float:
        """The wait for a worker that a share of the jobs stay below."""
        return self.waits[min(len(self.waits) - 1, int(quantile * len(self.waits)))]

    @property
    def latency(self) -> float:
        """Of a job, on average."""
        return sum(self.case.outcome.latencies) / len(self.case.outcome.latencies)

    @property
    def dollars(self) -> float:
        return self.case.bill.by_service["Lambda"] * self.case.per_million


def run(simulator: Simulator, option: Option, rate: float, memory: float | None = None) -> Result:
    """Simulates `rate` jobs a second."""
    times = list(islice(arrivals.steady(_SAMPLE, _SAMPLE / rate), _SAMPLE))
    case = simulator.run(replace(simulator.base, **option.changes), times, memory)
    return Result(option, case, sorted(case.outcome.starts[job] - at for job, at in enumerate(times)))


def quiet() -> list[Option]:
    """At a million jobs a month, by the default of `WorkerConcurrency` and others."""
    return [
        Option("no window", {}, chosen=True),
        *(Option("no window", {"concurrency": workers}) for workers in (2, 3, 6, 8, 12)),
        Option("1 s, if a poller waited no longer", {"window": 1, "receive_seconds": 0}),
        Option("1 s, as AWS documents it", {"window": 1}),
    ]


def busy(simulator: Simulator) -> list[Option]:
    """At a million jobs a day."""
    least = limits.workers_for(A_DAY, simulator.full())
    chosen = int(least * ROOM)
    few, all_ = "1 s, few pollers", "1 s, as many pollers as workers"
    return [
        Option("no window", {"concurrency": chosen}, chosen=True),
        *(Option("no window", {"concurrency": workers}) for workers in (least, 40, 60, _UNLIMITED)),
        Option(few, {"concurrency": 60, "window": 1}),
        Option(all_, {"concurrency": 60, "window": 1, "pollers_first": 60}),
        Option(few, {"concurrency": 60, "window": 1, "batch_size": _LARGE_BATCH}),
        Option(all_, {"concurrency": 60, "window": 1, "batch_size": _LARGE_BATCH, "pollers_first": 60}),
    ]


def options_table(results: Sequence[Result]) -> str:
    """A line for each option."""
    rows: list[list[object]] = [
        [
            f"**{one.option.name}**" if one.option.chosen else one.option.name,
            one.case.setup.concurrency,
            one.case.setup.batch_size,
            f"{one.case.outcome.batch:.1f}",
            f"{one.waited:.1f} s",
            f"{one.waited_at(0.95):.1f} s",
            f"{one.waited_at(0.99):.1f} s",
            f"${one.dollars:,.1f}",
        ]
        for one in results
    ]
    heads = ["window", "workers", "`BatchSize`", "jobs a batch", "wait", "95 % below", "99 % below", "functions"]
    return table(heads, rows)


def memories(simulator: Simulator) -> list[Result]:
    """The worker's memory, at a million jobs a day. The last one has a whole processor."""
    chosen = next(option for option in busy(simulator) if option.chosen)
    return [run(simulator, chosen, A_DAY, memory) for memory in _MEMORIES]


def memories_table(simulator: Simulator, results: Sequence[Result]) -> str:
    """What each delays a usual job, ten of the longest, and a start, beside a whole processor."""
    inputs = simulator.inputs
    fastest = results[-1].latency
    rows: list[list[object]] = []
    for one in results:
        memory = one.case.memory
        share, chosen = simulator.share(memory), memory == inputs["function.worker_memory"]
        rows.append(
            [
                f"**{memory} MB**" if chosen else f"{memory} MB",
                f"{share:.0%}",
                f"{max(0.0, one.latency - fastest):.1f} s",
                f"{_LONG_JOBS * inputs['function.long_cpu'] * (1 / share - 1):.0f} s",
                f"{inputs['function.worker_start_cpu'] * (1 / share - 1):.1f} s",
                f"${one.dollars:,.1f}",
            ]
        )
    heads = ["memory", "of a processor", "a usual job", "ten of the longest", "a start, at worst", "functions"]
    return table(heads, rows)


def tables(simulator: Simulator) -> dict[str, str]:
    """The tables of the page."""
    return {
        "quiet": options_table([run(simulator, option, A_MONTH) for option in quiet()]),
        "busy": options_table([run(simulator, option, A_DAY) for option in busy(simulator)]),
        "memory": memories_table(simulator, memories(simulator)),
    }


def main() -> None:
    """Simulates all, and writes the tables into the page."""
    bodies = tables(Simulator(Inputs.load()))
    parts.write(PAGE, bodies)
    print("\n\n".join(bodies.values()))


if __name__ == "__main__":
    main()
