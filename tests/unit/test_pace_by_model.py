"""A job keeps to the pace of its own model, and to the breaker of the account's key."""

import io
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue
from jobchain.breaker import PROBE_EVERY, ModelAccount
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain.domain import Status, Tier
from jobchain.errors import PermanentModelError
from jobchain.overrides import Overrides
from jobchain.pace import Rates
from jobchain_worker.account_watch import AccountWatch
from tests.conftest import make_admission_control, make_runner
from tests.deployment import Deployment
from tests.fake_model.replies import MODEL
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OTHER = "another-model"
OWN = Overrides(model=OTHER)
ACCOUNT = ModelAccount("models.test", "secret", MODEL)
NO_KEY = PermanentModelError("model_unauthorized", "the model's server does not accept the API key")
NO_MODEL = PermanentModelError("model_not_found", "the model's server knows no such model")


class World:
    """A deployment whose account has limits of two models, a job's worth of calls each; the other one's are asked."""

    def __init__(self, client: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self.deployment = Deployment(client, queue, clock, logger)
        self.clock = clock
        self.breakers = BreakerStore(client, self.deployment.stores.table, ACCOUNT, clock)
        self.watch = AccountWatch(self.breakers, logger, lambda _: None)
        self.asked: list[str] = []
        self._paces: dict[str, dict[Tier, PaceStore]] = {}
        self._logger, self._queue = logger, queue
        self.use(CHAINS)

    def use(self, chains: Any) -> None:
        stores, llm = self.deployment.stores, self.deployment.llm
        parts = {"paces": self.paces, "breakers": self.breakers, "watch": self.watch, "chains": chains}
        control = make_admission_control(stores, self._queue, llm, self._logger, **parts)
        self.deployment.runner = make_runner(stores, self._queue, llm, self._logger, control=control, chains=chains)

    def paces(self, model: str) -> dict[Tier, PaceStore]:
        self.asked.append(model)
        if model not in self._paces:
            stores, rates = self.deployment.stores, Rates(requests=3)
            account = replace(ACCOUNT, model=model)
            self._paces[model] = {
                tier: PaceStore(stores.client, stores.table, account, tier, rates, stores.clock) for tier in Tier
            }
        return self._paces[model]

    def run(self, number: int, *script: Any, **changes: Any) -> Status:
        """How a new job stands after one delivery of its message."""
        self.deployment.create(number, **changes)
        return self.again(*script)

    def again(self, *script: Any) -> Status:
        return self.deployment.run(*script).status


@pytest.fixture
def world(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> World:
    return World(dynamodb, queue, clock, logger)


def of_one_model(model: str) -> dict[str, Chain]:
    """The default chain, all of whose steps name this model."""
    chain = CHAINS["guideline_checklist"]
    steps = [replace(step, options=step.options._replace(model=model)) for step in chain.calls]
    return {chain.name: replace(chain, steps=steps)}


def test_a_job_of_another_model_takes_nothing_of_the_deployments_limits(world: World) -> None:
    assert world.run(1, overrides=OWN) is Status.COMPLETED
    assert set(world.asked) == {OTHER}
    assert world.run(2) is Status.COMPLETED

    # Both limits are used up now, each by its own job.
    assert world.run(3, overrides=OWN) is Status.PENDING
    assert world.run(4) is Status.PENDING
    assert world.deployment.job().attempts == 0


def test_a_chain_whose_steps_all_name_one_model_follows_the_pace_of_that(world: World) -> None:
    world.use(of_one_model(OTHER))

    assert world.run(1) is Status.COMPLETED
    assert set(world.asked) == {OTHER}
    assert world.run(2) is Status.PENDING


def test_a_job_of_another_model_does_not_wait_for_the_deployments_and_leaves_its_breaker_open(world: World) -> None:
    world.run(1, NO_MODEL)
    assert world.run(2) is Status.PENDING

    assert world.run(3, overrides=OWN) is Status.COMPLETED
    world.breakers._fresh_until = None
    assert world.breakers.look()


def test_a_job_of_another_model_waits_for_the_key_and_closes_the_breaker_as_a_probe(
    world: World, log: io.StringIO
) -> None:
    world.run(1, NO_KEY)
    assert world.run(2) is Status.PENDING
    assert world.run(3, overrides=OWN) is Status.PENDING
    assert world.deployment.job().attempts == 0

    world.clock.advance(PROBE_EVERY)
    assert world.again() is Status.COMPLETED
    assert "breaker closed" in log.getvalue()
    assert world.breakers.look() is None


def test_jobs_of_a_chain_with_a_model_of_its_own_run_again_after_the_key_works(world: World) -> None:
    world.use(of_one_model(OTHER))
    world.run(1, NO_KEY)
    world.clock.advance(PROBE_EVERY)
    assert world.run(2) is Status.COMPLETED

    world.clock.advance(timedelta(minutes=1))
    assert world.run(3) is Status.COMPLETED, "the probe has closed the breaker for all"


def test_a_job_that_names_a_snapshot_of_the_deployments_model_takes_of_the_same_limits(world: World) -> None:
    snapshot = Overrides(model=f"{MODEL}-2026-09-30")

    assert world.run(1) is Status.COMPLETED

    assert world.run(2, overrides=snapshot) is Status.PENDING
    assert set(world.asked) == {MODEL}
