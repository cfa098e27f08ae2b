"""What a worker does about the account when a call ends: the breaker, the operator's metric and log."""

import asyncio
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.breakers import BreakerStore
from jobchain.breaker import PROBE_EVERY, ModelAccount, OpenBreaker
from jobchain.errors import CallReport, ModelError, ModelSettingsError, PermanentModelError, TransientModelError
from jobchain_worker.account_watch import AccountWatch
from tests.conftest import TABLE
from tests.deployment import Faults
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REPORT = CallReport(
    cause="You exceeded your current quota, sk-secret", status=429, code="insufficient_quota", request_id="req_1"
)
NO_QUOTA = PermanentModelError("model_quota_exceeded", "the account has no quota left (it answered 429)", REPORT)


class World:
    """A watch of one worker, with what it has counted and logged."""

    def __init__(self, client: "DynamoDBClient", clock: FakeClock, logger: Logger, log: io.StringIO) -> None:
        self.clock = clock
        self.faults = Faults(client)
        self.breakers = BreakerStore(client, TABLE, ModelAccount("api.openai.com", "a-secret", "gpt-6-luna"), clock)
        self.counted: list[OpenBreaker] = []
        self.requests: list[str] = []
        client.meta.events.register("before-call.dynamodb", lambda model, **_: self.requests.append(model.name))
        self._watch = AccountWatch(self.breakers, logger, self.counted.append)
        self._log = log

    def refused(self, error: ModelError = NO_QUOTA, **given: bool) -> bool:
        return asyncio.run(self._watch.refused(error, self.clock(), **given))

    def answered(self) -> None:
        asyncio.run(self._watch.answered(self.clock()))

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]


@pytest.fixture
def world(dynamodb: "DynamoDBClient", clock: FakeClock, logger: Logger, log: io.StringIO) -> World:
    return World(dynamodb, clock, logger, log)


def test_the_first_refusal_opens_the_breaker_and_rings_the_alarm(world: World) -> None:
    assert world.refused()

    assert world.counted == [world.breakers.look()]
    (line,) = world.logged()
    assert (line["level"], line["message"]) == ("ERROR", "breaker opened: jobs wait until the model's account works")
    assert (line["type"], line["scope"], line["provider_status"]) == ("model_quota_exceeded", "key", 429)
    assert line["reason"] == "the account has no quota left (it answered 429)"
    assert (line["provider_code"], line["provider_request_id"]) == ("insufficient_quota", "req_1")


def test_neither_a_key_nor_a_text_of_the_provider_is_logged(world: World) -> None:
    world.refused()

    assert "sk-secret" not in json.dumps(world.logged())
    assert "exceeded your current" not in json.dumps(world.logged())


def test_jobs_that_are_refused_later_wait_and_ring_nothing(world: World) -> None:
    world.refused()

    assert [world.refused() for _ in range(9)] == [True] * 9

    assert len(world.counted) == len(world.logged()) == 1
    assert world.requests == ["UpdateItem"]


def test_a_probe_that_fails_rings_on(world: World) -> None:
    world.refused()
    world.clock.advance(PROBE_EVERY)

    assert world.refused(probing=True)

    assert [breaker.refusals for breaker in world.counted] == [1, 2]
    assert [line["level"] for line in world.logged()] == ["ERROR", "WARNING"]


def test_an_answer_closes_it_and_is_told(world: World) -> None:
    world.refused()
    world.clock.advance(PROBE_EVERY)

    world.answered()

    assert world.breakers.look() is None
    assert world.logged()[-1]["message"] == "breaker closed: the model's account works"


def test_an_answer_costs_nothing_while_none_is_open(world: World) -> None:
    for _ in range(10):
        world.answered()

    assert world.requests == []
    assert world.logged() == []


@pytest.mark.parametrize(
    "error",
    [
        TransientModelError("the model's server answered 500", type_="server_error"),
        TransientModelError("the model's server answered 429", type_="rate_limited"),
        PermanentModelError("text_too_long", "the text is too long"),
        PermanentModelError("content_filtered", "filtered"),
    ],
)
def test_other_faults_are_not_the_accounts(world: World, error: ModelError) -> None:
    assert not world.refused(error)

    assert world.breakers.look() is None
    assert world.counted == []


def test_settings_that_can_t_work_are_the_accounts(world: World) -> None:
    assert world.refused(ModelSettingsError("the secret a-secret holds no API key"))

    found = world.breakers.look()
    assert found
    assert found.type == "model_misconfigured"


def test_a_model_that_the_job_named_is_its_own_fault(world: World) -> None:
    assert not world.refused(PermanentModelError("model_not_found", "no such model"), own_model=True)

    assert world.breakers.look() is None


def test_while_the_table_does_not_answer_the_job_waits_and_the_next_refusal_opens_it(world: World) -> None:
    world.faults.choose = lambda _operation: "refused"
    assert world.refused()
    assert world.counted == []

    world.faults.choose = lambda _operation: None
    world.refused()

    assert len(world.counted) == 1
    assert world.logged()[0]["message"] == "breaker not opened"


def test_while_the_table_does_not_answer_it_stays_open_until_the_next_answer(world: World) -> None:
    world.refused()
    world.clock.advance(PROBE_EVERY)
    world.faults.choose = lambda _operation: "refused"
    world.answered()
    assert world.breakers.is_open()

    world.faults.choose = lambda _operation: None
    world.clock.advance(timedelta(seconds=1))
    world.answered()

    assert world.breakers.look() is None
