"""Scale on paper: the formulas, by cases that can be worked out by hand or simulated, and the page that they fill."""

from dataclasses import replace

import pytest

from benchmarks import pace, parts, scale
from benchmarks.pace import Accounts, Case
from benchmarks.scale import Paper
from benchmarks.simulate import Simulator
from benchmarks.simulation import arrivals, limits
from benchmarks.simulation import scale as formulas
from benchmarks.simulation.events import simulate
from benchmarks.simulation.inputs import Inputs
from jobchain.pace import MAX_DELAY


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs.load()


@pytest.fixture(scope="module")
def paper(inputs: Inputs) -> Paper:
    return Paper(Simulator(inputs))


# --- the page --------------------------------------------------------------------------------------


def test_the_page_has_what_the_formulas_come_to(paper: Paper) -> None:
    written = parts.read(scale.PAGE)
    tables = scale.on_paper(paper)

    assert {name: written[name] for name in tables} == tables, "run: .venv/bin/python -m benchmarks.scale"
    assert written.keys() - tables.keys() == {"simulated"}


@pytest.mark.thorough
def test_the_page_has_what_the_simulation_comes_to(paper: Paper) -> None:
    written = parts.read(scale.PAGE)["simulated"]

    assert written == scale.simulated_table(scale.simulated(paper)), "run: .venv/bin/python -m benchmarks.scale"


def test_each_quota_has_a_source_and_something_that_it_belongs_to(paper: Paper) -> None:
    for limit in paper.quotas():
        assert limit.scope, limit.name
        assert paper.inputs.numbers[limit.source].source.startswith("https://"), limit.name


def test_a_cell_needs_no_quota_of_aws_raised(paper: Paper) -> None:
    of_aws = {limit.name: limit.per_second for limit in paper.quotas() if limit.scope != "the model's account"}
    first = of_aws.pop("a new table, its indexes counted with it")

    assert min(of_aws.values()) > scale.peak(scale.CELL) > first, "a table grows by itself"
    assert paper.workers < 1000


def test_a_hundred_million_a_day_pass_the_concurrency_of_an_account_and_fit_its_gateway(paper: Paper) -> None:
    most = {limit.name: limit.per_second for limit in paper.quotas() if limit.scope == "account and region"}

    assert most["the account's 1000 invocations at once"] < scale.peak(scale.LARGE) < most["the gateway's quota"]
    assert len(most) == 2


# --- the formulas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "most", "count"), [(100, 100, 1), (101, 100, 2), (0.3, 0.1, 3), (0, 100, 1)])
def test_so_many_are_needed_that_each_has_no_more_than_its_most(rate: float, most: float, count: int) -> None:
    assert formulas.needed(rate, most) == count


def test_a_large_batch_writes_the_day_once_for_each_transaction(inputs: Inputs) -> None:
    # 99 jobs of 9 units, and 2 for the day.
    assert formulas.batch_create_writes(inputs) == pytest.approx((99 * 9 + 2) / 99)


def test_a_new_table_takes_twice_as_much_after_each_half_hour() -> None:
    def takes(units: float) -> float:
        return formulas.seconds_on_a_new_table(units, 10, 40)

    assert takes(10 * 1800) == pytest.approx(1800)
    assert takes((10 + 20) * 1800) == pytest.approx(3600)
    assert takes((10 + 20 + 40 * 2) * 1800) == pytest.approx(2 * 1800 + 2 * 1800), "not above its quota"
    assert takes(5) == pytest.approx(0.5)


def test_jobs_of_a_large_backlog_ask_about_every_seven_and_a_half_minutes() -> None:
    waiting = 1_000_000

    assert formulas.asks_a_second(waiting, 10) == pytest.approx(waiting / (MAX_DELAY / 2), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1000, 3000])
def test_jobs_of_a_backlog_of_hours_ask_as_often_as_in_a_simulation(jobs: int) -> None:
    case = Case(tier=1, asked=False, configured=True)
    per_second = 1 / Accounts(Inputs.load()).each(case)

    run = pace.run(case, jobs)

    # A job whose slot is later is received once more for it, which is no ask.
    assert formulas.asks_a_job(jobs, per_second) == pytest.approx(run.asks, rel=0.15)


def test_nine_million_jobs_of_the_highest_tier_read_all_that_a_table_takes(paper: Paper) -> None:
    most = paper.inputs["limit.table_reads_quota"]

    found = formulas.backlog_for_reads(paper.inputs, paper.model, most)

    assert formulas.refused_reads_a_second(paper.inputs, found, paper.model) == pytest.approx(most)
    assert found == pytest.approx(9.2e6, rel=0.01)


def test_a_job_that_is_refused_reads_what_a_worker_reads_before_it_begins(inputs: Inputs) -> None:
    checks = inputs["work.steps"] - 1

    assert inputs["table.refused_reads"] == inputs["table.job_reads"] - checks


def test_a_sweep_looks_through_six_and_a_half_million_jobs_in_its_time(inputs: Inputs) -> None:
    assert formulas.sweep_seconds(inputs, 6.6e6) == pytest.approx(22)


def test_an_ask_costs_a_message_and_the_read_of_the_job(inputs: Inputs) -> None:
    assert formulas.dollars_of_asks(inputs, 1e6) == pytest.approx(1.2 * 0.40 + 2 * 0.125)


def test_a_burst_is_worked_off_at_the_rate_of_full_batches(paper: Paper) -> None:
    workers, jobs = 100, 20_000
    burst = replace(paper.simulator.base, concurrency=workers, pollers_first=workers, table_writes=40_000)

    outcome = simulate(burst, arrivals.burst(jobs, 4000))

    assert outcome.ended_at == pytest.approx(jobs / (workers * paper.worker), rel=0.06)


def test_the_limiters_item_takes_a_grant_and_a_settlement_of_each_job(paper: Paper) -> None:
    (item,) = (limit for limit in limits.quotas(paper.inputs, paper.full, account=1000) if "limiter" in limit.name)

    assert item.per_second == 500
