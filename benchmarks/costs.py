"""The costs of a deployment, as in `docs/reference/operations.md`: `python -m benchmarks.costs` writes the tables.

Jobs are simulated, and billed by the formula of the benchmarks: `benchmarks/simulation/cost.py`. What they cost before
is simulated in the same way, with the numbers of then.
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
CHANGE = "change"

PARTS: dict[str, tuple[str, ...]] = {
    "gateway": ("API Gateway",),
    "table": ("DynamoDB",),
    "functions": ("Lambda",),
    "queue, logs, traces": ("SQS", "CloudWatch", "X-Ray", "Secrets Manager"),
}
"""Services by what a million jobs a day may cost of them."""

GOALS = {"gateway": 10.5, "table": 21.0, "functions": 16.0, "queue, logs, traces": 7.0}
"""US dollars of a million jobs, at a million a day."""

GOAL = 55.0
GOAL_LOAD = "a million a day"

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

    def part(self, name: str) -> float:
        """What a million such jobs cost of a part, one of `PARTS`, without what the stack costs anyway."""
        return sum(self.case.bill.by_service[service] for service in PARTS[name]) * self.case.per_million


def loads(simulator: Simulator) -> list[Load]:
    """A thousand a day, a million a month, a million a day, and a burst."""
    a_day = MILLION / DAY
    workers = int(limits.workers_for(a_day, simulator.full()) * ROOM)
    return [
        Load("1,000 a day", 1000 * _MONTH_DAYS, WORKERS, lambda: arrivals.steady(1000)),
        Load("a million a month", MILLION, WORKERS, lambda: arrivals.steady(round(MILLION / _MONTH_DAYS))),
        Load(
            GOAL_LOAD,
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


def change_table(before: Sequence[Cost], now: Sequence[Cost]) -> str:
    """A million jobs by parts of AWS, before and now, and the goals. Each has the workers that it needs."""
    (goal,) = (one for one in now if one.load.name == GOAL_LOAD)
    rows: list[list[object]] = [
        [
            name,
            *(f"{dollars(old.part(name))} → {dollars(new.part(name))}" for old, new in zip(before, now, strict=True)),
            *_against(goal.part(name), GOALS[name]),
        ]
        for name in PARTS
    ]
    together = (
        f"{dollars(old.per_million)} → {dollars(new.per_million)}" for old, new in zip(before, now, strict=True)
    )
    rows.append(["**together**", *(f"**{one}**" for one in together), *_against(goal.per_million, GOAL)])
    names = (f"{one.load.name}" for one in now)
    return table(["a million jobs, US dollars", *names, f"goal, at {GOAL_LOAD}", ""], rows)


def _against(value: float, goal: float) -> list[object]:
    return [dollars(goal), "met" if round(value, 2) <= goal else "missed"]


def bodies(inputs: Inputs) -> dict[str, str]:
    """The tables of the page."""
    simulator, earlier = Simulator(inputs), Simulator(inputs.before)
    now = [cost(simulator, load) for load in loads(simulator)]
    before = [cost(earlier, load) for load in loads(earlier)]
    return {PART: costs_table(simulator, now), CHANGE: change_table(before, now)}


def main() -> None:
    """Simulates all, and writes the tables into the page."""
    written = bodies(Inputs.load())
    parts.write(PAGE, written)
    print("\n\n".join(written.values()))


if __name__ == "__main__":
    main()
