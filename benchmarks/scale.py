"""Ten and a hundred million jobs a day, and ten million at once, for `docs/explanation/scale.md`.

    python -m benchmarks.scale

writes the tables into the page: what a simulation reaches, and beyond it what the formulas of
`benchmarks/simulation/scale.py` and `limits.py` come to.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from benchmarks import parts
from benchmarks.report import table
from benchmarks.simulate import MILLION, ROOM, WORKERS, Case, Simulator, seconds
from benchmarks.simulation import arrivals, limits, scale
from benchmarks.simulation.arrivals import DAY, SWING
from benchmarks.simulation.inputs import Inputs
from benchmarks.simulation.limits import Limit

PAGE = "docs/explanation/scale.md"

CELL = 10 * MILLION
LARGE = 100 * MILLION
BURST = 10 * MILLION
CELLS = 10
SIMULATED_BURST = MILLION
TIER = 5

_PEAK = 1 + SWING
_SECONDS = 600.0
_MOST_WORKERS = 1000
_RECENT_CREATE = 1  # units of the index `recent` for a job that is created
_RESTORED_UNTIL = 300.0
"""How long ago the last moment is to which a table can be restored:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PointInTimeRecoveryDescription.html
"""
_DEADLINE = DAY
_LONGEST_DEADLINE = 7 * DAY


def peak(jobs_a_day: float) -> float:
    """Jobs a second at the day's peak."""
    return jobs_a_day / DAY * _PEAK


class Paper:
    """What follows from the inputs and from one short simulation: of a worker that is never without jobs."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.inputs = simulator.inputs
        self.full = simulator.full()
        self.worker = self.full.received / self.full.billed
        self.model = limits.of_the_model(self.inputs, TIER, simulator.tokens_per_call)

    @property
    def workers(self) -> int:
        """Of a cell: as many as its peak needs, with the room that the other pages reckon with."""
        return int(limits.workers_for(peak(CELL), self.full) * ROOM)

    def quotas(self) -> list[Limit]:
        """What holds a stack whose parameters are at their most, the lowest first; with the model's limits."""
        of_the_model = [
            Limit(
                f"the model's usage tier {TIER}, {name}",
                limits.of_the_model(self.inputs, TIER, tokens),
                "ask the provider for more",
                "the model's account",
                f"limit.tier_{TIER}_requests" if name == "used tokens count" else f"limit.tier_{TIER}_tokens",
            )
            for name, tokens in (
                ("used tokens count", self.simulator.tokens_per_call),
                ("tokens asked for count", self.simulator.asked_per_call),
            )
        ]
        account = self.inputs["limit.account_concurrency"]
        found = [*limits.quotas(self.inputs, self.full, account=account), *of_the_model]
        return sorted(found, key=lambda limit: limit.per_second)


# --- tables ----------------------------------------------------------------------------------------------------------


def quotas_table(paper: Paper) -> str:
    """Each quota, how much of it ten million jobs a day take at their peak, and how many a hundred million take."""
    rows: list[list[object]] = [
        [
            limit.name,
            limit.scope,
            f"{limit.per_second:,.0f}",
            f"{CELL / DAY / limit.per_second:.0%}, {peak(CELL) / limit.per_second:.0%}",
            scale.needed(peak(LARGE), limit.per_second),
            f"[source]({paper.inputs.numbers[limit.source].source})",
            limit.what_to_do,
        ]
        for limit in paper.quotas()
    ]
    heads = [
        "quota",
        "of each",
        "jobs a second, most",
        "10 million a day take: mean, peak",
        "100 million a day need, at the peak",
        "",
        "what to do",
    ]
    return table(heads, rows, texts=(0, 1, 5, 6))


@dataclass(frozen=True, slots=True)
class _Run:
    name: str
    case: Case
    is_burst: bool = False


def simulated(paper: Paper) -> list[_Run]:
    """A cell at its mean and at its peak, and a million jobs at once; with a table that has grown to its quota."""
    grown = replace(paper.simulator.base, table_writes=paper.inputs["limit.table_writes_quota"])

    def steady(workers: int, per_second: float) -> Case:
        # A steady state: pollers have grown already.
        setup = replace(grown, concurrency=workers, pollers_first=workers)
        return paper.simulator.run(setup, arrivals.steady(int(per_second * _SECONDS), _SECONDS))

    posted = paper.inputs["limit.table_writes_quota"] / paper.inputs["table.create_writes"]
    burst = replace(grown, concurrency=_MOST_WORKERS)
    return [
        _Run("10 million a day, at the mean", steady(paper.workers, CELL / DAY)),
        _Run("10 million a day, at the peak", steady(paper.workers, peak(CELL))),
        _Run(f"{SIMULATED_BURST:,} at once", paper.simulator.run(burst, arrivals.burst(SIMULATED_BURST, posted)), True),
    ]


def simulated_table(runs: Iterable[_Run]) -> str:
    """What came of the simulations."""
    rows: list[list[object]] = []
    for run in runs:
        outcome = run.case.outcome
        rows.append(
            [
                run.name,
                run.case.setup.concurrency,
                *(seconds(outcome.latency(quantile)) for quantile in (0.5, 0.95)),
                seconds(outcome.ended_at) if run.is_burst else "",
                f"{outcome.batch:.1f}",
                f"{10 * outcome.most_invocations:,}",
                f"{outcome.most_calls:,}",
                f"${run.case.bill.aws * run.case.per_million:,.0f}",
            ]
        )
    heads = ["", "workers", "p50", "p95", "all done", "jobs a batch", "in flight, most", "calls at once"]
    return table([*heads, "AWS, a million"], rows)


def burst_table(paper: Paper) -> str:
    """How long ten million jobs take to come in, and to be done, by what holds them."""
    rows: list[list[object]] = [
        ["in", name, _span(of(BURST)), _span(of(BURST / CELLS)), ""] for name, of in _ways_in(paper).items()
    ]
    rows += [
        ["done", name, _span(BURST / most), _span(BURST / CELLS / most), _verdict(BURST / most)]
        for name, most in _ways_out(paper).items()
    ]
    return table(
        ["", "what holds them", "one cell", "a tenth, in each of ten cells", "deadline in one cell"], rows, (0, 1, 4)
    )


def _ways_in(paper: Paper) -> dict[str, Callable[[float], float]]:
    """The seconds in which jobs are created, by what holds them."""
    inputs = paper.inputs
    quota, batch = inputs["limit.table_writes_quota"], scale.batch_create_writes(inputs)
    return {
        "the gateway's quota, a request a job": lambda jobs: jobs / inputs["limit.gateway_rate"],
        "the table's quota, a request a job": lambda jobs: jobs * inputs["table.create_writes"] / quota,
        "the table's quota, batches of 100": lambda jobs: jobs * batch / quota,
        "a new table, batches of 100": lambda jobs: scale.seconds_on_a_new_table(
            jobs * batch, inputs["limit.table_writes"], quota
        ),
        "one tenant: the index `recent`": lambda jobs: jobs * _RECENT_CREATE / inputs["limit.partition_writes"],
    }


def _ways_out(paper: Paper) -> dict[str, float]:
    """The jobs a second that are done, by what holds them."""
    inputs, simulator = paper.inputs, paper.simulator
    partition = inputs["limit.partition_writes"]
    return {
        "one tenant: the day's usage, as jobs end": partition / (inputs["table.tenant_writes"] / 2),
        "the limiter's item of one model and tier": partition / inputs["table.limiter_writes"],
        f"`WorkerConcurrency` {_MOST_WORKERS:,}": _MOST_WORKERS * paper.worker,
        f"`WorkerConcurrency` {WORKERS}, the default": WORKERS * paper.worker,
        f"the model's usage tier {TIER}, used tokens count": paper.model,
        f"the model's usage tier {TIER}, tokens asked for count": limits.of_the_model(
            inputs, TIER, simulator.asked_per_call
        ),
        "the model's usage tier 4, used tokens count": limits.of_the_model(inputs, 4, simulator.tokens_per_call),
    }


def asks_table(paper: Paper) -> str:
    """What the jobs of a backlog cost by asking for slots, where the model's account is what holds them."""
    inputs, most = paper.inputs, paper.model
    rows: list[list[object]] = []
    for jobs in (BURST // 100, BURST // 10, BURST):
        asks = scale.asks_a_job(jobs, most)
        rows.append(
            [
                f"{jobs:,}",
                _span(jobs / most),
                f"{scale.asks_a_second(jobs, most):,.0f}",
                f"{scale.refused_reads_a_second(inputs, jobs, most):,.0f}",
                f"{asks:.0f}",
                f"${scale.dollars_of_asks(inputs, jobs * (asks - 1)):,.0f}",
                f"{scale.sweep_seconds(inputs, jobs):.1f} s",
            ]
        )
    heads = ["jobs that wait", "done after", "asks a second", "read units a second", "asks a job", "cost of asks"]
    return table([*heads, "a sweep, at least"], rows)


def loss_table(paper: Paper) -> str:
    """What a cell of ten million jobs a day holds, and what it loses."""
    inputs, retained = paper.inputs, 30
    kept = CELL * retained
    lost = CELL / DAY * _RESTORED_UNTIL
    call = inputs["work.input_tokens"] * inputs["price.model_input"]
    cost = call + inputs["work.output_tokens"] * inputs["price.model_output"]
    # The mean of a lognormal.
    length = inputs["work.steps"] * inputs["work.call_seconds"] * math.exp(inputs["work.call_spread"] ** 2 / 2)
    rows: list[list[object]] = [
        [
            "jobs and results that it keeps, of 30 days",
            f"{kept:,.0f}",
            f"{kept * inputs['work.job_kilobytes'] / 1e9:.1f} TB",
        ],
        ["jobs that run at the peak", f"{peak(CELL) * length:,.0f}", f"${peak(CELL) * length * cost:,.2f} of calls"],
        ["jobs created in the last five minutes", f"{lost:,.0f}", f"${lost * cost:,.0f} of calls"],
        ["jobs that callers can't post in an hour", f"{CELL / 24:,.0f}", ""],
    ]
    return table(["of a cell", "jobs", ""], rows)


def _span(value: float) -> str:
    """A time as people read it, up to days."""
    return seconds(value) if value < 2 * DAY else f"{value / DAY:,.1f} days"


def _verdict(value: float) -> str:
    if value <= _DEADLINE:
        return "kept: a day, the default"
    return "kept: seven days, the most" if value <= _LONGEST_DEADLINE else "missed"


def on_paper(paper: Paper) -> dict[str, str]:
    """The tables that need no long simulation, by their places in the page."""
    return {
        "quotas": quotas_table(paper),
        "burst": burst_table(paper),
        "asks": asks_table(paper),
        "loss": loss_table(paper),
    }


def main() -> None:
    """Works all out, and writes the page's tables."""
    paper = Paper(Simulator(Inputs.load()))
    bodies = {**on_paper(paper), "simulated": simulated_table(simulated(paper))}
    parts.write(PAGE, bodies)
    for body in bodies.values():
        print(body, end="\n\n")


if __name__ == "__main__":
    main()
