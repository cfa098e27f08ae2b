"""The costs of a deployment, as `docs/reference/operations.md` has them: `python -m benchmarks.costs` writes the table.

Jobs are simulated, and billed by the formula of the benchmarks: `benchmarks/simulation/cost.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks import parts
from benchmarks.report import table
from benchmarks.simulate import MILLION, REQUESTS_PER_SECOND, ROOM, SAMPLE_SECONDS, WORKERS, Case, Simulator, seconds
from benchmarks.simulation import arrivals, limits
from benchmarks.simulation.arrivals import DAY
from benchmarks.simulation.cost import MODEL, SERVICES, fixed
from benchmarks.simulation.inputs import Inputs

PAGE = "docs/reference/operations.md"
PART = "costs"

_MONTH_DAYS = 30
_BURST = 100_000
_BURST_WORKERS = 100


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs of which a sample is simulated, and billed for `jobs` of them: those of a month, or of a burst."""

    name: str
    jobs: float
    workers: int
    times: Callable[[], Iterable[float]]
    once: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What a load costs, in US dollars by service: each month with what the stack costs anyway, or a burst alone."""

    load: Load
    case: Case
    by_service: dict[str, float]

    @property
    def aws(self) -> float:
        return sum(dollars for service, dollars in self.by_service.items() if service != MODEL)

    @property
    def per_million(self) -> float:
        """What AWS is paid for a million such jobs, without what the stack costs anyway."""
        return self.case.bill.aws * self.case.per_million


def loads(simulator: Simulator) -> list[Load]:
    """A thousand a day, a million a month, a million a day, and a burst."""
    a_day = MILLION / DAY
    workers = int(limits.workers_for(a_day, simulator.full()) * ROOM)
    return [
        Load("1,000 a day", 1000 * _MONTH_DAYS, WORKERS, lambda: arrivals.steady(1000)),
        Load("a million a month", MILLION, WORKERS, lambda: arrivals.steady(round(MILLION / _MONTH_DAYS))),
        Load(
            "a million a day",
            MILLION * _MONTH_DAYS,
            workers,
            lambda: arrivals.steady(int(a_day * SAMPLE_SECONDS), SAMPLE_SECONDS),
        ),
        Load(
            "100,000 at once",
            _BURST,
            _BURST_WORKERS,
            lambda: arrivals.burst(_BURST, REQUESTS_PER_SECOND),
            once=True,
        ),
    ]


def cost(simulator: Simulator, load: Load) -> Cost:
    """Simulates a load."""
    case = simulator.run(replace(simulator.base, concurrency=load.workers), load.times())
    standing = fixed(simulator.inputs).by_service
    by_service = {
        service: dollars * load.jobs / case.outcome.jobs + (0.0 if load.once else standing[service])
        for service, dollars in case.bill.by_service.items()
    }
    return Cost(load, case, by_service)


def dollars(value: float) -> str:
    """An amount with three digits that count, and cents where there are any."""
    if round(value, 2) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if round(value, 1) < 100 else f"{value:,.0f}"


def costs_table(simulator: Simulator, costs: Sequence[Cost]) -> str:
    """The table of the page."""
    idle = fixed(simulator.inputs, chains=0)
    rows: list[list[object]] = [
        ["`WorkerConcurrency`", WORKERS, *(one.load.workers for one in costs)],
        ["jobs a batch", "", *(f"{one.case.outcome.batch:.1f}" for one in costs)],
        ["half of the jobs end within", "", *(seconds(one.case.outcome.latency(0.5)) for one in costs)],
    ]
    for service in SERVICES:
        if service != MODEL:
            amounts = (dollars(one.by_service[service]) for one in costs)
            rows.append([service, dollars(idle.by_service[service]), *amounts])
    rows += [
        ["**AWS**", f"**{dollars(idle.aws)}**", *(f"**{dollars(one.aws)}**" for one in costs)],
        ["a million such jobs", "", *(dollars(one.per_million) for one in costs)],
        ["**the model**", "0", *(dollars(one.by_service[MODEL]) for one in costs)],
    ]
    heads = ["US dollars", "no jobs", *(f"{one.load.name}{', once' if one.load.once else ''}" for one in costs)]
    return table(heads, rows)


def main() -> None:
    """Simulates all, and writes the table into the page."""
    simulator = Simulator(Inputs.load())
    body = costs_table(simulator, [cost(simulator, load) for load in loads(simulator)])
    parts.write(PAGE, {PART: body})
    print(body)


if __name__ == "__main__":
    main()
