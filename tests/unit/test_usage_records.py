"""What is paid is recorded, whatever fails: the table, a sibling step, the code behind a call, the model's server."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from jobchain.aws.queue import MAX_DELAY
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain, Step
from jobchain.domain import DailyBudget, FinishedStep, Job, Status
from jobchain.errors import CallReport, TransientModelError, Unavailable
from jobchain.spending import Spending
from tests.deployment import AFTER_LEASE, INVOCATION, TENANT, TEXT, Deployment, Fault
from tests.fake_model.llm import Said, SchemaLLM, WorkerVanished

BAD = {"summary": ""}
OBLIGATIONS = {"first": ["Backups must be tested."]}
OTHERS = {"second": ["Backups must be tested."]}
TIMEOUT = TransientModelError("no answer in time", report=CallReport(maybe_billed=True), type_="timeout")


def throttle(deployment: Deployment, operation: str, seconds: int = 20) -> Callable[[], int]:
    """Refuses all calls of an operation from now on, each after `seconds`; gives the number of refused calls."""
    refused = 0

    def choose(called: str) -> Fault | None:
        nonlocal refused
        if called != operation:
            return None
        refused += 1
        deployment.clock.advance(timedelta(seconds=seconds))
        return "refused"

    deployment.faults.choose = choose
    return lambda: refused


class TestATableThatIsThrottled:
    @pytest.mark.parametrize("fault", ["refused", "lost"])
    def test_for_a_while_when_a_job_fails_loses_nothing(self, deployment: Deployment, fault: Fault) -> None:
        deployment.create()
        deployment.faults.script("TransactWriteItems", *[fault] * 9)

        job = deployment.run(BAD, BAD, BAD)

        assert job.status is Status.FAILED
        assert len(deployment.llm.requests) == 3
        assert deployment.spent().calls == job.spending.calls == 3

    @pytest.mark.parametrize("fault", ["refused", "lost"])
    def test_for_a_while_when_a_job_completes_loses_nothing(self, deployment: Deployment, fault: Fault) -> None:
        deployment.create()
        deployment.faults.script("TransactWriteItems", *[fault] * 9)

        job = deployment.run()

        assert job.status is Status.COMPLETED
        assert deployment.spent() == job.spending
        assert job.spending.calls == len(deployment.llm.requests) == 3

    @pytest.mark.parametrize("fault", ["refused", "lost"])
    def test_for_a_while_when_a_job_is_released_forgets_no_try(self, deployment: Deployment, fault: Fault) -> None:
        deployment.create()
        deployment.faults.script("TransactWriteItems", *[fault] * 9)

        job = deployment.run(TransientModelError("the model's server answered 429"))

        assert (job.status, job.spending.calls) == (Status.PENDING, 1)
        assert deployment.meta()["tries"] == {"summary": 1}
        assert deployment.meta()["crashes"] == 0
        assert deployment.spent() == job.spending

    @pytest.mark.parametrize("fault", ["refused", "lost"])
    def test_for_a_while_when_calls_are_stored_buys_none_twice(self, deployment: Deployment, fault: Fault) -> None:
        deployment.create()
        deployment.faults.choose = iter_faults("PutItem", [fault, fault, None] * 4)

        job = deployment.run(BAD)

        assert job.status is Status.COMPLETED
        assert job.spending.calls == len(deployment.llm.requests) == 4
        assert [step.name for step in job.steps] == ["summary", "checklist", "diagram"]
        assert len(deployment.stores.jobs.details(TENANT, job.event_id).attempts) == 1
        assert deployment.spent() == job.spending

    def test_is_asked_until_the_lease_ends(self, deployment: Deployment) -> None:
        deployment.create()
        started = deployment.clock()
        refused = throttle(deployment, "TransactWriteItems")

        with pytest.raises(Unavailable):
            deployment.run(BAD, BAD, BAD)

        assert refused() > 10
        assert deployment.clock() - started > INVOCATION - timedelta(seconds=1)

    def test_until_after_the_lease_loses_nothing_that_could_be_stored(self, deployment: Deployment) -> None:
        # given a job whose end could not be written
        deployment.create()
        throttle(deployment, "TransactWriteItems")
        with pytest.raises(Unavailable):
            deployment.run(BAD, BAD, BAD)
        assert deployment.day.calls == 0
        deployment.faults.choose = lambda _: None
        deployment.clock.advance(AFTER_LEASE)

        # when the next worker runs it
        job = deployment.run()

        # then all calls are recorded, and one that may have been in flight as an estimate
        assert job.status is Status.COMPLETED
        assert len(deployment.llm.requests) == 6
        assert (job.spending.calls, job.spending.estimated.calls) == (7, 1)
        assert deployment.spent() == job.spending

    def test_for_everything_bounds_what_is_not_known_by_the_call_in_flight(self, deployment: Deployment) -> None:
        # given a table that takes nothing once the job is claimed
        deployment.create()
        deployment.faults.choose = lambda called: None
        throttled = [False]

        def throttle_all() -> None:
            throttled[0] = True

        deployment.llm.meanwhile = throttle_all
        deployment.faults.choose = lambda _: self._refused(deployment) if throttled[0] else None
        with pytest.raises(Unavailable):
            deployment.run()
        throttled[0] = False
        deployment.llm.meanwhile = lambda: None
        deployment.clock.advance(AFTER_LEASE)

        # when the next worker completes the job
        job = deployment.run()

        # then the answer that could not be stored is an estimate, and not less than it cost
        assert (len(deployment.llm.requests), job.spending.calls, job.spending.estimated.calls) == (4, 4, 1)
        assert job.spending.estimated.cost_usd > job.steps[0].spending.known_cost_usd
        assert deployment.spent() == job.spending

    def _refused(self, deployment: Deployment) -> Fault:
        deployment.clock.advance(timedelta(seconds=20))
        return "refused"


def run_five_times(deployment: Deployment, *script: Said) -> Job:
    """Runs the job as often as a step is tried, with the same answers each time."""
    for _ in range(5):
        deployment.run(*script)
        deployment.clock.advance(MAX_DELAY)
    return deployment.job()


def iter_faults(operation: str, faults: list[Fault | None]) -> Callable[[str], Fault | None]:
    left = list(faults)
    return lambda called: left.pop(0) if called == operation and left else None


class TestASiblingStep:
    """Two texts are read at the same time."""

    @pytest.fixture
    def siblings(self, deployment: Deployment) -> Deployment:
        deployment.llm.together = 2
        deployment.create(job_name="compare_guidelines", payload={"first": TEXT, "second": "Backups must be tested."})
        return deployment

    def test_that_fails_unexpectedly_drops_no_spending(self, siblings: Deployment) -> None:
        job = siblings.run(OBLIGATIONS, RuntimeError("a bug"))

        assert job.status is Status.PENDING
        assert len(job.steps) == 1
        assert (job.spending.calls, job.spending.estimated.calls) == (2, 1), "how far the failed call got is not known"
        assert siblings.spent() == job.spending

    def test_that_fails_the_job_drops_no_spending(self, siblings: Deployment) -> None:
        job = siblings.run(OBLIGATIONS, {}, {}, {})

        assert job.status is Status.FAILED
        assert siblings.spent().calls == job.spending.calls == 4

    def test_that_can_not_be_stored_drops_no_spending(
        self, siblings: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_step = siblings.stores.claims.save_step

        def refuse_the_second(*args: Any) -> None:
            step = args[-1]
            assert isinstance(step, FinishedStep)
            if step.name == "second":
                siblings.clock.advance(timedelta(minutes=1))
                raise Unavailable("throttled")
            save_step(*args)

        monkeypatch.setattr(siblings.stores.claims, "save_step", refuse_the_second)
        with pytest.raises(Unavailable):
            siblings.run(OBLIGATIONS, OTHERS)
        monkeypatch.undo()
        siblings.clock.advance(AFTER_LEASE)
        siblings.llm.together = 1

        job = siblings.run(OTHERS, {"both": [], "only_first": [], "only_second": [], "contradictions": []})

        assert job.status is Status.COMPLETED
        assert (job.spending.calls, job.spending.estimated.calls) == (4, 1)
        assert siblings.spent() == job.spending


class TestABugBehindACall:
    @pytest.fixture
    def broken(self, deployment: Deployment) -> Deployment:
        def read(_answer: Any, _context: Any) -> Any:
            raise KeyError("a bug of the new version, with a text of the caller")

        deployment.runner.versions.chains = {"guideline_checklist": first_step_changed(read_answer=read)}
        return deployment

    def test_has_every_answer_recorded_and_ends_every_job_by_its_name(self, broken: Deployment) -> None:
        ids = [broken.create(number, deadline=timedelta(hours=2)) for number in range(10)]
        for _ in range(5):
            broken.run_together(ids)
            broken.clock.advance(timedelta(minutes=50))

        jobs = [broken.job(event_id) for event_id in ids]
        assert {job.status for job in jobs} == {Status.FAILED}
        assert {(job.error.type, job.error.step) for job in jobs if job.error} <= {("deadline_exceeded", "summary")}
        assert all("the step's code failed (KeyError)" in job.error.message for job in jobs if job.error)
        # After three that are paid for, the next comes an hour later.
        assert len(broken.llm.requests) == broken.spent(*ids).calls <= 40
        assert broken.spent(*ids).estimated.calls == 0

    def test_makes_no_worker_count_as_lost(self, broken: Deployment) -> None:
        broken.create()

        job = broken.run()

        assert (job.status, broken.meta()["crashes"]) == (Status.PENDING, 0)
        assert job.waiting_for is not None
        assert "KeyError" in job.waiting_for.detail
        assert "caller" not in job.waiting_for.detail

    def test_before_the_call_costs_nothing_and_fails_the_job_too(self, deployment: Deployment) -> None:
        def write(_context: Any) -> str:
            raise KeyError("a bug")

        deployment.runner.versions.chains = {"guideline_checklist": first_step_changed(write_input=write)}
        deployment.create()
        job = deployment.run_until_final()

        assert (job.status, job.spending) == (Status.FAILED, Spending())
        assert job.error is not None
        assert job.error.type == "deadline_exceeded"

    def test_in_a_step_without_a_call_fails_the_job_too(self, deployment: Deployment) -> None:
        # given a long text that can't be split
        parts = [f"# Rule {number}\n" + f"Rule {number} must be kept. ".ljust(81, "x") for number in (1, 2, 3)]
        deployment.runner = deployment.worker(max_input_tokens=100)
        deployment.create(payload={"guidelines": "\n".join(parts)})
        deployment.llm.counts = raise_a_bug
        job = deployment.run_until_final()

        assert job.status is Status.FAILED
        assert job.error is not None
        assert (job.error.type, job.error.step) == ("deadline_exceeded", "summary.parts")
        assert deployment.spent() == Spending()


def raise_a_bug(_text: str) -> int:
    raise RuntimeError("a bug")


def first_step_changed(**changes: Any) -> Chain:
    chain = CHAINS["guideline_checklist"]
    first, *others = chain.steps
    assert isinstance(first, Step)
    return replace(chain, steps=(replace(first, **changes), *others))


class TestALateAnswer:
    """A call that was given up: the server may have worked on it, and does not tell what it used."""

    def test_is_recorded_as_an_estimate_of_the_most_that_it_can_have_cost(self, deployment: Deployment) -> None:
        deployment.create(deadline=timedelta(hours=1))
        job = deployment.run_until_final(TIMEOUT)

        assert job.status is Status.FAILED
        estimated = job.spending.estimated
        # within an hour: the fourth would come after it
        assert (job.spending.calls, estimated.calls) == (3, 3)
        assert estimated.input_tokens == 3 * deployment.llm.requests[0].size
        assert estimated.output_tokens == 3 * (deployment.llm.requests[0].max_output_tokens or 0)
        assert job.spending.cost_usd == estimated.cost_usd > Decimal("0.004")
        assert deployment.spent() == job.spending

    def test_that_was_never_sent_costs_nothing(self, deployment: Deployment) -> None:
        deployment.create()

        job = deployment.run(TransientModelError("refused", type_="unreachable"))

        assert (job.spending.calls, job.spending.cost_usd) == (1, Decimal(0))

    def test_counts_against_the_budget_of_the_job(self, deployment: Deployment) -> None:
        budget = Decimal("0.001")
        deployment.create(max_cost_usd=budget)
        deployment.run(TIMEOUT)
        deployment.clock.advance(MAX_DELAY)

        job = deployment.run()

        assert job.error is not None
        assert job.error.type == "budget_exceeded"
        assert len(deployment.llm.requests) == 1
        assert job.spending.known_cost_usd <= budget

    def test_of_a_worker_that_vanished_counts_against_the_budget_of_the_job(self, deployment: Deployment) -> None:
        deployment.create(max_cost_usd=Decimal("0.0017"))
        with pytest.raises(WorkerVanished):
            deployment.run(WorkerVanished())
        deployment.clock.advance(AFTER_LEASE)

        job = deployment.run()

        assert job.error is not None
        assert job.error.type == "budget_exceeded"
        assert len(deployment.llm.requests) == 1
        assert deployment.spent() == job.spending

    def test_counts_against_the_day_of_the_key(self, deployment: Deployment) -> None:
        deployment.create(key_id="key", daily_budget=DailyBudget(cost_usd=Decimal("0.0015")))
        deployment.run(TIMEOUT)
        deployment.clock.advance(MAX_DELAY)

        job = deployment.run()

        assert job.waiting_for is not None
        assert job.waiting_for.reason == "budget"
        assert len(deployment.llm.requests) == 1


class TestAWorkerThatVanishedBeforeItsChainWasRemoved:
    def test_is_recorded_with_the_most_that_a_call_for_such_a_text_can_have_cost(self, deployment: Deployment) -> None:
        # given a long text, all of which a worker has sent to the model
        deployment.runner = deployment.worker(max_input_tokens=400_000)
        deployment.create(payload={"guidelines": "\N{PILE OF POO}" * 90_000}, deadline=timedelta(hours=1))
        with pytest.raises(WorkerVanished):
            deployment.run(WorkerVanished())
        (request,) = deployment.llm.requests
        deployment.clock.advance(AFTER_LEASE)

        # when the next worker does not know its chain
        deployment.runner.versions.chains = {}
        deployment.run()

        # then the estimate is not less than the call can have cost
        job = deployment.run_until_final()
        assert job.error is not None
        assert job.error.type == "unknown_chain"
        assert job.spending.estimated.input_tokens >= request.size > 360_000
        assert deployment.spent() == job.spending


class TestAWorkerThatLosesItsJob:
    def overtaken(self, deployment: Deployment, *, settles: bool) -> SchemaLLM:
        """A model during whose second call another worker takes the job over."""
        other = deployment.worker()
        other._executor._llm = SchemaLLM(clock=deployment.clock)

        class Overtaken(SchemaLLM):
            async def ask(self, request: Any) -> Any:
                if len(self.requests) == 1:
                    deployment.clock.advance(AFTER_LEASE)
                    if settles:
                        await other.run(deployment.event_id, deployment.clock() + INVOCATION)
                    else:
                        lease_until = deployment.clock() + INVOCATION
                        deployment.stores.claim(deployment.event_id, lease_until)
                return await super().ask(request)

        return Overtaken(clock=deployment.clock)

    @pytest.mark.parametrize("settles", [True, False])
    def test_reports_what_it_has_bought_and_buys_no_more(self, deployment: Deployment, settles: bool) -> None:
        deployment.create()
        deployment.llm = self.overtaken(deployment, settles=settles)
        deployment.runner = deployment.worker()

        job = deployment.run()

        assert len(deployment.llm.requests) == 2, "it finds out before its third call"
        assert job.status is (Status.COMPLETED if settles else Status.PROCESSING)
        assert job.spending.estimated.calls == 0, "nothing is estimated that a worker has reported"
        assert job.spending.calls == (4 if settles else 2)
        assert deployment.spent() == job.spending
        assert [step.name for step in job.steps] == ["summary", "checklist", "diagram"][: len(job.steps)]
