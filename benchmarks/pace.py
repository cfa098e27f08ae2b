"""Backlogs on accounts with limits, by simulation: `python -m benchmarks.pace [--jobs 20000]`.

The limiter is the shipped one (`jobchain.pacer`), on a table in memory; queue, workers and the model's server are
simulated (`benchmarks.simulation`). Each run is compared with its account's own limit: 1.00 is an account that is never
idle. It writes `.local/bench/81-pace.json`, a section of `docs/explanation/benchmarks.md`.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from benchmarks.report import Fragment, table
from benchmarks.simulate import Simulator, say
from benchmarks.simulation.events import simulate
from benchmarks.simulation.inputs import Inputs
from benchmarks.simulation.pacing import AskedAtClaim, HandedOutAtPost
from benchmarks.simulation.setup import Headers, Setup
from jobchain.chains import CHAINS
from jobchain.pace import Rates

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

JOBS = 20_000
TIERS = (1, 2, 4)
LONGEST_DEADLINE = 604_800.0
SPARE = 1.5
"""So many times as many workers as the limit needs if each has one job of the account at a time."""

BACKLOG = 600
SMALL = 6
MAY_TAKE = 60
"""A second tenant's `SMALL` jobs, behind `BACKLOG` of another one, may take as long as this many that are alone.

They are alone on an account whose limits are configured: within limits that are unknown, so few run all at once.
"""
SEEDS = (1, 2, 3, 4, 5)

MOST_REFUSED = 0.01
MOST_SPAN = 1.05
MOST_SPAN_LEARNED = 1 / 0.75
MOST_MEDIAN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One account, and what is known of it. `at_post` is the design that was tried and not built."""

    tier: int
    asked: bool
    configured: bool
    windows: bool = False
    headers: Headers = "right"
    workers: int = 0  # as many as the limit needs
    at_post: bool = False

    @property
    def counted(self) -> str:
        return "asked" if self.asked else "used"

    @property
    def known(self) -> str:
        return "configured" if self.configured else "learned"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a case: `span` and `median` are the last job's end and the median start, in the limit's own time."""

    case: Case
    workers: int
    failed: int
    refused: float
    span: float
    median: float
    asks: float
    writes: float
    seconds: float

    @property
    def missed(self) -> list[str]:
        """Which goals it misses."""
        most = MOST_SPAN if self.case.configured else MOST_SPAN_LEARNED
        return [
            name
            for name, is_met in (
                ("failed", self.failed == 0),
                ("refused", self.refused <= MOST_REFUSED),
                ("last end", self.span <= most),
                ("median start", self.median <= MOST_MEDIAN),
            )
            if not is_met
        ]


@dataclass(frozen=True, slots=True)
class Second:
    """A second tenant's times, and those that it may take, in seconds, by seed."""

    case: Case
    took: Sequence[float]
    may_take: Sequence[float]

    @property
    def is_met(self) -> bool:
        return statistics.median(self.took) <= statistics.median(self.may_take)


class Accounts:
    """Sets up cases, from the simulation's inputs."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        simulator = Simulator(inputs)
        calls = inputs["work.steps"]
        caps = tuple(float(step.max_output_tokens or 0) for step in GUIDELINE_CHECKLIST.calls)
        self._base = replace(
            simulator.base,
            input_tokens=inputs["work.input_tokens"] / calls,
            output_tokens=inputs["work.output_tokens"] / calls,
            output_caps=caps,
            deadline_seconds=LONGEST_DEADLINE,
            table_writes=math.inf,
        )
        self.asked = inputs["work.input_tokens"] + sum(caps)
        self.used = inputs["work.input_tokens"] + inputs["work.output_tokens"]

    def limits(self, tier: int) -> Rates:
        """A usage tier's."""
        return Rates(self._inputs[f"limit.tier_{tier}_requests"], self._inputs[f"limit.tier_{tier}_tokens"])

    def each(self, case: Case) -> float:
        """What a job takes of the account's limit, in seconds."""
        limits, tokens = self.limits(case.tier), self.asked if case.asked else self.used
        assert limits.requests
        assert limits.tokens
        return max(60 * self._inputs["work.steps"] / limits.requests, 60 * tokens / limits.tokens)

    def workers(self, case: Case) -> int:
        """As many as the limit needs if each of them has one job of it, and half as many more."""
        # The mean of a lognormal.
        call = self._base.call_seconds * math.exp(self._base.call_spread**2 / 2)
        return case.workers or max(2, math.ceil(SPARE * self._inputs["work.steps"] * call / self.each(case)))

    def setup(self, case: Case, seed: int = 1) -> Setup:
        """What is simulated."""
        limits = self.limits(case.tier)
        return replace(
            self._base,
            requests_per_minute=limits.requests or math.inf,
            tokens_per_minute=limits.tokens or math.inf,
            counts_asked=case.asked,
            windows=case.windows,
            headers=case.headers,
            concurrency=self.workers(case),
            seed=seed,
        )

    def pacing(self, case: Case, large: int = 10**9, seed: int = 1) -> AskedAtClaim:
        """The limiter; jobs from number `large` on are a second tenant's."""
        configured = self.limits(case.tier) if case.configured else Rates()
        return AskedAtClaim(configured, lambda job: "small" if job >= large else "large", seed)


def run(case: Case, jobs: int, seed: int = 1) -> Run:
    """`jobs` of one tenant, all at once."""
    began, accounts = time.monotonic(), Accounts(Inputs.load())
    setup, own = accounts.setup(case, seed), accounts.each(case) * jobs
    pacing = (
        HandedOutAtPost(accounts.limits(case.tier), accounts.used / accounts.asked)
        if case.at_post
        else accounts.pacing(case, seed=seed)
    )
    outcome = simulate(setup, [0.0] * jobs, pacing)
    starts = sorted(outcome.starts.values())
    return Run(
        case,
        setup.concurrency,
        outcome.failed,
        outcome.refused / max(1, outcome.calls),
        outcome.ended_at / own,
        starts[len(starts) // 2] / (own / 2) if starts else math.inf,
        outcome.received / jobs,
        pacing.table.writes / jobs if isinstance(pacing, AskedAtClaim) else 0.0,
        time.monotonic() - began,
    )


def second_tenant(case: Case) -> Second:
    """Posts a second tenant's jobs when a third of the backlog should be done, or after a minute."""
    accounts = Accounts(Inputs.load())
    at, alone = min(60.0, BACKLOG * accounts.each(case) / 3), replace(case, configured=True)
    took, may_take = [], []
    for seed in SEEDS:
        setup = accounts.setup(case, seed)
        times = [0.0] * BACKLOG + [at] * SMALL
        ends = simulate(setup, times, accounts.pacing(case, BACKLOG, seed)).ends
        took.append(max(ends.get(job, math.inf) for job in range(BACKLOG, BACKLOG + SMALL)) - at)
        may_take.append(simulate(setup, [0.0] * MAY_TAKE, accounts.pacing(alone, seed=seed)).ended_at)
    return Second(case, took, may_take)


def usual() -> list[Case]:
    """The cases that have goals."""
    return [
        Case(tier=tier, asked=asked, configured=configured)
        for tier in TIERS
        for asked in (False, True)
        for configured in (True, False)
    ]


def unusual() -> dict[str, Case]:
    """Other servers, few workers, and the other design, by what is unusual."""
    used = Case(tier=2, asked=False, configured=True)
    return {
        "windows of a minute": replace(used, windows=True),
        "windows of a minute ": replace(used, asked=True, windows=True),
        "no headers": replace(used, headers="none"),
        "no headers ": replace(used, asked=True, headers="none"),
        "no headers  ": replace(used, configured=False, headers="none"),
        "headers: more left than the limit": replace(used, asked=True, headers="above"),
        "headers: always all of it left": replace(used, asked=True, headers="full"),
        "headers: resets in the past": replace(used, asked=True, headers="past"),
        "5 workers, as by default": Case(tier=1, asked=False, configured=True, workers=5),
        "slots handed out at the POST": replace(used, at_post=True),
        "slots handed out at the POST ": replace(used, asked=True, at_post=True),
    }


# --- the section -----------------------------------------------------------------------------------------------------


def goals(runs: Sequence[Run]) -> str:
    """The cases that have goals."""
    heads = ["tier, tokens counted", "limits", "workers", "failed", "calls refused", "last job ends", "median start"]
    rows: list[list[object]] = [
        [
            _name(run.case),
            run.case.known,
            run.workers,
            run.failed,
            f"{run.refused:.2%}",
            f"{run.span:.3f}",
            f"{run.median:.3f}",
            f"{run.asks:.1f}",
            f"{run.writes:.2f}",
            _verdict(run.missed),
        ]
        for run in runs
    ]
    return table([*heads, "receives a job", "writes a job", "goals"], rows)


def others(runs: dict[str, Run]) -> str:
    """The unusual cases."""
    rows: list[list[object]] = [
        [
            name.strip(),
            f"{_name(run.case)}, {run.case.known}",
            run.failed,
            f"{run.refused:.2%}",
            f"{run.span:.3f}",
            f"{run.median:.3f}",
        ]
        for name, run in runs.items()
    ]
    heads = ["", "tier, tokens counted, limits", "failed", "calls refused", "last job ends", "median start"]
    return table(heads, rows)


def seconds(found: Sequence[Second]) -> str:
    """The second tenant."""
    rows: list[list[object]] = [
        [
            _name(one.case),
            one.case.known,
            f"{statistics.median(one.took):.0f} s ({min(one.took):.0f} to {max(one.took):.0f})",
            f"{statistics.median(one.may_take):.0f} s",
            "met" if one.is_met else "missed",
        ]
        for one in found
    ]
    return table(["tier, tokens counted", "limits", "took", "may take", ""], rows)


def days() -> str:
    """How many jobs a day each tier lets through, and how long a backlog takes."""
    accounts = Accounts(Inputs.load())
    rows: list[list[object]] = []
    for case in usual():
        if case.configured:
            each = accounts.each(case)
            days_of_backlog = JOBS * each / 86_400
            rows.append(
                [
                    _name(case),
                    f"{86_400 / each:,.0f}",
                    f"{days_of_backlog * 24:.1f} h" if days_of_backlog < 2 else f"{days_of_backlog:.1f} days",
                    accounts.workers(case),
                ]
            )
    return table(["tier, tokens counted", "jobs a day", f"{JOBS:,} jobs take", "workers"], rows)


def _name(case: Case) -> str:
    return f"{case.tier}, {case.counted}"


def _verdict(missed: Sequence[str]) -> str:
    return f"missed: {', '.join(missed)}" if missed else "met"


def report(jobs: int, runs: Sequence[Run], found: Sequence[Second], odd: dict[str, Run]) -> str:
    """The whole section."""
    accounts = Accounts(Inputs.load())
    return "\n\n".join(
        [
            f"{jobs:,} jobs at once, each of three calls that ask for {accounts.asked:,.0f} tokens and use"
            f" {accounts.used:,.0f}, on accounts of the usage tiers of `gpt-5-nano`. *Used* and *asked* are what the"
            " server counts. *Configured* has the limits as parameters, *learned* has none. The last job's end and the"
            " median start are multiples of what the limit itself allows: 1.000 is an account that is never idle. A"
            f" job's deadline is {LONGEST_DEADLINE / 86_400:.0f} days. Workers are as many as the limit needs if each"
            " has one job at a time, and half as many more.",
            goals(runs),
            f"Goals: none failed; at most {MOST_REFUSED:.0%} of calls refused; the last job ends within"
            f" {MOST_SPAN - 1:.0%} of the limit's own time if limits are configured, and 75 % of the limit is used"
            f" ({MOST_SPAN_LEARNED:.2f} times its own time) if they are learned; the median start is within"
            f" {MOST_MEDIAN - 1:.0%} of first come, first served. A write whose condition fails is counted too.",
            f"A second tenant posts {SMALL} jobs behind {BACKLOG} of another one, after a minute, or when a third of"
            f" the backlog should be done. They may take as long as {MAY_TAKE} jobs alone on the same account, with"
            f" configured limits. Medians of {len(SEEDS)} seeds:",
            seconds(found),
            "Other servers and settings, without goals:",
            others(odd),
            "What a tier lets through; a longer backlog needs a longer deadline or a larger tier:",
            days(),
        ]
    )


def main() -> None:
    """Simulates all, and keeps the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pace", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="of a backlog (default: 20,000, which takes minutes)")
    jobs = parser.parse_args().jobs
    odd = unusual()
    with ProcessPoolExecutor(2) as pool:
        runs = [pool.submit(run, case, jobs) for case in usual()]
        strange = {name: pool.submit(run, case, jobs) for name, case in odd.items()}
        second = [pool.submit(second_tenant, case) for case in usual()]
        for waited_for in runs:
            one = waited_for.result()
            say(f"{_name(one.case)}, {one.case.known}: {_verdict(one.missed)}, {one.seconds:.0f} s")
        body = report(
            jobs,
            [one.result() for one in runs],
            [one.result() for one in second],
            {name: one.result() for name, one in strange.items()},
        )
    Fragment("Limits of the model's account, by simulation", body).write("81-pace")
    print(body)


if __name__ == "__main__":
    main()
