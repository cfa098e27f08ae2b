"""A chain's fallback model: asked while the model of a step has an outage, and for no other reason."""

import asyncio
import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain import Chain, Text
from jobchain.aws.breakers import BreakerStore
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue
from jobchain.breaker import PROBE_EVERY, ModelAccount
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain as CompiledChain
from jobchain.chains.chain import Step
from jobchain.chains.mistakes import ChainError
from jobchain.domain import Job, Status, Tier, WaitReason
from jobchain.errors import CallReport, ModelError, PermanentModelError, TransientModelError
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain.overrides import Overrides
from jobchain.pace import Demand, Granted, Rates
from jobchain.prices import FREE, Price, PriceList
from jobchain_worker.account_watch import AccountWatch
from jobchain_worker.fallbacks import OUTAGE_FAILURES
from jobchain_worker.one_job import OneJob, run_one
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from tests.conftest import make_admission_control
from tests.deployment import INVOCATION, TEXT, Deployment
from tests.fake_model.journal import Call
from tests.fake_model.llm import SchemaLLM
from tests.fake_model.replies import MODEL, Reply, refused
from tests.fake_model.server import ModelServer
from tests.fakes import FakeClock
from tests.unit.test_admission_control import RecordedQueue
from tests.unit.test_call_reports import TIMEOUT, key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

OTHER = "another-model"
PRICES = PriceList({MODEL: FREE, OTHER: Price(*[Decimal("0.001")] * 4)})
NO_MODEL = PermanentModelError("model_not_found", "the model's server knows no such model")
NO_ACCESS = PermanentModelError("model_forbidden", "the account may not use the model")
OVERLOADED = TransientModelError("the model's server is overloaded", type_="overloaded")


class ModelsLLM(SchemaLLM):
    """A server of several models, some of which fail."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.faults: dict[str, Exception] = {}
        self.asked: list[str] = []

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """The right answer of the model that is asked, or its fault."""
        model = request.model or self.model
        self.asked.append(model)
        if fault := self.faults.get(model):
            raise fault
        return await super().ask(request)

    def calls(self) -> list[str]:
        """The models of the calls since the last time."""
        asked, self.asked = self.asked, []
        return asked


def with_options(**options: Any) -> dict[str, CompiledChain]:
    """The default chain, all of whose steps have these options."""
    chain = CHAINS["guideline_checklist"]
    return {chain.name: replace(chain, steps=[_with(step, options) for step in chain.calls])}


def _with(step: Step, options: dict[str, Any]) -> Step:
    return step.with_options(step.options._replace(**options))


def replace_wait(error: TransientModelError) -> TransientModelError:
    """The same error, whose server asks for a longer wait."""
    return TransientModelError(str(error), timedelta(hours=2), error.report, error.type)


class World:
    """A deployment whose default chain has a fallback."""

    def __init__(self, client: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self.llm = ModelsLLM(clock)
        self.clock = clock
        self.deployment = Deployment(client, queue, clock, logger, self.llm)
        stores = self.deployment.stores
        self.breakers = BreakerStore(client, stores.table, ModelAccount("models.test", "secret", MODEL), clock)
        self.rung: list[str] = []
        self._parts = (stores, queue, self.llm, logger)
        self.use(fallback_model=OTHER)

    def use(self, **options: Any) -> None:
        """A worker of the chain with these options."""
        chains = with_options(**options)
        watch = AccountWatch(self.breakers, self._parts[3], lambda breaker: self.rung.append(breaker.type))
        control = make_admission_control(*self._parts, chains=chains, breakers=self.breakers, watch=watch)
        self.deployment.runner = self.deployment.worker(chains=chains, prices=PRICES, control=control)

    def new(self, number: int = 1, **changes: Any) -> Job:
        """A new job after one delivery of its message."""
        self.deployment.create(number, **changes)
        return self.deployment.run()

    def again(self) -> Job:
        """The job after its wait, and one more delivery."""
        not_before = int(self.deployment.meta()["not_before"]) / 1000
        self.clock.advance(timedelta(seconds=max(0, not_before - self.clock().timestamp()) + 0.001))
        return self.deployment.run()

    def outcomes(self) -> list[tuple[str, str, str]]:
        """Step, model and outcome of the failed calls."""
        details = self.deployment.stores.jobs.details("local", self.deployment.event_id)
        return [(attempt.step, attempt.model, attempt.outcome) for attempt in details.attempts]


@pytest.fixture
def world(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> World:
    return World(dynamodb, queue, clock, logger)


class TestAModelThatIsRefused:
    @pytest.mark.parametrize("fault", [NO_MODEL, NO_ACCESS], ids=lambda fault: str(fault.type))
    def test_is_replaced_at_once_for_the_rest_of_the_jobs_run(self, world: World, fault: ModelError) -> None:
        world.llm.faults = {MODEL: fault}

        job = world.new()

        assert job.status is Status.COMPLETED
        assert world.llm.calls() == [MODEL, OTHER, OTHER, OTHER]
        assert world.outcomes() == [("summary", MODEL, fault.type)]
        assert {step.model for step in job.steps} == {OTHER}

    def test_has_its_fallback_in_the_usage_with_its_own_price(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL}
        job = world.new()

        by_model = world.deployment.stores.usage.today("local").by_model
        assert {model: spending.calls for model, spending in by_model.items()} == {MODEL: 1, OTHER: 3}
        assert by_model[OTHER].known_cost_usd == job.spending.known_cost_usd > 0
        world.deployment.spent()

    def test_rings_the_alarm_once_and_makes_no_other_job_wait(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL}
        world.new(1)
        world.llm.calls()

        others = [world.new(number).status for number in (2, 3)]

        assert others == [Status.COMPLETED, Status.COMPLETED]
        assert world.llm.calls() == [OTHER] * 6, "jobs know from the breaker that the model is refused"
        assert world.rung == ["model_not_found"]

    def test_is_asked_once_a_minute_and_again_by_all_once_it_works(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL}
        world.new(1)
        world.clock.advance(PROBE_EVERY)
        world.llm.calls()
        assert world.new(2).status is Status.COMPLETED
        assert world.llm.calls() == [MODEL, OTHER, OTHER, OTHER], "the probe"

        world.llm.faults = {}
        world.clock.advance(PROBE_EVERY)
        world.new(3)
        world.new(4)
        assert world.llm.calls() == [MODEL] * 6

    def test_follows_the_pace_of_the_fallback_while_it_is_refused(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL}
        world.new(1)
        control = world.deployment.runner._control
        asked: list[str] = []
        paces = control.paces

        def noted(model: str) -> Any:
            asked.append(model)
            return paces(model)

        control.paces = noted

        world.new(2)

        assert set(asked) == {OTHER}

    def test_whose_fallback_is_refused_too_makes_the_job_wait(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL, OTHER: NO_MODEL}

        job = world.new()

        assert job.waiting_for
        assert (job.status, job.waiting_for.reason) == (Status.PENDING, WaitReason.ACCOUNT)
        assert [outcome for *_, outcome in world.outcomes()] == ["model_not_found"] * 2

    def test_whose_fallback_is_of_no_use_makes_the_job_wait(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL, OTHER: PermanentModelError("text_too_long", "the text is too long")}

        waiting = [world.new(number).waiting_for for number in (1, 2)]

        assert [found and found.reason for found in waiting] == [WaitReason.ACCOUNT] * 2
        assert world.llm.calls() == [MODEL, OTHER, OTHER], "the second job knows it from the breaker"

    def test_that_a_chain_names_itself_is_replaced_without_a_breaker(self, world: World) -> None:
        world.use(model="a-third-model", fallback_model=OTHER)
        world.llm.faults = {"a-third-model": NO_MODEL}

        assert world.new().status is Status.COMPLETED
        assert world.llm.calls() == ["a-third-model", OTHER, OTHER, OTHER]
        assert world.rung == []

    def test_of_a_chain_in_which_one_call_has_no_fallback_makes_its_jobs_wait(self, world: World) -> None:
        world.llm.faults = {MODEL: NO_MODEL}
        world.new(1)
        chain = with_options()["guideline_checklist"]
        first, *others = chain.calls
        chains = {chain.name: replace(chain, steps=[_with(first, {"fallback_model": OTHER}), *others])}
        world.deployment.runner._control._chains = chains

        assert world.new(2).attempts == 0


class TestAModelWhoseCallsFail:
    def test_is_replaced_after_three_failed_tries_and_for_the_next_steps_too(self, world: World) -> None:
        world.llm.faults = {MODEL: OVERLOADED}
        world.new()
        for _ in range(OUTAGE_FAILURES - 1):
            assert world.again().status is Status.PENDING
        assert world.llm.calls() == [MODEL] * OUTAGE_FAILURES

        job = world.again()

        assert job.status is Status.COMPLETED
        assert world.llm.calls() == [OTHER] * 3
        assert world.outcomes() == [("summary", MODEL, "overloaded")] * OUTAGE_FAILURES
        assert {step.model for step in job.steps} == {OTHER}
        world.deployment.spent()

    def test_whose_calls_may_be_billed_is_replaced_within_a_minute_and_not_within_an_hour(self, world: World) -> None:
        late = TransientModelError(
            "late", retry_after=timedelta(minutes=10), report=CallReport(maybe_billed=True), type_="timeout"
        )
        world.llm.faults = {MODEL: late}
        world.new()
        world.again()
        world.llm.faults = {MODEL: replace_wait(late)}
        world.again()
        third = world.clock()

        assert world.again().status is Status.COMPLETED
        assert world.clock() - third < timedelta(seconds=15)

    def test_takes_turns_with_a_fallback_that_fails_too(self, world: World) -> None:
        world.llm.faults = {MODEL: OVERLOADED, OTHER: OVERLOADED}
        world.new()
        for _ in range(6):
            world.again()

        assert world.llm.calls() == [MODEL] * 3 + [OTHER, MODEL, OTHER, MODEL]
        assert world.deployment.job().status is Status.PENDING

    @pytest.mark.parametrize(
        "fault",
        [
            NO_MODEL,
            NO_ACCESS,
            TransientModelError("the limit is reached", type_="rate_limited"),
            PermanentModelError("budget_exceeded", "the next call could cost more"),
            PermanentModelError("model_request_refused", "the server refuses the request"),
            PermanentModelError("text_too_long", "the text is too long"),
        ],
        ids=lambda fault: str(fault.type),
    )
    def test_is_asked_again_once_it_works_though_its_fallback_is_of_no_use(
        self, world: World, fault: ModelError
    ) -> None:
        # given an outage of both
        world.llm.faults = {MODEL: OVERLOADED, OTHER: fault}
        world.new()
        for _ in range(OUTAGE_FAILURES):
            assert world.again().status is Status.PENDING

        # when only the fallback's lasts
        world.llm.faults = {OTHER: fault}
        job = world.again()
        if job.status is Status.PENDING:
            job = world.again()  # it was the fallback's turn

        # then the job completes
        assert job.status is Status.COMPLETED
        assert MODEL in {step.model for step in job.steps}

    @pytest.mark.parametrize("type_", ["rate_limited", "unreachable", "secret_unreadable", "step_failed"])
    def test_for_what_another_model_does_not_mend_is_asked_again_itself(self, world: World, type_: str) -> None:
        world.llm.faults = {MODEL: TransientModelError("it failed", type_=type_)}
        world.new()
        for _ in range(4):
            world.again()

        assert world.llm.calls() == [MODEL] * 5

    def test_is_not_replaced_while_the_jobs_calls_are_flex_calls(self, world: World) -> None:
        world.llm.faults = {MODEL: OVERLOADED}
        world.new(tier=Tier.FLEX, flex_for=timedelta(hours=10))
        for _ in range(4):
            world.again()

        assert set(world.llm.calls()) == {MODEL}

    def test_keeps_its_count_of_tries_for_the_caller(self, world: World) -> None:
        world.llm.faults = {MODEL: TransientModelError("late", report=CallReport(maybe_billed=True), type_="timeout")}
        world.new()
        world.again()

        assert {**world.deployment.job().tries} == {"summary": 2, "summary@unanswered": 2, "summary@outage": 2}


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (PermanentModelError("text_too_long", "the text is too long"), Status.FAILED),
        (PermanentModelError("content_filtered", "the provider refuses the text"), Status.FAILED),
        (PermanentModelError("model_request_refused", "the server refuses the request"), Status.FAILED),
        (PermanentModelError("model_unauthorized", "the key is refused"), Status.PENDING),
        (PermanentModelError("model_quota_exceeded", "no quota is left"), Status.PENDING),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_a_refused_request_or_key_is_no_outage_of_the_model(
    world: World, fault: PermanentModelError, status: Status
) -> None:
    world.llm.faults = {MODEL: fault}

    assert world.new().status is status
    assert world.llm.calls() == [MODEL]


def test_a_job_that_names_its_model_gets_no_other(world: World) -> None:
    world.llm.faults = {"a-third-model": NO_MODEL}

    job = world.new(overrides=Overrides(model="a-third-model"))

    assert job.status is Status.FAILED
    assert world.llm.calls() == ["a-third-model"]


def test_a_budget_counts_the_fallbacks_price(world: World) -> None:
    world.llm.faults = {MODEL: NO_MODEL}

    job = world.new(max_cost_usd=Decimal("0.5"))

    assert world.llm.calls() == [MODEL]
    assert job.waiting_for
    assert job.waiting_for.reason is WaitReason.ACCOUNT, "the model itself is within the budget"


def test_a_worker_that_vanishes_is_estimated_by_the_costlier_of_both(world: World) -> None:
    world.llm.faults = {}
    world.new()

    assert world.deployment.runner._billing.at_risk("guideline_checklist", 100)[0] == OTHER


def test_the_log_says_that_a_fallback_was_asked(world: World, log: io.StringIO) -> None:
    world.llm.faults = {MODEL: NO_MODEL}
    world.new()

    assert "fallback asked" in log.getvalue()


class Paced:
    """A world whose fallback takes six requests a minute, and whose other models take any number."""

    def __init__(self, world: World, queue: RecordedQueue) -> None:
        self.world = world
        self.queue = queue
        self.called: list[tuple[str, timedelta]] = []
        self.started = world.clock()
        self._limit()

    def use(self, **options: Any) -> None:
        """A worker of the chain with these options."""
        self.world.use(**options)
        self._limit()

    def _limit(self) -> None:
        world, control = self.world, self.world.deployment.runner._control
        stores, account = world.deployment.stores, ModelAccount("models.test", "secret", OTHER)
        limited = {
            tier: PaceStore(stores.client, stores.table, account, tier, Rates(requests=6), world.clock) for tier in Tier
        }
        paces = control.paces
        control.paces = lambda model: limited if model == OTHER else paces(model)

    def deliver(self) -> Job:
        """The job's message, when it is visible, with the slot that it holds."""
        delay, slot = self.queue.sent.pop() if self.queue.sent else (timedelta(0), None)
        deployment, clock = self.world.deployment, self.world.clock
        clock.advance(delay)
        asyncio.run(deployment.runner.run(deployment.event_id, clock() + INVOCATION, slot))
        self.called += [(model, clock() - self.started) for model in self.world.llm.calls()]
        return deployment.job()

    def until_it_ends(self) -> Job:
        """The job after any number of deliveries."""
        for _ in range(40):
            if (job := self.deliver()).status.final:
                return job
        raise AssertionError("the job does not end")


class TestThePaceOfAFallback:
    @pytest.fixture
    def paced(
        self,
        dynamodb: "DynamoDBClient",
        sqs: "SQSClient",
        queue_url: str,
        clock: FakeClock,
        logger: Logger,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Paced:
        async def sleep(seconds: float) -> None:
            clock.advance(timedelta(seconds=seconds))

        monkeypatch.setattr(asyncio, "sleep", sleep)
        queue = RecordedQueue(sqs, queue_url)
        queue.sent = []
        return Paced(World(dynamodb, queue, clock, logger), queue)

    @pytest.mark.parametrize("model", [MODEL, "a-third-model"])
    @pytest.mark.parametrize("fault", [OVERLOADED, NO_MODEL], ids=lambda fault: str(fault.type))
    def test_is_kept_by_a_job_that_finds_the_outage_itself(self, paced: Paced, model: str, fault: ModelError) -> None:
        # given a model that has an outage, and other jobs that have used the fallback's limit up
        paced.use(model=model, fallback_model=OTHER)
        paced.world.llm.faults = {model: fault}
        limiter = paced.world.deployment.runner._control.paces(OTHER)[Tier.STANDARD]
        while limiter.reserve_at_once([Demand(1, 0)], "local") or isinstance(
            limiter.reserve([Demand(1, 0)], "local"), Granted
        ):
            pass
        paced.world.deployment.create()

        job = paced.until_it_ends()

        # then its calls wait for those of others, and take their share of the limit
        assert job.status is Status.COMPLETED
        at = [when for asked, when in paced.called if asked == OTHER]
        assert len(at) == 3
        assert at[0] >= timedelta(seconds=4)
        # twenty seconds were given away before
        assert limiter.view().free_at - paced.started >= timedelta(seconds=45), "three requests are charged"

    def test_is_what_a_job_waits_for_without_a_try_of_its_own(self, paced: Paced) -> None:
        paced.use(model="a-third-model", fallback_model=OTHER)
        paced.world.llm.faults = {"a-third-model": NO_MODEL}
        jobs = []
        for number in (1, 2, 3):
            paced.world.deployment.create(number)
            paced.queue.sent.clear()
            jobs.append(paced.deliver())

        job = jobs[-1]
        assert job.waiting_for
        assert job.waiting_for.reason is WaitReason.RATE_LIMIT
        assert not job.tries
        assert [asked for asked, _ in paced.called][-1] == "a-third-model", "the fallback is not asked"

    def test_has_room_again_for_what_a_job_was_granted_and_did_not_ask(self, paced: Paced) -> None:
        paced.use(model="a-third-model", fallback_model=OTHER)
        paced.world.llm.faults = {"a-third-model": NO_MODEL, OTHER: PermanentModelError("text_too_long", "too long")}
        paced.world.deployment.create()
        paced.deliver()
        limiter = paced.world.deployment.runner._control.paces(OTHER)[Tier.STANDARD]

        assert limiter.view().free_at <= paced.world.clock() + timedelta(seconds=10), "one call was made"


class TestOverHttp:
    """The same with the adapter, against the scripted server."""

    def run(self, refusal: Reply) -> tuple[OneJob, list[str]]:
        """The job, and the models that the server was asked for."""

        def rule(call: Call) -> Reply | None:
            return refusal if json.loads(call.body)["model"] == MODEL else None

        with ModelServer(offline=True) as server:
            server.rule = rule
            client = create_client(server.base_url, key, TIMEOUT)
            llm = OpenAILLM(client, MODEL, TIMEOUT, 16_384)
            chain = with_options(fallback_model=OTHER)["guideline_checklist"]
            job = run_one(chain, {"guidelines": TEXT}, llm, close=client.close)
            return job, [json.loads(call.body)["model"] for call in server.journal.calls()]

    def test_a_model_that_the_server_does_not_have_is_replaced(self) -> None:
        job, asked = self.run(refused(404, "model_not_found", message="The model does not exist"))

        assert job.status is Status.COMPLETED
        assert asked == [MODEL, OTHER, OTHER, OTHER]
        assert [(attempt.model, attempt.outcome) for attempt in job.attempts] == [(MODEL, "model_not_found")]

    def test_a_model_that_is_overloaded_is_replaced_after_three_tries(self) -> None:
        job, asked = self.run(refused(529))

        assert job.status is Status.COMPLETED
        assert asked == [MODEL] * 3 + [OTHER] * 3
        assert [(attempt.model, attempt.outcome) for attempt in job.attempts] == [(MODEL, "overloaded")] * 3


def test_a_chain_names_the_fallback_and_a_step_another_one() -> None:
    chain = Chain("own", description="A chain.", model="first", fallback_model="second")

    @chain.ask
    def summary(document: Text) -> str:
        """Summarize it."""

    @chain.ask(fallback_model="third")
    def title(document: Text) -> str:
        """Name it."""

    assert [step.options.fallback_model for step in chain.compiled.calls] == ["second", "third"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"fallback_model": " "}, "the fallback_model of the chain own has no name"),
        ({"model": "m", "fallback_model": "m"}, "the fallback_model of the chain own is its model: name another one"),
    ],
)
def test_a_fallback_that_is_none_is_a_mistake(options: dict[str, str], why: str) -> None:
    with pytest.raises(ChainError, match=why):
        Chain("own", description="A chain.", **options)  # type: ignore[arg-type]
