"""The simulation of scale and cost: its logic, by cases that can be worked out by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulate import Simulator
from benchmarks.simulation import arrivals, limits
from benchmarks.simulation.cost import MODEL, SERVICES, bill, fixed
from benchmarks.simulation.events import simulate
from benchmarks.simulation.inputs import Inputs
from benchmarks.simulation.setup import Outcome, Setup
from tests.unit.test_alarms import idle_costs

# Nothing but calls of one second: what is left can be counted on fingers.
BARE = Setup(
    batch_size=1,
    concurrency=2,
    pollers_first=2,
    pollers_growth=0,
    cold_start=0,
    cpu_seconds=0,
    write_seconds=0,
    steps=3,
    call_seconds=1,
    call_spread=0,
)
# As the template has it, with all that is random.
REAL = Setup(concurrency=20, pollers_first=5, pollers_growth=5, call_seconds=1)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs.load()


# --- what happens ----------------------------------------------------------------------------------


def test_a_job_alone_takes_its_calls_one_after_the_other() -> None:
    outcome = simulate(BARE, [5.0])

    assert list(outcome.latencies) == [pytest.approx(3.0)]
    assert outcome.ended_at == pytest.approx(8.0)
    assert (outcome.invocations, outcome.calls) == (1, 3)
    assert outcome.billed == pytest.approx(3.0)


def test_a_job_waits_for_a_free_worker() -> None:
    outcome = simulate(BARE, [0.0] * 5)

    assert sorted(outcome.latencies) == pytest.approx([3, 3, 6, 6, 9])
    assert outcome.most_waiting == 3
    assert outcome.billed == pytest.approx(15)


def test_the_jobs_of_a_batch_run_at_the_same_time_and_are_paid_for_once() -> None:
    outcome = simulate(replace(BARE, batch_size=5), [0.0] * 10)

    # The first two are taken alone, as no other waits with them; then five, and the last three.
    assert outcome.invocations == 4
    assert outcome.ended_at == pytest.approx(6.0)
    assert outcome.billed == pytest.approx(4 * 3)
    assert simulate(BARE, [0.0] * 10).billed == pytest.approx(10 * 3)


def test_an_invocation_lasts_as_long_as_its_slowest_job() -> None:
    spread = replace(REAL, batch_size=10, concurrency=1, pollers_first=1, cold_start=0)

    outcome = simulate(spread, [0.0] * 11)

    assert outcome.invocations == 2
    # Nothing is left between the two: the second began when the first one's last job had ended.
    assert outcome.billed == pytest.approx(outcome.ended_at)
    assert outcome.billed > max(outcome.latencies) - 1e-9


def test_a_cold_start_is_waited_for_and_billed_once_for_an_environment_that_stays() -> None:
    outcome = simulate(replace(BARE, cold_start=2), [0.0, 100.0])

    assert list(outcome.latencies) == pytest.approx([5, 3])
    assert outcome.cold_starts == 1
    assert outcome.billed == pytest.approx(8)


def test_an_environment_that_rests_for_too_long_is_gone() -> None:
    assert simulate(replace(BARE, cold_start=2, idle_seconds=50), [0.0, 100.0]).cold_starts == 2


def test_the_jobs_of_a_batch_share_their_processor() -> None:
    worked = replace(BARE, batch_size=10, concurrency=1, pollers_first=1, steps=1, cpu_seconds=2, processor_share=0.5)

    outcome = simulate(worked, [0.0])
    # A second of work to claim it and one to store it, each at half speed.
    assert list(outcome.latencies) == pytest.approx([1 / 0.5 + 1 + 1 / 0.5])

    outcome = simulate(worked, [0.0] * 11)
    # Ten at once: their work alone fills the processor.
    assert outcome.ended_at > 10 * 2 / 0.5


def test_pollers_grow_by_their_rate_while_jobs_wait() -> None:
    growing = replace(BARE, concurrency=100, pollers_first=2, pollers_growth=1, call_seconds=100)

    outcome = simulate(growing, [0.0] * 12)

    # Two at once, and one more each second: the twelfth begins after ten.
    assert sorted(outcome.latencies)[-1] == pytest.approx(310, abs=0.01)


ONE_POLLER = replace(BARE, batch_size=10, window=2, concurrency=1, pollers_first=1, receive_seconds=0)


def test_a_window_gathers_a_batch() -> None:
    gathered = simulate(ONE_POLLER, [0.0, 1.0, 1.5])

    assert gathered.invocations == 1
    assert sorted(gathered.latencies) == pytest.approx([3.5, 4, 5])


def test_a_full_batch_does_not_wait_for_its_window() -> None:
    outcome = simulate(replace(ONE_POLLER, batch_size=2), [0.0, 1.0, 50.0])

    assert outcome.invocations == 2
    assert list(outcome.latencies) == pytest.approx([4, 3, 5])


def test_each_poller_gathers_its_own_batch() -> None:
    several = replace(ONE_POLLER, concurrency=5, pollers_first=5)
    times = [second / 10 for second in range(20)]

    batches = simulate(replace(several, batch_size=100), times).invocations

    # Twenty messages, any of five pollers takes each.
    assert batches == 5
    assert simulate(replace(ONE_POLLER, batch_size=100), times).invocations == 1


def test_a_poller_sees_the_end_of_its_window_when_a_receive_ends() -> None:
    """So a message alone waits for an empty receive, and another one for the next message."""
    documented = replace(ONE_POLLER, receive_seconds=20)

    assert list(simulate(documented, [0.0]).latencies) == pytest.approx([23])
    assert sorted(simulate(documented, [0.0, 1.0, 7.0]).latencies) == pytest.approx([3, 9, 10])
    assert sorted(simulate(documented, [0.0, 1.0]).latencies) == pytest.approx([23, 24])


def test_writes_wait_for_the_table() -> None:
    outcome = simulate(replace(BARE, table_writes=1, finish_writes=10), [0.0, 0.0])

    assert sorted(outcome.latencies) == pytest.approx([3, 13])
    assert outcome.table_wait == pytest.approx(10)


# --- what always holds -----------------------------------------------------------------------------

LIMITED = replace(REAL, requests_per_minute=600, first_backoff=2)
SETUPS: dict[str, Setup] = {
    "one at a time": BARE,
    "as it is": REAL,
    "a window": replace(REAL, window=1),
    "a table that is slow": replace(REAL, table_writes=50, create_writes=3, step_writes=2),
    "a model that refuses": LIMITED,
    "a model that counts tokens": replace(REAL, tokens_per_minute=60_000, tokens_per_call=100, first_backoff=2),
}


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
def test_every_job_ends_once(setup: Setup) -> None:
    outcome = simulate(setup, arrivals.steady(1000, 100))

    assert outcome.jobs == 1000
    assert outcome.completed + outcome.failed == 1000
    assert len(outcome.latencies) == outcome.completed
    assert outcome.received == outcome.jobs + outcome.sends_again


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
def test_no_limit_is_passed(setup: Setup) -> None:
    outcome = simulate(setup, arrivals.steady(1000, 100))

    assert outcome.most_invocations <= setup.concurrency
    assert outcome.most_calls <= setup.concurrency * setup.batch_size
    answered = outcome.calls - outcome.refused
    minutes = outcome.ended_at / 60 + 1  # the bucket is full when it begins
    assert answered <= setup.requests_per_minute * minutes
    assert answered * setup.tokens_per_call <= setup.tokens_per_minute * minutes


@pytest.mark.parametrize("name", ["one at a time", "as it is", "a window"])
def test_jobs_in_the_system_are_rate_times_latency(name: str) -> None:
    """Little's law: https://en.wikipedia.org/wiki/Little%27s_law"""
    outcome = simulate(SETUPS[name], arrivals.steady(1500, 3000))

    assert outcome.job_seconds == pytest.approx(sum(outcome.latencies), rel=0.02)


def test_an_invocation_takes_no_more_jobs_than_a_batch() -> None:
    for batch in (1, 2, 5, 10):
        outcome = simulate(replace(REAL, batch_size=batch), [0.0] * 500)

        assert outcome.batch <= batch
        assert outcome.invocations >= 500 / batch


def test_more_workers_are_never_slower() -> None:
    ends = [
        simulate(replace(BARE, concurrency=workers, pollers_first=workers), [0.0] * 60).ended_at
        for workers in (2, 3, 5, 10, 60)
    ]

    assert ends == sorted(ends, reverse=True)
    assert ends[-1] == pytest.approx(3)


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [simulate(replace(REAL, seed=seed), arrivals.steady(500, 50)).latencies for seed in (1, 1, 2)]

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


# --- when the model refuses ------------------------------------------------------------------------


def test_a_refused_call_comes_back_through_the_queue_after_the_backoff() -> None:
    # One call a minute: the second job is refused at once, and again until the bucket has filled up.
    setup = replace(BARE, steps=1, requests_per_minute=1, first_backoff=10)

    outcome = simulate(setup, [0.0, 0.0])

    assert (outcome.completed, outcome.failed) == (2, 0)
    # After about 10, 40 and 160 seconds; the third time it is let in.
    assert outcome.refused == outcome.sends_again
    assert outcome.refused in (2, 3)
    assert 40 < max(outcome.latencies) < 260


def test_a_job_whose_calls_are_refused_fails_before_its_deadline() -> None:
    outcome = simulate(replace(BARE, requests_per_minute=0.0, deadline_seconds=3600), [0.0])

    # After about 10, 40, 160, 640, 720, 720 and 720 seconds, and in the rest of the hour once or twice.
    assert outcome.failed == 1
    assert 8 <= outcome.calls <= 11
    assert 3000 < outcome.ended_at <= 3600


def test_a_job_that_comes_to_a_worker_after_its_deadline_fails_without_a_call() -> None:
    outcome = simulate(replace(BARE, concurrency=1, pollers_first=1, deadline_seconds=5), [0.0, 0.0, 0.0])

    assert (outcome.completed, outcome.failed, outcome.calls) == (2, 1, 6)


def test_without_a_pace_a_backlog_on_a_model_that_is_far_too_narrow_fails_at_its_deadline() -> None:
    narrow = replace(REAL, requests_per_minute=60, deadline_seconds=1800)

    assert simulate(narrow, [0.0] * 1000).failed > 500
    assert simulate(replace(narrow, deadline_seconds=7 * arrivals.DAY), [0.0] * 200).failed == 0


# --- when jobs come --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [arrivals.steady, arrivals.daily])
def test_a_day_has_about_the_jobs_that_it_shall_have_in_order(rate: Callable[..., Any]) -> None:
    times = list(rate(20_000))

    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(arrivals.DAY, rel=0.03)


def test_a_day_has_its_peak_in_the_afternoon() -> None:
    times = list(arrivals.daily(20_000, swing=0.8))

    def within(hour: int) -> int:
        return sum(hour * 3600 <= time < (hour + 1) * 3600 for time in times)

    assert within(14) > 5 * within(2)


def test_a_burst_comes_as_fast_as_it_is_let_in() -> None:
    assert list(arrivals.burst(3, 2)) == [0, 0.5, 1]


# --- what it costs ---------------------------------------------------------------------------------


def test_each_number_has_a_source_and_says_whether_it_was_checked(inputs: Inputs) -> None:
    for name, number in [*inputs.numbers.items(), *inputs.earlier.items()]:
        assert number.value >= 0, name
        assert number.unit, name
        assert number.source, name
        assert number.checked or number.seen or number.note or number.source == "assumed", name


def test_what_was_measured_is_read_from_the_page_of_benchmarks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("| job of three steps, in the worker | 12.50 | 11 |\n| WorkerFunction | 500 | 600 |\n")

    measured = Inputs.load(measured=page)

    assert measured["function.worker_cpu"] == pytest.approx(0.0125)
    assert measured["function.worker_start_cpu"] == pytest.approx(0.5)
    page.write_text("| WorkerFunction | 500 | 600 |\n")
    with pytest.raises(KeyError, match="job of three steps"):
        Inputs.load(measured=page)


def test_numbers_of_before_take_the_place_of_those_of_now(inputs: Inputs) -> None:
    assert (inputs["work.gets"], inputs.before["work.gets"]) == (2, 5)
    assert inputs.before["work.steps"] == inputs["work.steps"]
    assert inputs.earlier.keys() <= inputs.numbers.keys()


def test_one_job_costs_what_it_comes_to_by_hand(inputs: Inputs) -> None:
    outcome = Outcome(jobs=1, completed=1, invocations=1, received=1, calls=3, billed=12.0, ended_at=60.0)

    cost = bill(outcome, inputs, memory_mb=1024).by_service

    requests = 1 + 2
    assert cost["Lambda"] == pytest.approx((12 + requests * 0.030) * 0.0000133334 + (1 + requests) * 0.2e-6)
    assert cost["DynamoDB"] == pytest.approx(
        (11 + 2 + 3 * 1.67 + 7) * 0.625e-6 + (4 + 2 * 2) * 0.125e-6 + 8.3e-6 * (0.25 + 0.20)
    )
    assert cost["API Gateway"] == pytest.approx(requests * 3.5e-6)
    assert cost["SQS"] == pytest.approx(3 * 0.4e-6)
    assert cost["CloudWatch"] == pytest.approx(
        (4.6 + requests * (0.55 + 0.7) + 0.7) * 1e-6 * (0.50 + 0.15 * 0.03)  # the worker's, the api's, and Lambda's
    )
    assert cost["X-Ray"] == pytest.approx(requests * 5e-6)  # fewer than one a second: all are recorded
    assert cost[MODEL] == pytest.approx(7200 * 0.1e-6 + 1600 * 0.5e-6)


def test_an_idle_stack_pays_for_polls_alarms_metrics_and_its_secret(inputs: Inputs) -> None:
    idle = fixed(inputs, chains=1)

    assert idle.by_service["SQS"] == pytest.approx((2 * 5 * 3 + 1) * 60 * 24 * 30 * 0.4e-6)
    assert idle.by_service["CloudWatch"] == pytest.approx((10 + 3) * 0.30 + 18 * 0.10 + 0.02, abs=0.03)
    assert idle.by_service["Secrets Manager"] == 0.40
    assert idle.by_service[MODEL] == 0
    assert fixed(inputs, chains=2).aws - idle.aws == pytest.approx(10 * 0.30)


def test_an_idle_stack_costs_what_the_reference_counts_from_the_template(
    inputs: Inputs, template: dict[str, Any]
) -> None:
    assert fixed(inputs, chains=0).aws == pytest.approx(float(sum(cost for _, cost in idle_costs(template))), abs=0.02)


def test_a_bill_names_every_service_and_adds_up(inputs: Inputs) -> None:
    found = bill(simulate(REAL, [0.0] * 100), inputs, memory_mb=1024)

    assert tuple(found.by_service) == SERVICES
    assert found.total == pytest.approx(sum(found.by_service.values()))
    assert found.total - found.aws == pytest.approx(found.by_service[MODEL])


def test_full_batches_cost_less_than_jobs_one_by_one(inputs: Inputs) -> None:
    costs = [
        bill(simulate(replace(REAL, batch_size=batch), [0.0] * 1000), inputs, memory_mb=1024).aws
        for batch in (1, 2, 5, 10)
    ]

    assert costs == sorted(costs, reverse=True)


def test_a_call_that_is_refused_costs_a_claim_and_a_release(inputs: Inputs) -> None:
    once = Outcome(jobs=1, completed=1, received=1, calls=3)
    again = Outcome(jobs=1, completed=1, received=2, calls=4, refused=1)

    added = [bill(outcome, inputs, memory_mb=1024).by_service["DynamoDB"] for outcome in (once, again)]

    assert added[1] - added[0] == pytest.approx((2 + 10) * 0.625e-6 + 4 * 0.125e-6)


# --- which limit binds -----------------------------------------------------------------------------


def test_limits_are_given_with_the_lowest_first(inputs: Inputs) -> None:
    full = Outcome(received=1000, invocations=100, billed=2000.0)  # ten jobs in twenty seconds

    found = limits.of_the_stack(inputs, full, concurrency=10, requests_per_second=100, account=1000)

    rates = [limit.per_second for limit in found]
    assert rates == sorted(rates)
    assert {limit.name: limit.per_second for limit in found}["WorkerConcurrency 10"] == pytest.approx(5)


def test_a_tier_lets_through_what_its_narrower_limit_does(inputs: Inputs) -> None:
    assert limits.of_the_model(inputs, 1, tokens_per_call=1) == pytest.approx(500 / 60 / 3)
    assert limits.of_the_model(inputs, 1, tokens_per_call=2000) == pytest.approx(100 / 60 / 3)


def test_so_many_workers_get_through_what_comes() -> None:
    full = simulate(replace(REAL, concurrency=10, pollers_first=10), [0.0] * 2000)
    workers = limits.workers_for(5, full)

    enough = simulate(replace(REAL, concurrency=workers + 2, pollers_first=2), arrivals.steady(2000, 400))
    too_few = simulate(replace(REAL, concurrency=workers // 2, pollers_first=2), arrivals.steady(2000, 400))

    assert enough.latency(0.95) < 20 < too_few.latency(0.95)


def test_a_new_table_carries_120_jobs_a_second(inputs: Inputs) -> None:
    """4,000 units a second, the indexes' and those of a limit on the pace of calls included."""
    simulator = Simulator(inputs)

    carried, too_many = (simulator.on_a_new_table(rate, seconds=60) for rate in (120, 200))

    assert carried.table_wait / carried.jobs < 0.05
    assert carried.latency(0.95) == pytest.approx(
        simulator.on_a_new_table(120, seconds=60, limit=math.inf).latency(0.95), rel=0.02
    )
    assert too_many.table_wait / too_many.jobs > 1


def test_one_tenant_alone_is_limited_by_the_partition_of_its_daily_usage(inputs: Inputs) -> None:
    full = Outcome(received=1000, invocations=100, billed=2000.0)

    found = limits.of_the_stack(inputs, full, concurrency=10, requests_per_second=100, account=1000)

    rates = {limit.name: limit.per_second for limit in found if "tenant" in limit.name}
    assert rates == {
        "one tenant's daily usage, in one partition": 250,
        "one tenant's index `unfinished`": pytest.approx(1000 / 3),
        "one tenant's index `recent`": 500,
    }
