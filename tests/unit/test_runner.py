"""The worker's way through a job, with a scripted model and moto's table and queue."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger
from pydantic import JsonValue

from jobchain.aws.items import DISPATCH_GRACE
from jobchain.aws.queue import MAX_DELAY, JobQueue
from jobchain.breaker import ACCOUNT_FAULTS
from jobchain.chains import CHAINS
from jobchain.chains.chain import fence
from jobchain.domain import DEADLINE, Job, NewJob, Status, WaitReason
from jobchain.errors import (
    CallReport,
    JobNotFound,
    PermanentModelError,
    SettingsError,
    TransientModelError,
    Unavailable,
)
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Spending, Usage
from tests.conftest import CALL_TIME, Items, Messages, make_runner
from tests.fake_model.answers import CHECKLIST, DIAGRAM, ITEMS, SUMMARY
from tests.fake_model.llm import Said, ScriptedLLM, WorkerVanished
from tests.fake_model.replies import USAGE
from tests.fake_model.script import Script
from tests.fakes import FakeClock
from tests.stores import Stores

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

TEXT = "Passwords must be long. They must be stored hashed."
INVOCATION = timedelta(minutes=5)


class Stage:
    """A table, a queue, a clock and a model, and one pending job."""

    def __init__(self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self.stores = stores
        self.clock = clock
        self.llm = ScriptedLLM(clock=clock)
        self.runner = make_runner(stores, queue, self.llm, logger)
        self.event_id = "0b6c2f4e-0000-4000-8000-000000000001"
        self.stores.admission.create(
            NewJob(self.event_id, "local", "guideline_checklist", {"guidelines": TEXT}, fingerprint="f"),
            retention=timedelta(days=30),
        )

    def run(self, *script: Said, time_left: timedelta = INVOCATION) -> Job:
        """One delivery of the job's message, with these answers of the model."""
        self.llm.script = Script(*script)
        asyncio.run(self.runner.run(self.event_id, self.clock() + time_left))
        return self.job

    @property
    def job(self) -> Job:
        return self.stores.jobs.get("local", self.event_id)


@pytest.fixture
def stage(stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> Stage:
    return Stage(stores, queue, clock, logger)


def test_a_job_ends_with_a_summary_a_checklist_and_a_diagram(stage: Stage, items: Items) -> None:
    job = stage.run(SUMMARY, CHECKLIST, DIAGRAM)

    assert job.status is Status.COMPLETED
    assert {step.name: step.output for step in job.steps} == {
        "summary": "Passwords must be long.",
        "checklist": [{**item, "source_found": True} for item in ITEMS],
        "diagram": 'flowchart TD\n    n1["Make passwords long"]\n    n2["Store them hashed"]\n    n1 --> n2\n',
    }
    assert items.due() == [], "a finished job leaves the index"


def test_each_step_works_on_what_the_one_before_made(stage: Stage) -> None:
    stage.run(SUMMARY, CHECKLIST, DIAGRAM)

    document, both, checklist = (request.input for request in stage.llm.requests)
    assert document == fence("document", TEXT)
    assert both == f"{document}\n\n{fence('summary', 'Passwords must be long.')}"
    assert "- Store them hashed." in checklist


def test_tokens_and_cost_are_counted_for_each_step_and_the_job(stage: Stage) -> None:
    job = stage.run(SUMMARY, CHECKLIST, DIAGRAM)

    # 90 fresh tokens at $0.10, 10 cached at $0.01 and 20 written at $0.50 a million
    assert {step.spending.cost_usd for step in job.steps} == {Decimal("0.0000191")}
    assert job.spending.cost_usd == Decimal("0.0000573")
    assert job.spending.usage == Usage(300, 30, 60, 15)


def test_the_cost_of_a_model_without_a_known_price_is_unknown_not_zero(stage: Stage) -> None:
    unknown = AnswerText("some-model", Usage(100, 0, 20, 0), json.dumps(SUMMARY))

    job = stage.run(unknown, CHECKLIST, DIAGRAM)

    assert job.steps[0].spending.cost_usd is None
    assert job.steps[1].spending.cost_usd is not None
    assert job.spending.cost_usd is None


def test_a_second_delivery_of_a_finished_job_asks_nothing(stage: Stage) -> None:
    stage.run(SUMMARY, CHECKLIST, DIAGRAM)

    job = stage.run()

    assert len(stage.llm.requests) == 3
    assert job.attempts == 1


def test_a_second_delivery_of_a_running_job_leaves_it_alone(stage: Stage) -> None:
    stage.stores.claim(stage.event_id, stage.clock() + INVOCATION)

    job = stage.run()

    assert stage.llm.requests == []
    assert job.status is Status.PROCESSING


def test_a_job_whose_worker_died_goes_on_after_its_last_stored_step(stage: Stage) -> None:
    with pytest.raises(WorkerVanished):
        stage.run(SUMMARY, CHECKLIST, WorkerVanished())
    stage.clock.advance(INVOCATION + timedelta(seconds=1))

    job = stage.run(DIAGRAM)

    assert job.status is Status.COMPLETED
    assert job.attempts == 2
    assert len(stage.llm.requests) == 4, "three, and the one that was in flight"


def test_a_worker_that_lost_its_claim_writes_nothing_more(stage: Stage, queue: JobQueue, logger: Logger) -> None:
    class Overtaken(ScriptedLLM):
        async def ask(self, request: ModelRequest) -> ModelAnswer:
            stage.clock.advance(INVOCATION + timedelta(seconds=1))
            stage.stores.claim(stage.event_id, stage.clock() + INVOCATION)
            return await super().ask(request)

    runner = make_runner(stage.stores, queue, Overtaken([SUMMARY]), logger)
    asyncio.run(runner.run(stage.event_id, stage.clock() + INVOCATION))

    assert stage.job.steps == ()
    assert stage.job.status is Status.PROCESSING
    assert stage.job.attempts == 2


def test_a_job_that_does_not_exist_is_reported(stage: Stage) -> None:
    stage.event_id = "0b6c2f4e-0000-4000-8000-00000000dead"

    with pytest.raises(JobNotFound):
        stage.run()


class TestTransientErrors:
    def test_put_the_job_off_through_the_queue(self, stage: Stage, messages: Messages, items: Items) -> None:
        job = stage.run(SUMMARY, TransientModelError("429"))

        assert job.status is Status.PENDING
        assert [step.name for step in job.steps] == ["summary"]
        assert messages.count() == 1
        due_at = int(items.meta(stage.event_id)["due_at"]["N"])
        assert due_at >= (stage.clock() + DISPATCH_GRACE).timestamp(), "the sweeper covers a lost message"

    def test_wait_at_least_as_long_as_the_server_asks(self, stage: Stage, items: Items) -> None:
        stage.run(TransientModelError("429", retry_after=timedelta(seconds=130)))

        due_at = int(items.meta(stage.event_id)["due_at"]["N"])
        assert due_at == int((stage.clock() + timedelta(seconds=130) + DISPATCH_GRACE).timestamp())

    def test_fail_the_job_only_when_its_deadline_is_over(self, stage: Stage) -> None:
        error = TransientModelError("the model's server answered 503")
        began = stage.clock()
        while (job := stage.run(error)).status is Status.PENDING:
            stage.clock.advance(MAX_DELAY)

        assert timedelta(hours=23, minutes=40) < stage.clock() - began <= DEADLINE
        assert job.status is Status.FAILED
        assert job.error is not None
        assert job.error.type == "deadline_exceeded"
        assert job.error.message.startswith("the job's deadline (2026-")
        assert "the model's server answered 503" in job.error.message

    def test_are_forgotten_once_it_is_well_again(self, stage: Stage) -> None:
        stage.run(TransientModelError("503"))
        stage.clock.advance(DEADLINE - timedelta(minutes=1))

        assert stage.run(SUMMARY, CHECKLIST, DIAGRAM).status is Status.COMPLETED

    def test_are_counted_for_each_step_on_its_own(self, stage: Stage) -> None:
        for _ in range(4):
            stage.run(TransientModelError("503"))
            stage.clock.advance(MAX_DELAY)

        job = stage.run(SUMMARY, TransientModelError("503"))

        assert job.waiting_for is not None
        assert job.waiting_for.detail == "try 1: 503"

    def test_that_are_paid_for_come_an_hour_apart_after_three(self, stage: Stage) -> None:
        timeout = TransientModelError("no answer", report=CallReport(maybe_billed=True), type_="timeout")
        for _ in range(3):
            stage.run(timeout)
            stage.clock.advance(timedelta(minutes=40))

        assert stage.run().status is Status.PENDING
        assert len(stage.llm.requests) == 3

    def test_leave_the_job_to_the_index_where_the_queue_is_down(
        self, stage: Stage, queue_url: str, sqs: "SQSClient", items: Items
    ) -> None:
        sqs.delete_queue(QueueUrl=queue_url)

        job = stage.run(TransientModelError("503", retry_after=timedelta(seconds=30)))

        assert job.status is Status.PENDING
        due_at = int(items.meta(stage.event_id)["due_at"]["N"])
        assert due_at == int((stage.clock() + timedelta(seconds=30)).timestamp())


class TestPermanentErrors:
    def test_fail_the_job_at_once_with_words_for_the_caller(self, stage: Stage, items: Items) -> None:
        job = stage.run(SUMMARY, PermanentModelError("model_request_refused", "does not accept the request"))

        assert job.status is Status.FAILED
        assert job.error is not None
        assert (job.error.type, job.error.message, job.error.step) == (
            "model_request_refused",
            "does not accept the request",
            "checklist",
        )
        assert [step.name for step in job.steps] == ["summary"], "what was paid for stays"
        assert items.due() == []


class TestWhatIsPaidFor:
    def test_an_answer_that_is_a_refusal_counts(self, stage: Stage) -> None:
        refusal = FailedAnswer(
            "gpt-6-luna", Usage(100, 0, 20, 0), error=PermanentModelError("model_refused", "declined")
        )

        job = stage.run({"summary": ""}, refusal)

        assert job.status is Status.FAILED
        assert job.spending.usage == Usage(200, 10, 40, 5)

    def test_an_answer_without_usage_counts_as_the_most_that_it_can_have_cost(self, stage: Stage) -> None:
        job = stage.run(AnswerText("gpt-6-luna", None, json.dumps(SUMMARY)), CHECKLIST, DIAGRAM)

        spending = job.steps[0].spending
        assert spending.usage.input_tokens == stage.llm.requests[0].size
        assert spending.usage.output_tokens == stage.llm.requests[0].max_output_tokens
        assert spending.cost_usd == spending.estimated.cost_usd
        assert (spending.estimated.calls, job.spending.estimated) == (1, spending.estimated)


class TestAnswersThatDoNotFit:
    def test_are_asked_for_again_with_all_the_room_there_is_where_they_were_cut_off(self, stage: Stage) -> None:
        cut = UnusableAnswer("gpt-6-luna", USAGE, "it was cut off: be shorter", text='{"summ', cut_off=True)

        assert stage.run(cut, {}, SUMMARY, CHECKLIST, DIAGRAM).status is Status.COMPLETED

        rooms = [request.max_output_tokens for request in stage.llm.requests]
        assert rooms == [3_000, None, None, 10_000, 6_000]

    def test_are_asked_again_with_the_complaint_and_their_tokens_count(self, stage: Stage) -> None:
        job = stage.run({"summary": ""}, SUMMARY, CHECKLIST, DIAGRAM)

        assert job.status is Status.COMPLETED
        assert "summary: Value error, is empty" in stage.llm.requests[1].input
        assert job.steps[0].total.usage.input_tokens == 200
        assert job.steps[0].spending.usage.input_tokens == 100, "that of the answer which became the output"
        assert job.spending.usage.input_tokens == 400

    @pytest.mark.parametrize(
        "answer",
        [
            {"summary": 1},
            {"summary": "x", "more": "y"},
            {},
            [],
            "no object",
            {"summary": "x" * 100_001},
            UnusableAnswer("gpt-6-luna", Usage(1, 0, 1, 0), complaint="it was cut off"),
            AnswerText("gpt-6-luna", Usage(1, 0, 1, 0), text="{"),
        ],
    )
    def test_fail_the_job_after_three_in_a_row_and_count(self, stage: Stage, answer: Said) -> None:
        job = stage.run(answer, answer, answer)

        assert job.status is Status.FAILED
        assert job.error is not None
        assert (job.error.type, job.error.step) == ("unusable_answer", "summary")
        assert job.steps == ()
        assert job.spending != Spending(), "what the broken answers cost is recorded"


class TestTime:
    def test_no_call_starts_that_could_not_end_in_this_invocation(self, stage: Stage, messages: Messages) -> None:
        # given a first step that leaves too little of the invocation for another
        stage.llm.takes = INVOCATION - CALL_TIME + timedelta(seconds=1)

        # when the job runs
        job = stage.run(SUMMARY)

        # then it is handed on to the next invocation, with what it has
        assert job.status is Status.PENDING
        assert [step.name for step in job.steps] == ["summary"]
        assert messages.count() == 1

    def test_a_job_goes_on_in_the_next_invocation(self, stage: Stage) -> None:
        stage.llm.takes = INVOCATION - CALL_TIME + timedelta(seconds=1)
        stage.run(SUMMARY)
        stage.run(CHECKLIST)

        job = stage.run(DIAGRAM)

        assert job.status is Status.COMPLETED
        assert job.attempts == 3
        assert len(stage.llm.requests) == 3

    def test_a_model_too_slow_to_be_asked_again_is_not_paid_for_ever(self, stage: Stage) -> None:
        stage.llm.takes = INVOCATION - CALL_TIME + timedelta(seconds=1)
        for _ in range(3):
            assert stage.run({"summary": ""}).status is Status.PENDING
            stage.clock.advance(timedelta(minutes=40))

        assert stage.run({"summary": ""}).status is Status.PENDING
        assert len(stage.llm.requests) == 3, "the next comes an hour after the third"

    def test_an_invocation_too_short_for_any_call_says_which_parameter_to_raise(self, stage: Stage) -> None:
        with pytest.raises(SettingsError, match="WorkerTimeoutSeconds"):
            stage.run(time_left=CALL_TIME - timedelta(seconds=1))

        assert stage.job.attempts == 0


class TestCancelling:
    def test_a_running_job_stops_before_its_next_step(self, stage: Stage, items: Items) -> None:
        stage.llm.meanwhile = lambda: stage.stores.jobs.cancel("local", stage.event_id)

        job = stage.run(SUMMARY)

        assert job.status is Status.CANCELLED
        assert [step.name for step in job.steps] == ["summary"], "what was paid for stays"
        assert items.due() == []

    def test_a_job_that_would_be_put_off_ends_instead(self, stage: Stage, messages: Messages) -> None:
        stage.llm.meanwhile = lambda: stage.stores.jobs.cancel("local", stage.event_id)

        job = stage.run(TransientModelError("503", report=CallReport(maybe_billed=True)))

        assert job.status is Status.CANCELLED
        assert (job.spending.calls, job.spending.estimated.calls) == (1, 1)
        assert job.spending.known_cost_usd == job.spending.estimated.cost_usd > 0
        assert messages.count() == 0


class TestPuttingOff:
    def test_a_stray_message_does_not_bring_a_job_back_early(self, stage: Stage, messages: Messages) -> None:
        # given a job that the server asked to put off
        stage.run(TransientModelError("429", retry_after=timedelta(seconds=130)))
        stage.clock.advance(timedelta(seconds=129))

        # when another message for it arrives too early
        job = stage.run()

        # then it is not taken, and sent again for when its time comes
        assert (job.status, job.attempts) == (Status.PENDING, 1)
        assert messages.count() == 2

    def test_for_longer_than_the_queue_can_is_left_to_the_index(
        self, stage: Stage, messages: Messages, items: Items
    ) -> None:
        stage.run(TransientModelError("429", retry_after=timedelta(hours=2)))

        assert messages.count() == 0
        assert len(items.due()) == 1

    def test_until_after_the_deadline_fails_it(self, stage: Stage) -> None:
        job = stage.run(TransientModelError("429", retry_after=DEADLINE + timedelta(seconds=1)))

        assert job.status is Status.FAILED
        assert job.error is not None
        assert job.error.type == "deadline_exceeded"
        assert job.error.message.endswith("429, the model's server asks to wait until after the deadline")


def test_a_step_that_is_paid_for_is_stored_as_soon_as_the_table_answers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a table that fails when the first step is to be stored
    save_step = stage.stores.claims.save_step
    outages = [Unavailable("the table does not answer")]

    def flaky(*args: Any) -> None:
        if outages:
            raise outages.pop()
        save_step(*args)

    monkeypatch.setattr(stage.stores.claims, "save_step", flaky)

    # when the job runs
    job = stage.run(SUMMARY, CHECKLIST, DIAGRAM)

    # then nothing was charged twice
    assert job.status is Status.COMPLETED
    assert len(stage.llm.requests) == 3


class TestAChainThatTheWorkerDoesNotKnow:
    """Another version of the worker is being deployed, or the chain was removed."""

    def test_makes_the_job_wait_for_another_version(self, stage: Stage) -> None:
        known, stage.runner.versions.chains = stage.runner.versions.chains, {}
        job = stage.run()

        assert job.status is Status.PENDING
        assert job.waiting_for is not None
        assert job.waiting_for.reason is WaitReason.DEPLOYMENT

        stage.runner.versions.chains = known
        stage.clock.advance(timedelta(minutes=2))
        assert stage.run(SUMMARY, CHECKLIST, DIAGRAM).status is Status.COMPLETED

    def test_fails_it_at_its_deadline(self, stage: Stage) -> None:
        stage.runner.versions.chains = {}
        runs = 0
        while (job := stage.run()).status is Status.PENDING:
            runs += 1
            stage.clock.advance(MAX_DELAY)

        assert runs < 120
        assert job.status is Status.FAILED
        assert job.error is not None
        assert job.error.type == "unknown_chain"

    def test_lets_its_caller_cancel_it(self, stage: Stage) -> None:
        stage.runner.versions.chains = {}
        stage.run()
        stage.stores.jobs.cancel("local", stage.event_id)

        assert stage.job.status is Status.CANCELLED


class TestAnAccountFault:
    @pytest.mark.parametrize("type_", ACCOUNT_FAULTS)
    def test_makes_the_job_wait_and_fails_nothing(self, stage: Stage, type_: str) -> None:
        job = stage.run(SUMMARY, PermanentModelError(type_, "the account is refused"))

        assert job.status is Status.PENDING
        assert job.waiting_for is not None
        assert (job.waiting_for.reason, job.waiting_for.detail) == (WaitReason.ACCOUNT, "the account is refused")
        stage.clock.advance(timedelta(minutes=2))
        assert stage.run(CHECKLIST, DIAGRAM).status is Status.COMPLETED

    def test_that_outlasts_the_deadline_fails_the_job_with_its_words(self, stage: Stage) -> None:
        stage.run(PermanentModelError("model_unauthorized", "does not accept the API key"))
        stage.clock.advance(DEADLINE)

        job = stage.run()

        assert job.status is Status.FAILED
        assert job.error is not None
        assert job.error.type == "deadline_exceeded"
        assert len(stage.llm.requests) == 1


class TestABudget:
    """`max_cost_usd`: no call is made that could pass it."""

    @pytest.fixture
    def stage_with(
        self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger, stage: Stage
    ) -> Callable[[str], Stage]:
        def with_budget(budget: str) -> Stage:
            stage.event_id = "0b6c2f4e-0000-4000-8000-000000000002"
            new = NewJob(
                event_id=stage.event_id,
                tenant="local",
                job_name="guideline_checklist",
                payload={"guidelines": TEXT},
                fingerprint="f",
                max_cost_usd=Decimal(budget),
            )
            stores.admission.create(new, retention=timedelta(days=30))
            return stage

        return with_budget

    def test_that_is_wide_changes_nothing_but_the_room_for_answers(self, stage_with: Callable[[str], Stage]) -> None:
        stage = stage_with("0.01")

        assert stage.run(SUMMARY, CHECKLIST, DIAGRAM).status is Status.COMPLETED
        rooms = [request.max_output_tokens for request in stage.llm.requests]
        assert rooms == [step.max_output_tokens for step in GUIDELINE_CHECKLIST.calls]

    def test_leaves_no_more_room_for_answers_than_it_pays_for(self, stage_with: Callable[[str], Stage]) -> None:
        stage = stage_with("0.002")

        assert stage.run(SUMMARY, CHECKLIST, DIAGRAM).status is Status.COMPLETED
        rooms = [request.max_output_tokens for request in stage.llm.requests]
        # $0.002 pays for 4,000 tokens at $0.50 a million; what is read and what was spent leaves less
        assert rooms[0] == 3_000
        assert all(room and 2_000 < room < 4_000 for room in rooms)

    def test_fails_the_job_before_the_call_that_could_pass_it(self, stage_with: Callable[[str], Stage]) -> None:
        stage = stage_with("0.0005")
        dear = AnswerText("gpt-6-luna", Usage(1000, 0, 600, 0), json.dumps(SUMMARY))  # $0.0004

        job = stage.run(dear)

        assert job.status is Status.FAILED
        assert job.error is not None
        assert (job.error.type, job.error.step) == ("budget_exceeded", "checklist")
        assert "0.0004" in job.error.message
        assert [step.name for step in job.steps] == ["summary"], "what was paid for stays"
        assert len(stage.llm.requests) == 1

    def test_that_is_too_small_for_any_call_buys_nothing(self, stage_with: Callable[[str], Stage]) -> None:
        stage = stage_with("0.00001")

        job = stage.run()

        assert (job.status, job.spending.calls) == (Status.FAILED, 0)

    def test_that_is_too_small_tells_the_least_that_the_call_needs(self, stage_with: Callable[[str], Stage]) -> None:
        job = stage_with("0.00001").run()

        assert job.error is not None
        needed = Decimal(job.error.message.rpartition("this call alone needs ")[2])
        assert Decimal("0.0001") < needed < Decimal("0.01")

    def test_counts_answers_that_did_not_fit_and_those_of_earlier_runs(
        self, stage_with: Callable[[str], Stage]
    ) -> None:
        stage = stage_with("0.0008")
        broken = AnswerText("gpt-6-luna", Usage(1000, 0, 400, 0), "{}")  # $0.0003
        stage.run(broken, TransientModelError("503"))
        stage.clock.advance(MAX_DELAY)

        job = stage.run(broken)

        assert job.error is not None
        assert job.error.type == "budget_exceeded"
        assert job.spending.cost_usd == Decimal("0.0006")

    def test_can_not_be_kept_for_a_model_without_a_price(self, stage_with: Callable[[str], Stage]) -> None:
        stage = stage_with("1")
        stage.llm.model = "some-model"

        job = stage.run()

        assert job.error is not None
        assert job.error.type == "budget_unknown"
        assert "some-model" in job.error.message
        assert job.spending.calls == 0

    def test_is_not_passed_by_steps_that_run_at_the_same_time(
        self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger
    ) -> None:
        class Greedy(ScriptedLLM):
            """Uses all the room that an answer may have, and is cut off by it."""

            async def ask(self, request: ModelRequest) -> ModelAnswer:
                await asyncio.sleep(0)
                assert request.max_output_tokens
                usage = Usage(request.size, 0, request.max_output_tokens, 0)
                return UnusableAnswer("gpt-6-luna", usage, complaint="it was cut off: be shorter")

        budget = Decimal("0.01")
        payload: JsonValue = {"first": TEXT, "second": "Backups must be tested."}
        new = NewJob("0b6c2f4e-0000-4000-8000-000000000003", "local", "compare_guidelines", payload, "f")
        stores.admission.create(replace(new, max_cost_usd=budget), retention=timedelta(days=30))

        asyncio.run(make_runner(stores, queue, Greedy(), logger).run(new.event_id, clock() + INVOCATION))

        job = stores.jobs.get("local", new.event_id)
        assert job.status is Status.FAILED
        assert Decimal("0.005") < job.spending.known_cost_usd <= budget


def test_an_output_that_the_table_could_not_keep_is_asked_for_again_and_shorter(stage: Stage) -> None:
    # As many characters as an answer may have, of four bytes each and of three.
    monster, huge = (
        AnswerText("gpt-6-luna", Usage(1, 0, 1, 0), json.dumps({"summary": letter * 99_000}, ensure_ascii=False))
        for letter in ("\N{PILE OF POO}", "\N{CJK UNIFIED IDEOGRAPH-4E00}")
    )

    job = stage.run(monster, huge, CHECKLIST, DIAGRAM)

    assert job.status is Status.COMPLETED
    assert "too long to be kept" in stage.llm.requests[1].input


class TestTheCountOfCalls:
    def test_is_one_for_each_step(self, stage: Stage) -> None:
        job = stage.run(SUMMARY, CHECKLIST, DIAGRAM)

        assert [(step.spending.calls, step.spending.retries) for step in job.steps] == [(1, 0)] * 3
        assert (job.spending.calls, job.spending.retries) == (3, 0)

    def test_counts_those_too_that_failed_or_did_not_fit(self, stage: Stage) -> None:
        stage.run(TransientModelError("503"))
        stage.clock.advance(MAX_DELAY)

        job = stage.run({"summary": ""}, SUMMARY, CHECKLIST, DIAGRAM)

        assert (job.spending.calls, job.spending.retries) == (5, 2)
        # one of an earlier claim, which failed, and two of this one
        assert (job.steps[0].total.calls, job.steps[0].total.retries) == (2, 2)
        assert (job.steps[0].spending.calls, job.steps[0].spending.retries) == (1, 1)


def test_what_is_added_to_the_usage_records_is_metered(
    stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger
) -> None:
    metered: list[tuple[str, str, Spending]] = []
    stage = Stage(stores, queue, clock, logger)
    stage.runner = make_runner(stores, queue, stage.llm, logger, meter=lambda *counted: metered.append(counted))

    job = stage.run(SUMMARY, CHECKLIST, DIAGRAM)

    assert metered == [("guideline_checklist", "gpt-6-luna", job.spending)]
    assert job.spending == stores.usage.today("local").spending
