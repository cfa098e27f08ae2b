"""The tier flex: a queue of its own, calls at half the price, and back to standard when the caller's patience ends."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.items import DISPATCH_GRACE
from jobchain.aws.queue import JobQueue
from jobchain.domain import Status, Tier
from jobchain.errors import TransientModelError
from jobchain.llm import AnswerText, ModelAnswer
from jobchain.spending import Usage
from jobchain_sweeper.sweeper import Sweep
from tests.conftest import Items, Messages, make_runner, make_service, make_sweeper
from tests.fake_model.answers import CHECKLIST, DIAGRAM, SUMMARY
from tests.fake_model.llm import Said, ScriptedLLM
from tests.fake_model.script import Script
from tests.fakes import FakeClock
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

import asyncio

INVOCATION = timedelta(minutes=15)
BUSY = TransientModelError("the model's server answered 429")
TEXT = "Passwords must be long. They must be stored hashed."


@pytest.fixture
def flex_url(sqs: "SQSClient") -> str:
    return sqs.create_queue(QueueName="flex", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]


@pytest.fixture
def flex_messages(sqs: "SQSClient", flex_url: str) -> Messages:
    return Messages(sqs, flex_url)


@pytest.fixture
def queue(sqs: "SQSClient", queue_url: str, flex_url: str) -> JobQueue:
    return JobQueue(sqs, queue_url, flex_url)


@pytest.fixture
def api(stores: Stores, queue: JobQueue, logger: Logger) -> Api:
    return Api(make_service(stores, queue, logger), logger)


@pytest.fixture
def llm() -> ScriptedLLM:
    return ScriptedLLM()


Run = Callable[..., None]


@pytest.fixture
def run(stores: Stores, queue: JobQueue, llm: ScriptedLLM, clock: FakeClock, logger: Logger) -> Run:
    """One delivery of a job's message, with these answers of the model."""
    runner = make_runner(stores, queue, llm, logger)

    def run(event_id: str, *script: Said) -> None:
        llm.script = Script(*script)
        asyncio.run(runner.run(event_id, clock() + INVOCATION))

    return run


def create(api: Api, **more: object) -> str:
    """A flex job's id."""
    answer = api("POST", "/jobs", {"input_text": TEXT, "tier": "flex", **more})
    assert answer.status == 201, answer.body
    event_id: str = answer.body["event_id"]
    return event_id


def served(answer: object, tier: Tier) -> ModelAnswer:
    return AnswerText("gpt-6-luna", Usage(100, 0, 20, 0), json.dumps(answer), tier=tier)


class TestItsQueue:
    def test_gets_its_jobs_and_no_others(self, api: Api, messages: Messages, flex_messages: Messages) -> None:
        flex = create(api)
        standard = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]

        assert flex_messages.waiting() == [{"event_id": flex}]
        assert messages.waiting() == [{"event_id": standard}]
        assert api("GET", f"/jobs/{flex}").body["tier"] == "flex"

    def test_gets_those_of_a_batch(self, api: Api, messages: Messages, flex_messages: Messages) -> None:
        entries = [{"input_text": TEXT, "tier": tier} for tier in ("flex", "standard", "flex")]

        api("POST", "/jobs/batch", {"jobs": entries})

        assert (flex_messages.count(), messages.count()) == (2, 1)

    def test_gets_what_is_put_off_retried_and_sent_by_the_sweeper(
        self,
        api: Api,
        run: Run,
        stores: Stores,
        queue: JobQueue,
        clock: FakeClock,
        logger: Logger,
        messages: Messages,
        flex_messages: Messages,
    ) -> None:
        event_id = create(api)
        run(event_id, BUSY)
        assert flex_messages.count() == 2

        api("POST", f"/jobs/{event_id}/cancel")
        api("POST", f"/jobs/{event_id}/retry")
        assert flex_messages.count() == 3

        stores.due.mark_due(event_id, clock())
        sweeper = make_sweeper(stores, queue, logger)
        assert sweeper.sweep(clock() + timedelta(minutes=1)).sent == 1
        assert (flex_messages.count(), messages.count()) == (4, 0)


class TestAJobThatWaitsUntilItsTimeForFlexIsOver:
    """It waits behind a backlog of its queue, whose messages never come here."""

    @pytest.fixture
    def sweep(self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> Callable[[], Sweep]:
        sweeper = make_sweeper(stores, queue, logger)
        return lambda: sweeper.sweep(clock() + timedelta(minutes=1))

    def test_is_sent_to_the_standard_queue_then_and_not_before(
        self,
        api: Api,
        sweep: Callable[[], Sweep],
        clock: FakeClock,
        messages: Messages,
        flex_messages: Messages,
    ) -> None:
        event_id = create(api, flex_seconds=3600)
        sent = []
        for minute in range(1, 70):
            clock.advance(timedelta(minutes=1))
            if sweep().sent:
                sent.append(minute)

        # then once more, as any standard job whose worker does not come
        assert sent == [60]
        assert messages.waiting() == [{"event_id": event_id}]
        assert flex_messages.count() == 1

    def test_is_checked_from_then_on_like_a_standard_one(
        self, api: Api, sweep: Callable[[], Sweep], clock: FakeClock, messages: Messages, flex_messages: Messages
    ) -> None:
        create(api, flex_seconds=60)
        clock.advance(timedelta(seconds=60))
        assert sweep().sent == 1
        clock.advance(2 * DISPATCH_GRACE)

        assert sweep().sent == 1
        assert (messages.count(), flex_messages.count()) == (2, 1)

    def test_leaves_it_too_after_it_was_put_off_in_between(
        self, api: Api, run: Run, sweep: Callable[[], Sweep], clock: FakeClock, items: Items, messages: Messages
    ) -> None:
        event_id = create(api, flex_seconds=3600)
        run(event_id, BUSY)
        assert items.meta(event_id)["due_at"] == items.meta(event_id)["flex_until"]

        clock.advance(timedelta(seconds=3599))
        assert sweep() == Sweep()
        clock.advance(timedelta(seconds=1))
        assert sweep() == Sweep(sent=1)
        assert messages.count() == 1

    def test_is_put_off_into_the_standard_queue_where_the_wait_ends_with_its_time(
        self, api: Api, run: Run, clock: FakeClock, messages: Messages, flex_messages: Messages, items: Items
    ) -> None:
        event_id = create(api, flex_seconds=60)
        clock.advance(timedelta(seconds=59))
        run(event_id, BUSY)

        assert items.meta(event_id)["not_before"]["N"] == items.meta(event_id)["flex_until"]["N"] + "000"
        assert (messages.count(), flex_messages.count()) == (1, 1)
        # A message that comes before that is delayed in the standard queue too.
        run(event_id)
        assert (messages.count(), flex_messages.count()) == (2, 1)

    def test_is_recovered_when_its_worker_has_vanished(
        self, api: Api, sweep: Callable[[], Sweep], stores: Stores, clock: FakeClock, flex_messages: Messages
    ) -> None:
        event_id = create(api, flex_seconds=12 * 3600)
        stores.claim(event_id, clock() + INVOCATION)
        clock.advance(INVOCATION)
        assert sweep() == Sweep()
        clock.advance(timedelta(seconds=1))

        assert sweep() == Sweep(sent=1)
        assert flex_messages.count() == 2


class TestItsCalls:
    def test_ask_for_flex_and_cost_half(self, api: Api, run: Run, stores: Stores, llm: ScriptedLLM) -> None:
        event_id = create(api)

        run(event_id, *(served(answer, Tier.FLEX) for answer in (SUMMARY, CHECKLIST, DIAGRAM)))

        job = stores.jobs.get("local", event_id)
        assert job.status is Status.COMPLETED
        assert {request.tier for request in llm.requests} == {Tier.FLEX}
        # 100 tokens at $0.10 and 20 at $0.50 a million, halved, three times
        assert job.spending.cost_usd == Decimal("0.00003")

    def test_cost_what_they_were_served_as(self, api: Api, run: Run, stores: Stores) -> None:
        event_id = create(api)

        run(event_id, *(served(answer, Tier.STANDARD) for answer in (SUMMARY, CHECKLIST, DIAGRAM)))

        assert stores.jobs.get("local", event_id).spending.cost_usd == Decimal("0.00006")

    def test_may_be_refused_more_often_than_others(self, api: Api, run: Run, stores: Stores, clock: FakeClock) -> None:
        event_id = create(api, flex_seconds=12 * 3600)
        for _ in range(12):
            run(event_id, BUSY)
            clock.advance(timedelta(minutes=55))

        assert stores.jobs.get("local", event_id).status is Status.PENDING

    def test_become_standard_ones_when_the_callers_time_is_over(
        self, api: Api, run: Run, stores: Stores, clock: FakeClock, llm: ScriptedLLM, items: Items
    ) -> None:
        # given a job whose caller waits ten minutes for flex
        event_id = create(api, flex_seconds=600)
        began = clock()
        while clock() < began + timedelta(seconds=600):
            run(event_id, BUSY)
            # then no wait is longer than what is left of that
            not_before = int(items.meta(event_id)["not_before"]["N"]) / 1000
            assert not_before <= (began + timedelta(seconds=600)).timestamp()
            clock.advance(timedelta(seconds=not_before - clock().timestamp()))

        # when the time is over
        run(event_id, *(served(answer, Tier.STANDARD) for answer in (SUMMARY, CHECKLIST, DIAGRAM)))

        # then it is done as any other job
        assert stores.jobs.get("local", event_id).status is Status.COMPLETED
        assert [request.tier for request in llm.requests[-3:]] == [Tier.STANDARD] * 3

    def test_are_flex_ones_again_after_a_retry(self, api: Api, run: Run, clock: FakeClock, llm: ScriptedLLM) -> None:
        event_id = create(api, flex_seconds=600)
        api("POST", f"/jobs/{event_id}/cancel")
        clock.advance(timedelta(hours=2))
        api("POST", f"/jobs/{event_id}/retry")

        run(event_id, BUSY)

        assert [request.tier for request in llm.requests] == [Tier.FLEX]

    def test_that_fail_for_good_fail_the_job_at_once(self, api: Api, run: Run, stores: Stores) -> None:
        event_id = create(api)

        run(event_id, *[served({}, Tier.FLEX)] * 3)

        assert stores.jobs.get("local", event_id).status is Status.FAILED


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ({"tier": "cheap"}, "tier"),
        ({"tier": None}, "tier"),
        ({"flex_seconds": 59}, "flex_seconds"),
        ({"flex_seconds": 43_201}, "flex_seconds"),
        ({"flex_seconds": "soon"}, "flex_seconds"),
        ({"max_cost_usd": 0}, "max_cost_usd"),
        ({"max_cost_usd": -1}, "max_cost_usd"),
        ({"max_cost_usd": 0.0000001}, "max_cost_usd"),
        ({"max_cost_usd": "much"}, "max_cost_usd"),
        ({"max_cost_usd": "NaN"}, "max_cost_usd"),
        ({"max_cost_usd": 10_001}, "max_cost_usd"),
        ({"max_cost_usd": "1." + "0" * 40}, "max_cost_usd"),
        ({"max_cost_usd": True}, "max_cost_usd"),
    ],
)
def test_an_option_that_does_not_fit_is_named(
    api: Api, items: Items, log: io.StringIO, option: dict[str, object], field: str
) -> None:
    answer = api("POST", "/jobs", {"input_text": TEXT, **option})

    assert (answer.status, list(answer.body["errors"])) == (422, [field])
    assert items.all() == []


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("1", 1),
        ("1.0", 1),
        ("1e0", 1),
        ("1." + "0" * 40, 1),
        ("1." + "0" * 39 + "1", 1),
        ("0.0000019", 0.000001),
        ("10000", 10_000),
    ],
)
def test_a_budget_is_kept_to_the_millionth_however_it_is_written(api: Api, written: str, kept: float) -> None:
    answer = api("POST", "/jobs", f'{{"input_text": "{TEXT}", "max_cost_usd": {written}}}')

    assert answer.status == 201, answer.body
    assert api("GET", f"/jobs/{answer.body['event_id']}").body["max_cost_usd"] == kept


@pytest.mark.parametrize("option", [{"tier": "flex"}, {"max_cost_usd": 0.5}, {"tier": "flex", "flex_seconds": 60}])
def test_a_replay_with_another_option_is_another_request(api: Api, option: dict[str, object]) -> None:
    headers = {"Idempotency-Key": "key"}
    first = {"input_text": TEXT}
    assert api("POST", "/jobs", first, headers).status == 201

    assert api("POST", "/jobs", {**first, "tier": "standard"}, headers).status == 200
    assert api("POST", "/jobs", {**first, **option}, headers).status == 422
