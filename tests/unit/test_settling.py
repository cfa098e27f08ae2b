"""Usage of workers that vanish or are slow: each call is in the records once, an estimate only until it is known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobchain.domain import Attempt, Claim, FinishedStep, JobError, Status, Tier
from jobchain.errors import ClaimLost, Unavailable
from jobchain.spending import Bill, Estimate, Spending, Usage, summed
from jobchain_sweeper.resending import MAX_CRASHES
from jobchain_sweeper.sweeper import Sweep
from tests.deployment import AFTER_LEASE, INVOCATION, TENANT, Deployment, Fault

MODEL = "m"
CALL = Spending(Usage(100, 10, 20, 5), Decimal("0.0001"), calls=1)
MOST = Usage(1000, 0, 500, 0, 1000)
ESTIMATE = Spending(MOST, Decimal("0.01"), calls=1, estimated=Estimate(1, 1000, 500, Decimal("0.01")))
NOTHING = Spending()

R = TypeVar("R")


def times(count: int, spending: Spending = CALL) -> Spending:
    return summed([spending] * count)


def bill(spending: Spending) -> Bill:
    return {MODEL: spending} if spending != NOTHING else {}


def attempt() -> Attempt:
    return Attempt("summary", "s", "f", MODEL, Tier.STANDARD, CALL, "unusable_answer", "it does not fit")


class Workers:
    """Workers' claims of one job, made by hand."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.claims = deployment.stores.claims

    def claim(self) -> Claim:
        """A claim, after the lease of the one before has expired."""
        self.deployment.clock.advance(AFTER_LEASE)
        lease_until = self.deployment.clock() + INVOCATION
        return self.claims.claim(self.deployment.event_id, lease_until, lambda *_: (MODEL, ESTIMATE))

    def store(self, claim: Claim, number: int = 1, name: str = "summary") -> None:
        """Stores a step that took one call, as the claim's record `number`."""
        step = FinishedStep(name, f"of claim {claim.number}", MODEL, "v", "s", "f", CALL)
        self.claims.save_step(claim, number, number - 1, MODEL, step)

    def fail_call(self, claim: Claim, number: int = 1) -> None:
        """Stores a call that failed, as the claim's record `number`."""
        self.claims.save_attempt(claim, number, MODEL, attempt())

    def settle(self, claim: Claim, estimated: int = 1) -> Bill:
        """Settles what vanished workers left, with an estimate for that many steps."""
        assert claim.unsettled is not None
        recorded = claim.unsettled.recorded.get(MODEL, NOTHING)
        return self.claims.settle(claim, bill(recorded + times(estimated, ESTIMATE)))

    def report(self, claim: Claim, spending: Spending) -> Spending:
        """Reports late what a worker's calls cost; gives what was added."""
        return self.claims.report_late(claim, bill(spending)).get(MODEL, NOTHING)

    @property
    def spent(self) -> Spending:
        """What the job has used: META's totals and the tenant's day are the same."""
        job = self.deployment.job().spending
        assert self.deployment.day == job
        return job


@pytest.fixture
def workers(deployment: Deployment) -> Workers:
    deployment.create()
    return Workers(deployment)


class TestAWorkerThatVanished:
    def test_is_settled_by_the_next_claim_with_what_it_stored_and_an_estimate(self, workers: Workers) -> None:
        first = workers.claim()
        workers.store(first)
        workers.fail_call(first, 2)

        second = workers.claim()
        assert second.unsettled is not None
        assert second.unsettled.recorded == {MODEL: times(2)}
        workers.settle(second)

        assert workers.spent == times(2) + ESTIMATE

    def test_has_its_stored_calls_shown_before_they_are_settled(self, workers: Workers) -> None:
        workers.store(workers.claim())

        assert workers.deployment.job().spending == CALL
        assert workers.deployment.day == NOTHING

    def test_is_settled_once_if_the_worker_that_settles_it_vanishes_too(self, workers: Workers) -> None:
        workers.store(workers.claim())
        workers.settle(workers.claim())

        third = workers.claim()
        assert third.unsettled is not None
        assert third.unsettled.recorded == {}
        workers.settle(third, estimated=0)
        workers.claims.finish(third, bill(CALL))

        assert workers.spent == times(2) + ESTIMATE

    def test_is_settled_after_several_that_made_no_call(self, workers: Workers) -> None:
        workers.store(workers.claim())
        for _ in range(3):
            workers.claim()

        last = workers.claim()
        workers.settle(last)
        workers.claims.finish(last)

        assert workers.spent == CALL + ESTIMATE

    def test_is_settled_by_a_cancel(self, workers: Workers) -> None:
        workers.store(workers.claim())
        workers.deployment.clock.advance(AFTER_LEASE)

        recorded: dict[str, Spending] = {}
        job = workers.deployment.stores.jobs.cancel(
            TENANT, workers.deployment.event_id, lambda _chain, model, spending: recorded.update({model: spending})
        )

        assert job.status is Status.CANCELLED
        assert recorded == {MODEL: CALL + ESTIMATE}
        assert workers.spent == CALL + ESTIMATE

    def test_is_settled_by_the_sweeper_that_ends_its_job(self, workers: Workers) -> None:
        for _ in range(MAX_CRASHES):
            workers.fail_call(workers.claim())
        workers.deployment.clock.advance(AFTER_LEASE)

        assert workers.deployment.sweep() == Sweep(failed=1)

        assert workers.spent == times(MAX_CRASHES) + ESTIMATE
        assert workers.deployment.metered == [("guideline_checklist", MODEL, times(MAX_CRASHES) + ESTIMATE)]

    def test_is_metered_also_if_the_answer_is_lost_and_a_cancel_comes_in_between(self, workers: Workers) -> None:
        workers.store(workers.claim())
        second = workers.claim()
        workers.deployment.faults.script("TransactWriteItems", "lost")
        with pytest.raises(Unavailable):
            workers.settle(second)
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)

        assert workers.settle(second) == {MODEL: CALL + ESTIMATE}
        assert workers.spent == CALL + ESTIMATE

    def test_leaves_nothing_to_settle_where_it_released_the_job(self, workers: Workers) -> None:
        first = workers.claim()
        workers.store(first)
        workers.claims.release(first, timedelta(0), {}, bill(CALL))

        assert workers.claim().unsettled is None
        assert workers.spent == CALL


class TestAWorkerThatWasSlow:
    """Its first call was stored, its second one ended after it had lost the job."""

    @pytest.fixture
    def slow(self, workers: Workers) -> Claim:
        claim = workers.claim()
        workers.store(claim)
        return claim

    def test_replaces_the_estimate_of_the_claim_that_settled_it(self, workers: Workers, slow: Claim) -> None:
        second = workers.claim()
        workers.settle(second)

        assert workers.report(slow, times(2)) == CALL - ESTIMATE
        assert workers.spent == times(2)

        workers.claims.finish(second, bill(CALL))
        assert workers.spent == times(3)

    def test_records_its_calls_itself_where_it_is_not_settled_yet(self, workers: Workers, slow: Claim) -> None:
        second = workers.claim()

        assert workers.report(slow, times(2)) == times(2)
        assert workers.settle(second) == {}
        workers.claims.finish(second, bill(CALL))

        assert workers.spent == times(3)

    def test_replaces_the_estimate_of_a_cancel(self, workers: Workers, slow: Claim) -> None:
        workers.deployment.clock.advance(AFTER_LEASE)
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)

        assert workers.report(slow, times(2)) == CALL - ESTIMATE
        assert workers.spent == times(2)

    def test_replaces_the_estimate_of_the_sweeper(self, workers: Workers) -> None:
        slow = workers.claim()
        for _ in range(MAX_CRASHES - 1):
            workers.claim()
        workers.deployment.clock.advance(AFTER_LEASE)
        assert workers.deployment.sweep() == Sweep(failed=1)
        assert workers.spent == ESTIMATE

        assert workers.report(slow, CALL) == CALL - ESTIMATE
        assert workers.spent == CALL

    def test_records_nothing_of_a_job_that_was_deleted_meanwhile(self, workers: Workers, slow: Claim) -> None:
        workers.deployment.clock.advance(AFTER_LEASE)
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
        workers.deployment.stores.jobs.delete(TENANT, workers.deployment.event_id)

        assert workers.report(slow, times(2)) == NOTHING
        assert workers.deployment.items() == []
        assert workers.deployment.day == CALL + ESTIMATE, "the most that it can have cost stays"

    @pytest.mark.parametrize("claimed", [False, True])
    def test_records_nothing_on_another_job_of_the_same_id(self, workers: Workers, slow: Claim, claimed: bool) -> None:
        workers.deployment.clock.advance(AFTER_LEASE)
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
        workers.deployment.stores.jobs.delete(TENANT, workers.deployment.event_id)
        workers.deployment.create()
        if claimed:
            workers.claim()
            workers.settle(workers.claim())
        before, day = workers.deployment.meta(), workers.deployment.day

        assert workers.report(slow, times(2)) == NOTHING

        assert (workers.deployment.meta(), workers.deployment.day) == (before, day)
        assert workers.deployment.job().steps == ()

    def test_can_end_neither_the_job_nor_another_one_of_the_same_id(self, workers: Workers, slow: Claim) -> None:
        workers.deployment.clock.advance(AFTER_LEASE)
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
        workers.deployment.stores.jobs.delete(TENANT, workers.deployment.event_id)
        workers.deployment.create()
        other = workers.claim()
        assert (other.number, slow.number) == (1, 1)

        for end in (
            lambda: workers.claims.finish(slow, bill(CALL)),
            lambda: workers.claims.fail(slow, JobError("model_refused", "no"), bill(CALL)),
            lambda: workers.claims.end_cancelled(slow, bill(CALL)),
            lambda: workers.claims.release(slow, timedelta(0), {}, bill(CALL)),
            lambda: workers.claims.check(slow),
        ):
            with pytest.raises(ClaimLost):
                end()
        workers.claims.finish(other)
        assert workers.deployment.job().spending == NOTHING

    def test_reports_once(self, workers: Workers, slow: Claim) -> None:
        workers.settle(workers.claim())
        workers.report(slow, times(2))

        assert workers.report(slow, times(2)) == NOTHING
        assert workers.spent == times(2)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_is_not_mixed_up_with_another_slow_one(self, workers: Workers, slow: Claim, order: tuple[int, int]) -> None:
        second = workers.claim()
        workers.settle(second)
        workers.store(second, 1, "checklist")
        third = workers.claim()
        workers.settle(third)
        assert workers.spent == times(2) + times(2, ESTIMATE)

        late = [(slow, times(2)), (second, times(3))]
        for place in order:
            workers.report(*late[place])
        assert workers.spent == times(5)

        workers.claims.finish(third, bill(CALL))
        assert workers.spent == times(6)

    def test_reports_nothing_of_the_claims_after_one_that_made_no_call(self, workers: Workers, slow: Claim) -> None:
        # given a worker that was slow before it made a call, between one that reports late and one that vanishes
        idle = workers.claim()
        third = workers.claim()
        workers.report(slow, times(2))
        workers.settle(third)
        workers.store(third, 1, "checklist")
        fourth = workers.claim()
        workers.settle(fourth)
        assert workers.spent == times(3) + ESTIMATE

        # when it finds that it has lost the job
        assert workers.report(idle, NOTHING) == NOTHING

        # then the calls of the third worker stay in the records, and it can still correct their estimate
        assert workers.spent == times(3) + ESTIMATE
        workers.report(third, times(2))
        assert workers.spent == times(4)

    def test_reports_after_the_job_has_been_retried(self, workers: Workers, slow: Claim) -> None:
        workers.deployment.clock.advance(AFTER_LEASE)
        workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
        workers.deployment.stores.jobs.retry(TENANT, workers.deployment.event_id)
        again = workers.claim()

        workers.report(slow, times(2))
        workers.claims.finish(again, bill(CALL))

        assert workers.spent == times(3)

    def test_may_report_what_cost_less_or_nothing(self, workers: Workers) -> None:
        idle = workers.claim()
        workers.settle(workers.claim())
        assert workers.spent == ESTIMATE

        assert workers.report(idle, NOTHING) == NOTHING - ESTIMATE
        assert workers.spent == NOTHING


class TestAStaleStep:
    def test_is_not_shown_when_it_is_stored_after_the_job_was_claimed_by_another(self, workers: Workers) -> None:
        slow = workers.claim()
        workers.store(slow, 1, "summary")
        second = workers.claim()
        workers.settle(second)

        workers.store(slow, 2, "checklist")

        assert [step.output for step in workers.deployment.job().steps] == ["of claim 1"]
        assert [step.name for step in workers.claim().steps] == ["summary"]

    def test_is_not_shown_beside_the_same_step_of_the_new_worker_and_is_billed_once(self, workers: Workers) -> None:
        slow = workers.claim()
        second = workers.claim()
        workers.settle(second)
        workers.store(slow)
        workers.store(second)
        workers.report(slow, CALL)
        workers.claims.finish(second, bill(CALL))

        job = workers.deployment.job()
        assert [step.output for step in job.steps] == ["of claim 2"]
        assert workers.spent == times(2)

    @pytest.mark.parametrize("ended_by", ["cancel", "sweeper"])
    def test_is_not_shown_after_the_job_was_ended_by_others(self, workers: Workers, ended_by: str) -> None:
        claims = [workers.claim() for _ in range(MAX_CRASHES)]
        workers.deployment.clock.advance(AFTER_LEASE)
        if ended_by == "cancel":
            workers.deployment.stores.jobs.cancel(TENANT, workers.deployment.event_id)
        else:
            assert workers.deployment.sweep().failed == 1

        workers.store(claims[-1])
        assert workers.deployment.job().steps == ()

        workers.deployment.stores.jobs.retry(TENANT, workers.deployment.event_id)
        assert workers.claim().steps == ()
        assert workers.deployment.job().steps == ()


# --- lost answers ----------------------------------------------------------------------------------


@dataclass
class Story:
    """Workers of one job, one after the other, and the faults of their next calls of the table."""

    workers: Workers
    faults: list[Fault | None]
    report_at_once: bool
    true: Spending = NOTHING
    claims_lost: int = 0
    slow: list[tuple[Claim, Spending]] = field(default_factory=list)

    def next_fault(self, _operation: str) -> Fault | None:
        return self.faults.pop() if self.faults else None

    def persist(self, write: Callable[..., R], *args: Any) -> R:
        """Repeats a write until its answer arrives, as a worker does."""
        while True:
            try:
                return write(*args)
            except Unavailable:
                continue

    def worker(self, calls: int, in_flight: bool, end: str) -> bool:
        """One worker's claim and its calls, the last of which may not be stored yet; whether the job has ended."""
        try:
            claim = self.workers.claim()
        except Unavailable:
            self.claims_lost += 1  # its invocation ends without a call
            return False
        while self.slow and self.report_at_once:
            self.persist(self.workers.report, *self.slow.pop())
        if claim.unsettled:
            self.persist(self.workers.settle, claim)
        for number in range(1, calls + 1 - in_flight):
            self.persist(self.workers.store if number % 2 else self.workers.fail_call, claim, number)
        spent = times(calls)
        self.true += spent
        match end:
            case "vanish":
                self.slow.append((claim, spent))
            case "release":
                self.persist(self.workers.claims.release, claim, timedelta(0), {}, bill(spent))
            case "fail":
                self.persist(self.workers.claims.fail, claim, JobError("model_refused", "no"), bill(spent))
            case _:
                self.persist(self.workers.claims.finish, claim, bill(spent))
        return end in ("fail", "finish")


ENDS = st.sampled_from(["vanish", "vanish", "release", "finish", "fail"])
WORKERS = st.lists(st.tuples(st.integers(1, 3), st.booleans(), ENDS), min_size=1, max_size=4)
FAULTS = st.lists(st.sampled_from([None, None, "lost", "refused"]), max_size=25)


@pytest.mark.thorough
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=WORKERS, faults=FAULTS, report_at_once=st.booleans())
def test_whatever_answers_are_lost_every_call_is_recorded_once(
    deployment: Deployment, told: list[tuple[int, bool, str]], faults: list[Fault | None], report_at_once: bool
) -> None:
    # given a job of its own, on a day of its own
    deployment.clock.advance(timedelta(days=1))
    deployment.create(int(deployment.clock().timestamp()))
    story = Story(Workers(deployment), list(faults), report_at_once)

    # when its workers release it, end it, or vanish, and the answers to some of their writes are lost
    deployment.faults.choose = story.next_fault
    ended = any(story.worker(*worker) for worker in told)
    deployment.faults.choose = lambda _: None
    if not ended:
        last = story.workers.claim()
        if last.unsettled:
            story.workers.settle(last)
        story.workers.claims.finish(last)

    # then no call is missing, and what is too much is an estimate
    assert deployment.job().status.final
    before = story.workers.spent
    assert before.known_cost_usd >= story.true.known_cost_usd
    assert before.known_cost_usd - before.estimated.cost_usd <= story.true.known_cost_usd
    # and once the slow workers have reported, only claims whose answers were lost leave estimates
    for claim, spent in story.slow:
        story.workers.report(claim, spent)
    extra = story.workers.spent - story.true
    assert extra == times(extra.calls, ESTIMATE)
    assert 0 <= extra.calls <= story.claims_lost
