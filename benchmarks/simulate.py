"""What the stack does and costs on AWS, by simulation: `python -m benchmarks.simulate [--no-check]`.

The numbers that it stands on are in `inputs.toml`. At the end a small run is held against the embedded stack, which is
not AWS: it checks the model's logic, not its numbers.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.report import Fragment, table
from benchmarks.simulation import arrivals, limits
from benchmarks.simulation.arrivals import DAY
from benchmarks.simulation.cost import MODEL, SERVICES, Bill, bill, fixed
from benchmarks.simulation.emulated import CALL_SECONDS, Comparison, compare
from benchmarks.simulation.events import simulate
from benchmarks.simulation.inputs import Inputs
from benchmarks.simulation.pacing import AskedAtClaim, Pacing
from benchmarks.simulation.setup import Outcome, Setup
from jobchain.chains import CHAINS
from jobchain.pace import Rates

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

MILLION = 1_000_000
BURST = 100_000
# The template's defaults.
WORKERS = 5
RATE = 120
TABLE_SECONDS = 300.0
REQUESTS_PER_SECOND = 100
# A steady state is reached within minutes: two hours tell what a day would.
SAMPLE_SECONDS = 7200.0
BATCHES = (1, 2, 5, 10)
MEMORIES = (256, 352, 512, 1024, 1769)
# So many more workers than full batches would need, as what comes at random comes in clusters: then a job waits for one
# for less than a second on average. See docs/explanation/batches.md.
ROOM = 1.35
CHECKED_JOBS = 200
CHECKED_WORKERS = (2, 4)


@dataclass(frozen=True, slots=True)
class Case:
    """A simulated run, and its bill for the jobs that came."""

    setup: Setup
    outcome: Outcome
    bill: Bill
    memory: float

    @property
    def per_million(self) -> float:
        """What turns its dollars into those of a million jobs."""
        return MILLION / self.outcome.jobs


class Simulator:
    """Runs setups on one set of inputs."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.base = Setup(
            pollers_first=int(inputs["limit.pollers_first"]),
            pollers_growth=inputs["limit.pollers_growth"] / 60,
            cold_start=inputs["function.worker_start"]
            + inputs["function.worker_start_cpu"] / inputs["function.start_share"],
            idle_seconds=inputs["function.idle_seconds"],
            processor_share=self.share(inputs["function.worker_memory"]),
            cpu_seconds=self.cpu_seconds,
            receive_seconds=inputs["limit.window_wait"],
            write_seconds=inputs["function.write_seconds"],
            steps=int(inputs["work.steps"]),
            call_seconds=inputs["work.call_seconds"],
            call_spread=inputs["work.call_spread"],
            table_writes=inputs["limit.table_writes"],
            create_writes=inputs["table.create_writes"],
            claim_writes=inputs["table.claim_writes"],
            step_writes=inputs["table.step_writes"],
            finish_writes=inputs["table.finish_writes"],
            release_writes=inputs["table.release_writes"],
            concurrency=WORKERS,
        )

    @property
    def cpu_seconds(self) -> float:
        """Of a job, with its answers."""
        return (
            self.inputs["function.worker_cpu"] + self.inputs["work.output_tokens"] * self.inputs["function.token_cpu"]
        )

    def share(self, memory: float) -> float:
        """The share of a processor that an environment with this memory has; Python uses one at most."""
        return min(1.0, memory / self.inputs["function.full_cpu_memory"])

    def run(
        self, setup: Setup, times: Iterable[float], memory: float | None = None, pacing: Pacing | None = None
    ) -> Case:
        """A run, and what it costs."""
        memory = memory or self.inputs["function.worker_memory"]
        began = time.monotonic()
        outcome = simulate(replace(setup, processor_share=self.share(memory)), times, pacing)
        say(f"{outcome.jobs:,} jobs in {time.monotonic() - began:.0f} s: p50 {outcome.latency(0.5):.1f} s")
        return Case(setup, outcome, bill(outcome, self.inputs, memory_mb=memory), memory)

    def on_a_new_table(self, rate: float, seconds: float, limit: float | None = None) -> Outcome:
        """As many workers as AWS takes, and `rate` jobs a second. The limiter's units count."""
        setup = replace(
            self.base,
            concurrency=1000,
            pollers_first=1000,
            table_writes=self.inputs["limit.table_writes"] if limit is None else limit,
            claim_writes=self.base.claim_writes + self.inputs["table.limiter_writes"],
        )
        return simulate(setup, arrivals.steady(int(rate * seconds), seconds))

    def full(self, batch: int = 10, concurrency: int = WORKERS) -> Outcome:
        """Workers that never wait for jobs: one batch after the other, all of them full."""
        setup = replace(self.base, batch_size=batch, concurrency=concurrency, pollers_first=concurrency)
        return simulate(replace(setup, table_writes=float("inf")), [0.0] * (concurrency * batch * 20))

    def tier(self, tier: int, tokens_per_call: float, setup: Setup) -> Setup:
        """`setup` with the model server's limits for a usage tier."""
        return replace(
            setup,
            requests_per_minute=self.inputs[f"limit.tier_{tier}_requests"],
            tokens_per_minute=self.inputs[f"limit.tier_{tier}_tokens"],
            tokens_per_call=tokens_per_call,
        )

    @property
    def tokens_per_call(self) -> float:
        return (self.inputs["work.input_tokens"] + self.inputs["work.output_tokens"]) / self.inputs["work.steps"]

    @property
    def asked_per_call(self) -> float:
        """Where the server counts the room that is asked for, not what is used of it."""
        rooms = [step.max_output_tokens or 0 for step in GUIDELINE_CHECKLIST.calls]
        return (self.inputs["work.input_tokens"] + sum(rooms)) / self.inputs["work.steps"]


def say(text: str) -> None:
    """Tells how far it is."""
    print(text, file=sys.stderr, flush=True)


def seconds(value: float) -> str:
    """A time as people read it."""
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def latencies(outcome: Outcome) -> list[object]:
    """p50, p95 and p99."""
    return [seconds(outcome.latency(quantile)) for quantile in (0.5, 0.95, 0.99)]


# --- sections --------------------------------------------------------------------------------------------------------


def batches(simulator: Simulator) -> str:
    """How batches and workers change latency and cost."""
    rate = MILLION / DAY
    jobs = int(rate * SAMPLE_SECONDS)
    rows: list[list[object]] = []
    for batch in BATCHES:
        fitting = int(limits.workers_for(rate, simulator.full(batch)) * ROOM)
        for workers in sorted({min(fitting, 1000), 1000}):
            setup = replace(simulator.base, batch_size=batch, concurrency=workers)
            case = simulator.run(setup, arrivals.steady(jobs, SAMPLE_SECONDS))
            rows.append(_batch_row(simulator, case))
    heads = ["BatchSize", "workers", "jobs a batch", "p50", "p95", "GB-s a job", "waiting", "AWS"]
    return table(heads, rows)


def _batch_row(simulator: Simulator, case: Case) -> list[object]:
    outcome, inputs = case.outcome, simulator.inputs
    gb_seconds = outcome.billed * case.memory / 1024
    working = simulator.cpu_seconds / simulator.share(case.memory) * outcome.jobs / outcome.billed
    waiting = gb_seconds * inputs["price.lambda_gb_second"] * (1 - working) / case.bill.aws
    return [
        case.setup.batch_size,
        case.setup.concurrency,
        f"{outcome.batch:.1f}",
        *latencies(outcome)[:2],
        f"{gb_seconds / outcome.jobs:.2f}",
        f"{waiting:.0%}",
        f"${case.bill.aws * case.per_million:,.0f}",
    ]


def memories(simulator: Simulator) -> str:
    """How the worker's memory, which is its processor, changes latency and cost with full batches."""
    rate = MILLION / DAY
    workers = int(limits.workers_for(rate, simulator.full()) * ROOM)
    rows: list[list[object]] = []
    for memory in MEMORIES:
        setup = replace(simulator.base, concurrency=workers)
        case = simulator.run(setup, arrivals.steady(int(rate * SAMPLE_SECONDS), SAMPLE_SECONDS), memory)
        lambda_cost = case.bill.by_service["Lambda"] * case.per_million
        rows.append([f"{memory} MB", *latencies(case.outcome)[:2], f"${lambda_cost:,.0f}"])
    return table(["memory", "p50", "p95", "Lambda"], rows)


def days(simulator: Simulator, workers: int) -> tuple[str, Case]:
    """A million jobs a day; gives the steady day on `workers` too."""
    peak = math.ceil(workers * (1 + arrivals.SWING))
    steady = simulator.run(replace(simulator.base, concurrency=workers), arrivals.steady(MILLION))
    cases = [
        ("steady", simulator.run(simulator.base, arrivals.steady(MILLION))),
        ("steady", steady),
        *(
            ("by day and night", simulator.run(replace(simulator.base, concurrency=count), arrivals.daily(MILLION)))
            for count in (workers, peak)
        ),
    ]
    rows = [
        [
            name,
            case.setup.concurrency,
            *_run_row(case),
            f"{case.outcome.failed / case.outcome.jobs:.0%}",
            f"${case.bill.aws * case.per_million:,.0f}",
        ]
        for name, case in cases
    ]
    heads = ["a million a day", "workers", "p50", "p95", "p99", "jobs waiting, most", "invocations, most", "failed"]
    return table([*heads, "AWS"], rows), steady


def _run_row(case: Case) -> list[object]:
    outcome = case.outcome
    return [*latencies(outcome), f"{outcome.most_waiting:,}", f"{outcome.most_invocations:,}"]


def bursts(simulator: Simulator) -> str:
    """100,000 jobs as fast as the stage lets them in, without and with limits of the model's server."""
    rows: list[list[object]] = []
    for tier in (None, 5, 4):
        for workers in (WORKERS, 100, 1000):
            setup, pacing = replace(simulator.base, concurrency=workers), None
            if tier:
                setup = simulator.tier(tier, simulator.tokens_per_call, setup)
                pacing = AskedAtClaim(Rates(setup.requests_per_minute, setup.tokens_per_minute))
            case = simulator.run(setup, arrivals.burst(BURST, REQUESTS_PER_SECOND), pacing=pacing)
            outcome = case.outcome
            rows.append(
                [
                    f"tier {tier}" if tier else "no limit",
                    workers,
                    seconds(outcome.ended_at),
                    *latencies(outcome)[:2],
                    f"{outcome.most_invocations:,}",
                    f"{outcome.most_calls:,}",
                    f"{outcome.refused / outcome.calls:.0%}",
                    f"{outcome.failed / outcome.jobs:.1%}",
                ]
            )
    heads = ["model", "workers", "all done", "p50", "p95", "invocations, most", "calls at once", "calls refused"]
    return table([*heads, "jobs failed"], rows)


def tiers(simulator: Simulator) -> str:
    """What each usage tier lets through."""
    rows: list[list[object]] = []
    for tier in limits.TIERS:
        for name, tokens in (("used", simulator.tokens_per_call), ("asked for", simulator.asked_per_call)):
            most = limits.of_the_model(simulator.inputs, tier, tokens)
            at_once = most * simulator.base.steps * simulator.base.call_seconds
            rows.append([tier, name, f"{most * DAY:,.0f}", f"{at_once:,.0f}"])
    return table(["tier", "tokens counted", "jobs a day, most", "calls at once that fit"], rows)


def new_table(simulator: Simulator) -> str:
    """The units of jobs by table and index, and what that leaves of a new table's limit."""
    inputs = simulator.inputs
    indexes = {f"the index `{name}`": inputs[f"table.{name}_writes"] for name in ("recent", "unfinished", "due")}
    together = limits.job_writes(inputs)
    rows: list[list[object]] = [
        [name, f"{units:g}", f"{units * RATE:,.0f}", f"{inputs['limit.table_writes'] / units:,.0f}"]
        for name, units in {
            "the table": round(together - sum(indexes.values())),
            **indexes,
            "all together": round(together),
            "with the limiter": round(together + inputs["table.limiter_writes"]),
        }.items()
    ]
    return table(["", "write units a job", f"a second, at {RATE} jobs", "jobs a second at the limit"], rows)


def _waits(simulator: Simulator) -> str:
    """What jobs wait for a new table, at several rates."""
    rows: list[list[object]] = []
    for rate in (60, RATE, 140, 200):
        outcome = simulator.on_a_new_table(rate, TABLE_SECONDS)
        rows.append([rate, f"{outcome.table_wait / outcome.jobs:.2f} s", *latencies(outcome)[:2]])
    return table(["jobs a second", "a job's writes wait", "p50", "p95"], rows)


def ladder(simulator: Simulator) -> str:
    """Each limit in jobs per day, the lowest first."""
    found = limits.of_the_stack(
        simulator.inputs,
        simulator.full(),
        concurrency=WORKERS,
        requests_per_second=REQUESTS_PER_SECOND,
        account=simulator.inputs["limit.account_concurrency"],
    )
    rows: list[list[object]] = [
        [limit.name, f"{limit.per_second:,.1f}", f"{limit.per_day:,.0f}", limit.what_to_do] for limit in found
    ]
    return table(["limit", "jobs a second", "jobs a day", "what to do"], rows)


def bills(simulator: Simulator, case: Case) -> str:
    """A million jobs by service, and a month without any."""
    idle = fixed(simulator.inputs, chains=0).by_service
    cost = {name: dollars * case.per_million for name, dollars in case.bill.by_service.items()}
    aws = case.bill.aws * case.per_million
    rows: list[list[object]] = [
        [name, f"${cost[name]:,.2f}", "–" if name == MODEL else f"{cost[name] / aws:.0%}", f"${idle[name]:,.2f}"]
        for name in SERVICES
    ]
    rows.append(["AWS together", f"${aws:,.2f}", "100%", f"${sum(idle.values()):,.2f}"])
    return table(["", "a million jobs", "of AWS", "a month without jobs"], rows)


def checks(comparisons: list[Comparison]) -> str:
    """The simulation beside the embedded stack."""
    rows: list[list[object]] = []
    for one in comparisons:
        for name, makespan, p50, p95 in (
            ("measured", one.measured.makespan, one.measured.latency(0.5), one.measured.latency(0.95)),
            ("simulated", one.simulated.ended_at, one.simulated.latency(0.5), one.simulated.latency(0.95)),
        ):
            rows.append(
                [
                    f"{one.workers} workers, {name}",
                    *(seconds(value) for value in (makespan, p50, p95)),
                    f"{one.measured.free:.0%}" if name == "measured" else "",
                ]
            )
    return table([f"{CHECKED_JOBS} jobs at once", "all done", "p50", "p95", "processors free"], rows)


def _tenants(inputs: Inputs) -> str:
    """When one tenant alone meets the limit of a partition."""
    most = inputs["limit.partition_writes"]
    day, unfinished, recent = (inputs[f"table.{name}_writes"] for name in ("tenant", "unfinished", "recent"))
    return (
        f"A partition takes {most:,.0f} units a second, and one tenant's items share a partition key: its daily usage"
        f" takes {day:g} units a job, so that one tenant alone is held at {most / day:,.0f} jobs a second; the index"
        f" `unfinished` takes {unfinished:g} ({most / unfinished:,.0f} jobs a second), `recent` {recent:g}"
        f" ({most / recent:,.0f}). DynamoDB may split a partition that stays hot, by the sort key."
    )


def _advice(simulator: Simulator, full: Outcome, workers: int) -> str:
    """What the template's defaults are good for."""
    each = full.received / full.billed
    tokens = {tier: limits.of_the_model(simulator.inputs, tier, simulator.tokens_per_call) for tier in limits.TIERS}
    fitting = [f"{tier}: {max(1, math.floor(most / each))}" for tier, most in tokens.items()]
    lines = [
        "Batches of ten are the best of those that were tried: they cost least, and make no job slower by more than a"
        " second.",
        f"`WorkerConcurrency` {WORKERS} is enough for {WORKERS * each * DAY:,.0f} jobs a day, if they come evenly. More"
        f" jobs want a worker for each {each / ROOM:.2f} jobs a second, at the peak: {workers} for a million a day that"
        f" come evenly, {math.ceil(workers * (1 + arrivals.SWING))} for those of day and night. Many more workers than"
        " that make batches small, and AWS dearer.",
        "The model's limits may be lower: workers wait for them then, and more of them make no job faster. By usage"
        f" tier, with full batches, and tokens counted as they are used, the limits are used up by {'; '.join(fitting)}"
        " workers. Its minimum is 2. Where jobs wait for limits, batches are not full, and it takes up to ten times as"
        " many.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def report(simulator: Simulator, comparisons: list[Comparison]) -> str:
    """The whole section."""
    inputs = simulator.inputs
    workers = int(limits.workers_for(MILLION / DAY, simulator.full()) * ROOM)
    by_day, steady = days(simulator, workers)
    each = simulator.full()
    parts = [
        f"Prices and limits of {inputs.as_of:%Y-%m-%d} in us-east-1, from `benchmarks/inputs.toml`, which names a"
        f" source for each; {inputs.unchecked} of its {len(inputs.numbers)} numbers are assumed, worked out or"
        " second-hand, and are marked so. Free tiers are left out. Nothing here was measured on AWS.",
        f"A job is {inputs['work.steps']:g} calls of {inputs['work.call_seconds']:g} s each (median, lognormal);"
        f" {inputs['work.input_tokens']:,.0f} tokens in, {inputs['work.output_tokens']:,.0f} out, on `gpt-6-luna`.",
        "### What follows for the parameters",
        _advice(simulator, each, workers),
        "### What a million jobs cost",
        bills(simulator, steady),
        f"On {workers} workers, at a steady rate, each job posted by itself, and looked at {inputs['work.gets']:g}"
        " times.",
        "### Batches",
        "A million jobs a day, two hours of it. *Waiting* is what a worker that waits for the model costs, of all that"
        " AWS is paid. A poller takes all waiting messages, so batches fill up only where jobs wait: with as many"
        " workers as it likes AWS runs nearly every job alone. A limit on workers that is little above the need makes"
        " the batches. [Batches](batches.md) has the alternatives, a batching window among them, and what each delays.",
        batches(simulator),
        f"The worker's memory, which is its processor, on {workers} workers:",
        memories(simulator),
        "### A million jobs a day",
        by_day,
        f"*By day and night* the rate goes as a sine, at its peak {1 + arrivals.SWING:g} times the mean. Jobs fail at"
        " their deadline, a day after they came.",
        "### 100,000 jobs at once",
        f"Posted one by one, as fast as the stage's {REQUESTS_PER_SECOND} requests a second let them in, which takes"
        f" {BURST / REQUESTS_PER_SECOND / 60:.0f} minutes.",
        f"A new table takes {inputs['limit.table_writes']:,.0f} write units a second, of which each job needs"
        f" {limits.job_writes(inputs):.0f}. In truth it refuses what is too much, and grows within half an hour; here"
        " it makes it wait.",
        bursts(simulator),
        "On the tiers, workers keep to the limits, which are configured.",
        "### A new table",
        f"A new table on demand takes {inputs['limit.table_writes']:,.0f} write units a second, and so does each of"
        " its indexes. The units are counted for a text of 8 KB and outputs of 2 KB"
        " (`tests/unit/test_table_cost.py`); a short text takes 20. The last lines are stricter than AWS: table and"
        " indexes share one limit, and the limiter's two units count, a grant and a settlement.",
        new_table(simulator),
        f"Simulated with that shared limit, for {TABLE_SECONDS / 60:g} minutes, with as many workers as AWS takes:",
        _waits(simulator),
        _tenants(inputs),
        "### Which limit binds first",
        f"With the template's defaults. A worker with full batches gets through"
        f" {each.received / each.billed:.2f} jobs a second.",
        ladder(simulator),
        "### The model's limits",
        "The server may count the tokens that a call uses, or those that it asks room for (`max_output_tokens` of the"
        " chain's steps); limits are those of `gpt-5-nano`. What backlogs come to within them is in the next section.",
        tiers(simulator),
    ]
    if comparisons:
        parts += [
            "### Held against the embedded stack",
            f"Model calls of {CALL_SECONDS:g} s, batches of up to 10, all jobs there at once. The simulation is given"
            " this machine's numbers: how long a job takes alone, what one takes of the processors, and what other"
            " programs left of them.",
            checks(comparisons),
        ]
    return "\n\n".join(parts)


def main() -> None:
    """Simulates all, and keeps the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--no-check", action="store_true", help="leave out the runs on the embedded stack")
    chosen = parser.parse_args()
    simulator = Simulator(Inputs.load())
    comparisons = [] if chosen.no_check else [compare(workers, CHECKED_JOBS) for workers in CHECKED_WORKERS]
    body = report(simulator, comparisons)
    Fragment("Scale and cost, by simulation", body).write("80-simulation")
    print(body)


if __name__ == "__main__":
    main()
