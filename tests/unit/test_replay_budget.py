"""The budget of a replay: however its jobs end, together they can't cost more."""

from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain_cli.replay_budget import LEAST, Budget
from jobchain_cli.replay_estimate import UNKNOWN, Estimate


def usd(amount: str) -> Decimal:
    return Decimal(amount)


class Ending(NamedTuple):
    """A job of a replay: what was expected, and which share of its budget it uses. None: what it costs is not known."""

    estimate: Estimate
    share: float | None
    slots: int


amounts = st.decimals(min_value="0.000001", max_value="20", places=6)
estimates = st.one_of(st.just(UNKNOWN), st.builds(Estimate, amounts, amounts))
endings = st.builds(Ending, estimates, st.one_of(st.none(), st.floats(0, 1)), st.integers(1, 20))


@given(total=amounts, jobs=st.lists(endings, max_size=30), order=st.randoms(use_true_random=False))
def test_what_is_spent_and_what_may_be_spent_never_exceeds_the_total(total, jobs, order) -> None:  # type: ignore[no-untyped-def]
    budget = Budget(total)
    running: list[tuple[Decimal, Decimal | None]] = []
    for job in jobs:
        amount = budget.reserve(job.estimate, job.slots)
        if amount is not None:
            assert amount >= LEAST
            assert amount == amount.quantize(LEAST)
            running.append((amount, None if job.share is None else amount * Decimal(job.share)))
        assert budget.spent + sum(each for each, _ in running) <= total
        if running and (amount is None or order.random() < 0.5):
            budget.settle(*running.pop(order.randrange(len(running))))
    for reserved, cost in running:
        budget.settle(reserved, cost)
    assert budget.reserved == 0
    assert 0 <= budget.spent <= total


def test_is_shared_equally_by_the_jobs_that_may_run_together() -> None:
    budget = Budget(usd("1"))

    assert [budget.reserve(UNKNOWN, slots) for slots in (4, 3, 2, 1)] == [usd("0.25")] * 4
    assert budget.reserve(UNKNOWN, 1) is None


def test_takes_back_what_a_job_did_not_use() -> None:
    budget = Budget(usd("1"))
    amount = budget.reserve(UNKNOWN, 2)
    assert amount

    budget.settle(amount, usd("0.1"))

    assert (budget.spent, budget.left) == (usd("0.1"), usd("0.9"))


def test_counts_all_that_a_job_might_have_used_where_nobody_knows() -> None:
    budget = Budget(usd("1"))
    amount = budget.reserve(UNKNOWN, 2)
    assert amount

    budget.settle(amount, None)

    assert budget.spent == usd("0.5")


def test_gives_a_job_the_room_that_it_needs_and_lets_others_wait_for_theirs() -> None:
    budget, needs = Budget(usd("1")), Estimate(usd("0.1"), usd("0.6"))

    first = budget.reserve(needs, 4)

    assert first == usd("0.6")
    assert budget.reserve(needs, 3) is None
    budget.settle(first, usd("0.1"))
    assert budget.reserve(needs, 4) == usd("0.6")


def test_runs_the_last_job_with_what_is_left_and_none_that_costs_more() -> None:
    assert Budget(usd("0.2")).reserve(Estimate(usd("0.1"), usd("0.6")), 1) == usd("0.2")
    assert Budget(usd("0.09")).reserve(Estimate(usd("0.1"), usd("0.6")), 1) is None


@pytest.mark.parametrize(("total", "given_"), [("0.0000019", "0.000001"), ("20000", "10000")])
def test_is_given_in_amounts_that_the_api_takes(total: str, given_: str) -> None:
    assert Budget(usd(total)).reserve(UNKNOWN, 1) == usd(given_)
