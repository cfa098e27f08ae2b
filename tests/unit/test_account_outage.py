"""A spell in which the model's server refuses the account: no job fails, and hardly a call is made."""

import io
import json
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.queue import JobQueue
from jobchain.breaker import PROBE_EVERY
from jobchain.chains import CHAINS
from jobchain.domain import Status, WaitReason
from jobchain.errors import ModelSettingsError, PermanentModelError, TransientModelError
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain.overrides import Overrides
from tests.deployment import Deployment
from tests.fake_model.llm import SchemaLLM
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NO_QUOTA = PermanentModelError("model_quota_exceeded", "the account at the model's provider has no quota left")
IN_FLIGHT = 10


class OutageLLM(SchemaLLM):
    """A model whose account can be refused."""

    refusal: Exception | None = None
    refused_model: str | None = None
    """The one model that is refused; None for all."""

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """The right answer, or the refusal."""
        if self.refusal and self.refused_model in (None, request.model):
            self.requests.append(request)
            raise self.refusal
        return await super().ask(request)


class Outage:
    """A deployment with a backlog, one worker, and batches of ten messages."""

    def __init__(self, client: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self.llm = OutageLLM()
        self.clock = clock
        self.deployment = Deployment(client, queue, clock, logger, self.llm)
        self.ids: list[str] = []

    def create(self, count: int) -> None:
        self.ids = [self.deployment.create(number) for number in range(1, count + 1)]

    def deliver(self) -> None:
        """The message of each job that has not ended, in batches."""
        left = [event_id for event_id in self.ids if not self.deployment.job(event_id).status.final]
        for start in range(0, len(left), IN_FLIGHT):
            self.deployment.run_together(left[start : start + IN_FLIGHT])

    def pass_by(self, time: timedelta, step: timedelta = timedelta(seconds=30)) -> None:
        """Time passes, with a delivery of all messages each few seconds: more often than they come in truth."""
        until = self.clock() + time
        while self.clock() < until:
            self.clock.advance(step)
            self.deliver()

    def calls(self) -> int:
        """Calls since the last time."""
        count = len(self.llm.requests)
        self.llm.requests.clear()
        return count

    @property
    def statuses(self) -> Counter[Status]:
        return Counter(self.deployment.job(event_id).status for event_id in self.ids)


@pytest.fixture
def outage(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> Outage:
    return Outage(dynamodb, queue, clock, logger)


@pytest.mark.parametrize(
    "refusal",
    [
        NO_QUOTA,
        PermanentModelError("model_unauthorized", "the model's server does not accept the API key"),
        PermanentModelError("model_forbidden", "the API key may not use the model"),
        PermanentModelError("model_not_found", "the model's server knows no such model"),
        ModelSettingsError("the secret a-secret holds no API key"),
    ],
    ids=lambda refusal: str(refusal.type),
)
def test_three_minutes_without_the_account_fail_no_job(outage: Outage, refusal: PermanentModelError) -> None:
    # given a backlog, and an account that is refused for three minutes
    outage.create(12)
    outage.llm.refusal = refusal
    outage.deliver()
    in_flight = outage.calls()
    outage.pass_by(3 * PROBE_EVERY)
    probes = outage.calls()

    # then no job has failed; the calls were those in flight and one probe a minute
    assert outage.statuses == {Status.PENDING: 12}
    assert in_flight <= IN_FLIGHT
    assert probes == 3

    # and when the account works again, all jobs complete
    outage.llm.refusal = None
    outage.pass_by(timedelta(minutes=20), step=timedelta(minutes=5))
    assert outage.statuses == {Status.COMPLETED: 12}


def test_a_job_that_met_the_fault_says_why_it_waits(outage: Outage) -> None:
    outage.create(1)
    outage.llm.refusal = NO_QUOTA
    outage.deliver()

    waiting = outage.deployment.job().waiting_for

    assert waiting
    assert waiting.reason is WaitReason.ACCOUNT
    assert "no quota" in waiting.detail


@pytest.mark.parametrize("part", [0, 1])
def test_a_job_that_met_the_fault_is_back_when_the_account_may_be_probed_and_not_before(
    outage: Outage, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    # whether it draws the shortest of the waits or the longest
    monkeypatch.setattr(random, "uniform", lambda *bounds: bounds[part])
    outage.create(1)
    outage.llm.refusal = NO_QUOTA
    outage.deliver()
    outage.llm.refusal = None
    waiting = outage.deployment.job().waiting_for
    assert waiting
    assert waiting.until

    outage.clock.now = datetime.fromisoformat(waiting.until)
    outage.deliver()

    assert outage.statuses == {Status.COMPLETED: 1}


def test_a_probe_that_meets_another_fault_leaves_the_breaker_open(outage: Outage) -> None:
    outage.create(12)
    outage.llm.refusal = NO_QUOTA
    outage.deliver()
    outage.calls()

    outage.llm.refusal = TransientModelError("the model's server answered 500", type_="server_error")
    outage.pass_by(3 * PROBE_EVERY)

    assert outage.calls() == 3
    assert outage.statuses == {Status.PENDING: 12}


def test_the_operator_reads_one_error_for_all_jobs(outage: Outage, log: io.StringIO) -> None:
    outage.create(12)
    outage.llm.refusal = NO_QUOTA
    outage.deliver()

    errors = [line for line in map(json.loads, log.getvalue().splitlines()) if line["level"] == "ERROR"]

    assert [line["message"] for line in errors] == ["breaker opened: jobs wait until the model's account works"]


def test_a_probe_with_a_long_text_makes_one_call(outage: Outage) -> None:
    # given a text of many parts, whose first calls are all refused
    text = "Passwords must be long. They must be stored hashed. " * 1500
    outage.ids = [outage.deployment.create(1, payload={"guidelines": text})]
    outage.llm.refusal = NO_QUOTA
    outage.deliver()
    assert outage.calls() > 1

    # then a probe makes one
    outage.pass_by(1.5 * PROBE_EVERY)
    assert outage.calls() == 1


def test_a_probe_that_ends_without_a_call_leaves_the_minute_to_the_next_job(outage: Outage) -> None:
    # given an account that works again, and jobs whose budgets allow no call
    outage.create(1)
    outage.llm.refusal = NO_QUOTA
    outage.deliver()
    outage.llm.refusal = None
    poor = [outage.deployment.create(number, max_cost_usd=Decimal("0.000001")) for number in (2, 3)]
    outage.clock.advance(PROBE_EVERY * 2)
    outage.calls()

    # when they come first
    for event_id in [*poor, *outage.ids]:
        outage.deployment.run_together([event_id])

    # then the first one that makes a call closes the breaker
    assert [outage.deployment.job(event_id).status for event_id in poor] == [Status.FAILED] * 2
    assert outage.statuses == {Status.COMPLETED: 1}


def test_a_probe_whose_calls_are_of_another_model_is_one_a_minute_too(outage: Outage) -> None:
    # given a chain whose first step names a model
    chain = CHAINS["guideline_checklist"]
    first, *others = chain.calls
    named = first.with_options(first.options._replace(model="another-model"))
    chains = {chain.name: replace(chain, steps=[named, *others])}
    outage.deployment.runner = outage.deployment.worker(chains=chains)
    outage.create(12)
    outage.llm.refusal = NO_QUOTA
    outage.deliver()
    outage.calls()

    outage.pass_by(3 * PROBE_EVERY)

    assert outage.calls() == 3


class TestAJobThatNamesABadModel:
    """A gateway refuses the key for a model that it does not offer in its words for a key without quota."""

    def test_is_no_probe_for_the_others(self, outage: Outage) -> None:
        # given jobs that wait for an account, and others that name a model which it never offers
        outage.create(2)
        outage.llm.refusal = NO_QUOTA
        outage.deliver()
        waiting = outage.ids
        named = [outage.deployment.create(number, overrides=Overrides(model="bad-model")) for number in range(3, 13)]

        # when the account works again, and the others always come first
        outage.llm.refused_model = "bad-model"
        outage.ids = [*named, *waiting]
        outage.pass_by(2 * PROBE_EVERY)

        # then the first minute has closed the breaker, and no call of the bad model has opened it again
        assert [outage.deployment.job(event_id).status for event_id in waiting] == [Status.COMPLETED] * 2

    def test_asks_once_a_minute_while_the_account_is_refused(self, outage: Outage) -> None:
        outage.create(1)
        outage.llm.refusal = NO_QUOTA
        outage.deliver()
        outage.ids = [outage.deployment.create(number, overrides=Overrides(model="a-model")) for number in range(2, 14)]
        outage.calls()

        outage.pass_by(3 * PROBE_EVERY)

        assert outage.calls() == 3

    def test_finds_out_that_the_account_works_where_no_other_job_is_left(self, outage: Outage) -> None:
        outage.create(1)
        outage.llm.refusal = NO_QUOTA
        outage.deliver()
        outage.llm.refusal = None
        outage.ids = [outage.deployment.create(number, overrides=Overrides(model="a-model")) for number in range(2, 14)]

        outage.pass_by(2 * PROBE_EVERY)

        assert outage.statuses == {Status.COMPLETED: 12}
