"""What becomes of a batch of SQS messages, and what the worker's log says of it."""

import asyncio
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.queue import JobQueue
from jobchain.domain import Claim, NewJob, Status
from jobchain.errors import TransientModelError
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain_worker.consumer import Consumer
from tests.conftest import TABLE, Items, make_runner
from tests.fake_model.answers import CHECKLIST, DIAGRAM
from tests.fake_model.llm import SchemaLLM, ScriptedLLM
from tests.fakes import FakeClock, FakeContext
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

UNKNOWN = "0b6c2f4e-0000-4000-8000-00000000dead"
OTHER = "0b6c2f4e-0000-4000-8000-00000000beef"
MARK = "a-text-that-no-log-may-show"


class Worker:
    """A consumer with moto's table and queue and a model that fits."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stores: Stores,
        queue: JobQueue,
        clock: FakeClock,
        logger: Logger,
    ) -> None:
        self._loop = loop
        self.stores = stores
        self._queue = queue
        self._clock = clock
        self._logger = logger
        self.llm: ScriptedLLM = SchemaLLM()
        self.context = FakeContext()

    def create(self, count: int, text: str = "Passwords must be long.") -> list[str]:
        """The ids of that many pending jobs."""
        ids = [f"0b6c2f4e-0000-4000-8000-{number:012}" for number in range(1, count + 1)]
        for event_id in ids:
            new = NewJob(event_id, "local", "guideline_checklist", {"guidelines": text}, fingerprint="f")
            self.stores.admission.create(new, retention=timedelta(days=30))
        return ids

    def consume(self, bodies: list[str]) -> list[str]:
        """The ids of the messages that SQS has to bring again; a message's id is `m` and its place."""
        runner = make_runner(self.stores, self._queue, self.llm, self._logger, clock=self._clock)
        records = [{"messageId": f"m{n}", "eventSource": "aws:sqs", "body": body} for n, body in enumerate(bodies)]
        consumer = Consumer(runner, self._loop, self._clock, self._logger)
        response = consumer.consume({"Records": records}, cast(LambdaContext, self.context))
        return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]

    def statuses(self, ids: list[str]) -> set[Status]:
        return {self.stores.jobs.get("local", event_id).status for event_id in ids}


@pytest.fixture
def worker(
    event_loop: asyncio.AbstractEventLoop,
    stores: Stores,
    queue: JobQueue,
    clock: FakeClock,
    logger: Logger,
) -> Worker:
    logger.setLevel("DEBUG")
    return Worker(event_loop, stores, queue, clock, logger)


def body(event_id: str) -> str:
    return json.dumps({"event_id": event_id})


class TestABatch:
    def test_of_good_messages_reports_no_failure(self, worker: Worker) -> None:
        ids = worker.create(10)

        assert worker.consume([body(event_id) for event_id in ids]) == []
        assert worker.statuses(ids) == {Status.COMPLETED}

    def test_runs_its_jobs_at_the_same_time(self, worker: Worker) -> None:
        class Meeting(SchemaLLM):
            """Answers no call before all have arrived."""

            barrier = asyncio.Barrier(5)

            async def ask(self, request: ModelRequest) -> ModelAnswer:
                async with asyncio.timeout(120):
                    await self.barrier.wait()
                return await super().ask(request)

        worker.llm = Meeting()
        ids = worker.create(5)

        assert worker.consume([body(event_id) for event_id in ids]) == []
        assert worker.statuses(ids) == {Status.COMPLETED}

    def test_has_its_jobs_stored_and_readable_while_a_slow_one_still_runs(self, worker: Worker) -> None:
        ids = worker.create(4)

        class OneSlow(SchemaLLM):
            """Answers the slow job once all others can be read as completed."""

            seen: Status | None = None

            async def ask(self, request: ModelRequest) -> ModelAnswer:
                if "slow" in request.input and self.seen is None:
                    async with asyncio.timeout(120):
                        while await asyncio.to_thread(worker.statuses, ids) != {Status.COMPLETED}:
                            pass
                    (self.seen,) = await asyncio.to_thread(worker.statuses, [OTHER])
                return await super().ask(request)

        worker.llm = llm = OneSlow()
        new = NewJob(OTHER, "local", "guideline_checklist", {"guidelines": "Be slow."}, fingerprint="f")
        worker.stores.admission.create(new, retention=timedelta(days=30))

        assert worker.consume([body(event_id) for event_id in [OTHER, *ids]]) == []
        assert llm.seen is Status.PROCESSING
        assert worker.statuses([OTHER]) == {Status.COMPLETED}

    @pytest.mark.parametrize(
        "malformed",
        [
            "not JSON",
            "",
            "[]",
            "{}",
            '{"event_id": 7}',
            '{"event_id": null}',
            '{"event_id": "0b6c2f4e-0000-4000-8000-000000000001", "text": "x"}',
        ],
    )
    def test_reports_a_message_that_is_not_one_of_ours_and_runs_the_others(
        self, worker: Worker, malformed: str
    ) -> None:
        ids = worker.create(9)
        bodies = [body(event_id) for event_id in ids]
        bodies.insert(4, malformed)

        assert worker.consume(bodies) == ["m4"]
        assert worker.statuses(ids) == {Status.COMPLETED}

    def test_acknowledges_the_message_of_a_job_that_does_not_exist_and_runs_the_others(self, worker: Worker) -> None:
        ids = worker.create(1)

        assert worker.consume([body(UNKNOWN), body(ids[0])]) == []
        assert worker.statuses(ids) == {Status.COMPLETED}

    @pytest.mark.parametrize("deleted", [False, True])
    def test_acknowledges_the_message_of_a_job_that_its_caller_has_ended(self, worker: Worker, deleted: bool) -> None:
        (event_id,) = worker.create(1)
        worker.stores.jobs.cancel("local", event_id)
        if deleted:
            worker.stores.jobs.delete("local", event_id)

        assert worker.consume([body(event_id)]) == []
        assert worker.llm.requests == []

    def test_acknowledges_the_message_of_a_job_that_has_completed(self, worker: Worker) -> None:
        (event_id,) = worker.create(1)
        worker.consume([body(event_id)])

        assert worker.consume([body(event_id)]) == []
        assert len(worker.llm.requests) == 3

    @pytest.mark.parametrize("deleted_before", [False, True])
    def test_loses_no_job_that_is_deleted_and_created_again_while_it_is_claimed(
        self, worker: Worker, items: Items, monkeypatch: pytest.MonkeyPatch, deleted_before: bool
    ) -> None:
        # given a job that is created again with the same id right after the claim has read the table
        (event_id,) = worker.create(1)

        def delete() -> None:
            worker.stores.jobs.cancel("local", event_id)
            worker.stores.jobs.delete("local", event_id)

        table = worker.stores.claims._table
        query = table.query

        def created_after(*arguments: Any) -> Any:
            found = query(*arguments)
            monkeypatch.undo()
            if not deleted_before:
                delete()
            worker.create(1)
            return found

        if deleted_before:
            delete()
        monkeypatch.setattr(table, "query", created_after)

        # when its message arrives
        assert worker.consume([body(event_id)]) == []

        # then the new job is run at once, or is due and has a message of its own
        if deleted_before:
            assert [due["pk"]["S"] for due in items.due()] == [f"JOB#{event_id}"]
            worker.consume([body(event_id)])
        assert worker.statuses([event_id]) == {Status.COMPLETED}

    def test_reports_every_message_where_the_table_does_not_answer(
        self, worker: Worker, dynamodb: "DynamoDBClient"
    ) -> None:
        ids = worker.create(2)
        dynamodb.delete_table(TableName=TABLE)

        assert worker.consume([body(event_id) for event_id in ids]) == ["m0", "m1"]

    def test_puts_off_a_job_whose_step_meets_an_unexpected_error_and_runs_the_others(self, worker: Worker) -> None:
        class Stumbling(SchemaLLM):
            async def ask(self, request: ModelRequest) -> ModelAnswer:
                if "stumble" in request.input:
                    raise RuntimeError("a bug")
                return await super().ask(request)

        worker.llm = Stumbling()
        good = worker.create(1)
        new = NewJob(OTHER, "local", "guideline_checklist", {"guidelines": "stumble"}, fingerprint="f")
        worker.stores.admission.create(new, retention=timedelta(days=30))

        assert worker.consume([body(good[0]), body(OTHER)]) == []
        assert worker.statuses(good) == {Status.COMPLETED}
        assert worker.statuses([OTHER]) == {Status.PENDING}

    def test_reports_an_unexpected_error_outside_of_steps_and_runs_the_others(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = worker.create(2)
        claim = worker.stores.claims.claim

        def stumble(event_id: str, *arguments: Any) -> Claim:
            if event_id == ids[1]:
                raise RuntimeError("a bug")
            return claim(event_id, *arguments)

        monkeypatch.setattr(worker.stores.claims, "claim", stumble)

        assert worker.consume([body(event_id) for event_id in ids]) == ["m1"]
        assert worker.statuses(ids[:1]) == {Status.COMPLETED}

    def test_that_arrives_twice_is_run_once(self, worker: Worker) -> None:
        ids = worker.create(1)

        assert worker.consume([body(ids[0]), body(ids[0])]) == []
        assert len(worker.llm.requests) == 3

    def test_whose_invocation_is_shorter_than_one_call_claims_no_job(self, worker: Worker) -> None:
        ids = worker.create(2)
        worker.context = FakeContext(remaining=timedelta(seconds=74))

        assert worker.consume([body(event_id) for event_id in ids]) == ["m0", "m1"]
        assert worker.statuses(ids) == {Status.PENDING}
        assert worker.llm.requests == []


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """What was logged: each line is an object of JSON."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


class TestTheLog:
    def test_names_the_job_and_the_step_in_every_line(self, worker: Worker, log: io.StringIO) -> None:
        ids = worker.create(3)

        worker.consume([body(event_id) for event_id in ids])

        found = lines(log)
        steps = [(line["event_id"], line["step"]) for line in found if line["message"] == "step completed"]
        assert sorted(steps) == [(event_id, step) for event_id in ids for step in ("checklist", "diagram", "summary")]
        assert {line["event_id"] for line in found if line["message"] == "job completed"} == set(ids)
        assert {line["tenant"] for line in found} == {"local"}

    def test_names_the_message_that_a_job_came_with(self, worker: Worker, log: io.StringIO) -> None:
        ids = worker.create(3)

        worker.consume([body(event_id) for event_id in ids])

        pairs = {(line["message_id"], line["event_id"]) for line in lines(log)}
        assert pairs == {("m0", ids[0]), ("m1", ids[1]), ("m2", ids[2])}

    def test_names_the_invocation_in_every_line(self, worker: Worker, log: io.StringIO) -> None:
        ids = worker.create(2)

        worker.consume([body(ids[0]), "not JSON", body(UNKNOWN)])
        first = lines(log)
        assert {line["request_id"] for line in first} == {worker.context.aws_request_id}

        worker.context = FakeContext()
        worker.consume([body(ids[1])])
        second = lines(log)[len(first) :]
        assert {line["request_id"] for line in second} == {worker.context.aws_request_id}

    def test_tells_where_an_error_came_from(self, worker: Worker, log: io.StringIO) -> None:
        worker.llm = ScriptedLLM([RuntimeError(f"a bug with {MARK}")])
        ids = worker.create(1)

        worker.consume([body(ids[0])])

        call, line, deferred = lines(log)
        assert (call["message"], call["outcome"]) == ("model called", "step_failed")
        assert deferred["message"] == "step deferred"
        assert (line["level"], line["message"], line["error"]) == ("ERROR", "step failed unexpectedly", "RuntimeError")
        assert MARK not in log.getvalue()
        assert (line["event_id"], line["step"]) == (ids[0], "summary")
        assert line["at"][-1].startswith("llm.py:")

    def test_tells_that_a_job_was_not_found(self, worker: Worker, log: io.StringIO) -> None:
        worker.consume([body(UNKNOWN)])

        (line,) = lines(log)
        assert (line["level"], line["message"]) == ("WARNING", "job not found, message acknowledged")
        assert (line["event_id"], line["message_id"]) == (UNKNOWN, "m0")

    def test_tells_why_a_job_was_put_off(self, worker: Worker, log: io.StringIO) -> None:
        worker.llm = ScriptedLLM([TransientModelError("the model's server answered 503")])

        worker.consume([body(worker.create(1)[0])])

        call, line = lines(log)
        assert (call["message"], call["outcome"]) == ("model called", "model_unavailable")
        assert (line["message"], line["reason"]) == ("step deferred", "the model's server answered 503")

    @pytest.mark.parametrize(
        "llm",
        [
            pytest.param(ScriptedLLM([{"summary": MARK}, CHECKLIST, DIAGRAM]), id="a good answer"),
            pytest.param(ScriptedLLM([{"summary": 1, MARK: MARK}] * 3), id="answers of another shape"),
            pytest.param(ScriptedLLM([MARK] * 3), id="answers that are no objects"),
            pytest.param(ScriptedLLM([RuntimeError(MARK)]), id="an unexpected error"),
            pytest.param(ScriptedLLM([{"summary": MARK}, KeyError(MARK)]), id="an unexpected error later"),
        ],
    )
    def test_never_shows_a_text(
        self, worker: Worker, log: io.StringIO, capfd: pytest.CaptureFixture[str], llm: ScriptedLLM
    ) -> None:
        worker.llm = llm

        worker.consume([body(worker.create(1, text=f"Passwords must be long. {MARK}")[0])])

        assert MARK in llm.requests[0].input, "the text was on its way"
        assert lines(log)
        assert MARK not in log.getvalue()
        assert MARK not in "".join(capfd.readouterr())

    @pytest.mark.parametrize("malformed", [MARK, json.dumps({"event_id": 7, MARK: MARK}), json.dumps([MARK])])
    def test_never_shows_a_message_that_is_not_one_of_ours(
        self, worker: Worker, log: io.StringIO, malformed: str
    ) -> None:
        worker.consume([malformed])

        (line,) = lines(log)
        assert (line["error"], line["message_id"]) == ("MalformedMessage", "m0")
        assert MARK not in log.getvalue()
