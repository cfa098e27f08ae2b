"""How jobs end, as metrics: by status and type, whose fault it is, and that nothing is lost at any log level."""

import asyncio
import json
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from pydantic import JsonValue

from jobchain.aws.queue import JobQueue
from jobchain.domain import JobError, NewJob, Status, WaitReason
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.metrics import count_failed_records, count_outcome
from jobchain.observability import create_logger
from jobchain.outcomes import CANCELLED, COMPLETED, ERROR_TYPES, OTHER, PUT_OFF, Fault, Outcome, failed
from jobchain_api.auth import Caller
from jobchain_worker.consumer import Consumer
from tests.conftest import ROOT, make_runner, make_service, make_sweeper
from tests.fake_model.llm import SchemaLLM, ScriptedLLM
from tests.fakes import FakeClock, FakeContext
from tests.stores import Stores

JOB = "0b6c2f4e-0000-4000-8000-000000000001"
SHORT = timedelta(minutes=5)
DAY = timedelta(days=1)


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The metrics that were written: of each its dimensions, its name and its value."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [
        {
            **{name: line[name] for name in metrics["Dimensions"][0]},
            **{metric["Name"]: line[metric["Name"]] for metric in metrics["Metrics"]},
        }
        for line in lines
        for metrics in line["_aws"]["CloudWatchMetrics"]
    ]


class World:
    """One job, and what was told of its runs."""

    def __init__(
        self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.stores, self.queue, self.clock, self.logger, self.loop = stores, queue, clock, logger, loop
        self.ends: list[Outcome] = []

    def create(self, deadline: timedelta = DAY, *, own_deadline: bool = False) -> None:
        payload: JsonValue = {"guidelines": "Doors must be locked."}
        new = NewJob(JOB, "local", "guideline_checklist", payload, "f", deadline=deadline, own_deadline=own_deadline)
        self.stores.admission.create(new, timedelta(days=30))

    def run(self, llm: ScriptedLLM, **changes: Any) -> list[Outcome]:
        runner = make_runner(self.stores, self.queue, llm, self.logger, outcome_meter=self.ends.append, **changes)
        self.loop.run_until_complete(runner.run(JOB, self.clock() + SHORT))
        return self.ends


@pytest.fixture
def world(
    stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger, event_loop: asyncio.AbstractEventLoop
) -> World:
    return World(stores, queue, clock, logger, event_loop)


def refusing(error: Exception) -> ScriptedLLM:
    return ScriptedLLM([error] * 9)


class TestARunThatEnds:
    def test_is_counted_as_completed(self, world: World) -> None:
        world.create()

        assert world.run(SchemaLLM()) == [COMPLETED]

    def test_is_counted_as_cancelled_by_the_api_where_no_worker_has_the_job(self, world: World) -> None:
        world.create()
        service = make_service(world.stores, world.queue, world.logger, world.ends.append)

        service.cancel(Caller("local"), JOB)

        assert world.ends == [CANCELLED]
        assert world.run(SchemaLLM()) == [CANCELLED], "once"

    def test_is_counted_as_cancelled_by_the_worker_that_has_the_job(self, world: World) -> None:
        world.create()
        llm = SchemaLLM()
        llm.meanwhile = lambda: world.stores.jobs.cancel("local", JOB, outcome_meter=world.ends.append)

        assert world.run(llm) == [CANCELLED]

    @pytest.mark.parametrize(
        ("type_", "fault"),
        [
            ("content_filtered", Fault.CALLER),
            ("model_refused", Fault.CALLER),
            ("model_request_refused", Fault.SERVICE),
            ("text_too_long", Fault.UNCLEAR),
        ],
    )
    def test_is_counted_as_failed_with_its_type_and_whose_fault_it_is(
        self, world: World, type_: str, fault: Fault
    ) -> None:
        world.create()

        assert world.run(refusing(PermanentModelError(type_, "no"))) == [Outcome(Status.FAILED, type_, fault)]

    def test_is_counted_when_the_sweeper_fails_it(self, world: World) -> None:
        world.create()
        for _ in range(5):
            world.stores.claim(JOB, world.clock() + SHORT)
            world.clock.advance(timedelta(hours=1))

        sweeper = make_sweeper(world.stores, world.queue, world.logger, outcome_meter=world.ends.append)
        sweeper.sweep(world.clock() + SHORT)

        assert world.ends == [Outcome(Status.FAILED, "worker_lost", Fault.UNCLEAR)]


class TestARunThatIsPutOff:
    def test_is_a_fault_of_the_service_where_the_model_does_not_answer(self, world: World) -> None:
        world.create()

        assert world.run(refusing(TransientModelError("down", type_="server_error"))) == [PUT_OFF]

    def test_is_no_fault_where_the_rate_limit_is_reached(self, world: World) -> None:
        world.create()

        assert world.run(refusing(TransientModelError("later", type_="rate_limited"))) == []


class TestADeadline:
    @pytest.mark.parametrize(
        ("waited", "fault"),
        [
            (WaitReason.RETRY, Fault.SERVICE),
            (WaitReason.ACCOUNT, Fault.SERVICE),
            (WaitReason.DEPLOYMENT, Fault.SERVICE),
            (WaitReason.BUDGET, Fault.CALLER),
            (WaitReason.RATE_LIMIT, Fault.UNCLEAR),
            (WaitReason.QUEUE, Fault.UNCLEAR),
            (None, Fault.UNCLEAR),
        ],
    )
    def test_is_the_fault_of_what_the_job_waited_for(self, waited: WaitReason | None, fault: Fault) -> None:
        assert failed(JobError("deadline_exceeded", "late"), waited).fault is fault

    def test_that_its_caller_set_is_the_callers_fault(self) -> None:
        for waited in (None, *WaitReason):
            for type_ in ("deadline_exceeded", "unknown_chain", "unknown_version"):
                assert failed(JobError(type_, "late"), waited, own_deadline=True).fault is Fault.CALLER

    @pytest.mark.parametrize("own", [False, True])
    def test_is_known_to_the_worker_as_it_was_set(self, world: World, own: bool) -> None:
        # given a job that was put off once
        world.create(timedelta(minutes=1), own_deadline=own)
        world.run(refusing(TransientModelError("down", type_="server_error")))

        # when its deadline is over
        world.clock.advance(timedelta(hours=1))
        *_, ended = world.run(SchemaLLM())

        # then the service is at fault, unless the caller wanted it so soon
        assert (ended.error_type, ended.fault) == ("deadline_exceeded", Fault.CALLER if own else Fault.SERVICE)


def test_every_error_type_that_callers_can_read_has_a_name_in_the_metrics() -> None:
    page = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    table = page.partition("`error` is `{")[2].partition("Faults of the model's account")[0]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }

    assert documented == ERROR_TYPES


def test_a_type_without_a_name_is_counted_under_one_for_all() -> None:
    assert failed(JobError("what-a-server-made-up", "")) == Outcome(Status.FAILED, OTHER, Fault.UNCLEAR)


def test_an_outcome_has_few_dimensions_and_those_of_alarms_are_the_same_for_all_functions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "a stack's")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "flex-worker")

    for outcome in (COMPLETED, PUT_OFF, failed(JobError("unusable_answer", ""))):
        count_outcome(outcome)

    assert written(capsys) == [
        {"service": "all", "status": "completed", "EndedJobs": [1]},
        {"service": "all", "ServiceFaults": [0]},
        {"service": "all", "fault": "service", "Faults": [1]},
        {"service": "all", "ServiceFaults": [1]},
        {"service": "all", "status": "failed", "EndedJobs": [1]},
        {"service": "all", "type": "unusable_answer", "FailedJobs": [1]},
        {"service": "all", "fault": "unclear", "Faults": [1]},
    ]


def test_failed_messages_are_counted_by_the_version_that_failed(
    stores: Stores,
    queue: JobQueue,
    clock: FakeClock,
    logger: Logger,
    event_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "a stack's")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "worker")
    consumer = Consumer(
        make_runner(stores, queue, SchemaLLM(), logger), event_loop, clock, logger, count_failed_records
    )
    bodies = ["no message", json.dumps({"event_id": JOB}), "nor this one"]

    consumer.consume({"Records": [{"messageId": body, "body": body} for body in bodies]}, FakeContext())  # type: ignore[arg-type]

    # The job of the second one is not there any more, which is no failure.
    assert written(capsys) == [{"service": "worker", "version": "7", "FailedRecords": [2]}]


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARN"])
def test_metrics_are_written_at_every_log_level_of_which_lambda_drops_no_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], template: dict[str, Any], level: str
) -> None:
    # given the level that Lambda drops lines below; one without a level of its own is one of INFO
    passed = template["Globals"]["Function"]["LoggingConfig"]["ApplicationLogLevel"]
    assert passed == "DEBUG"
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", passed)
    monkeypatch.setenv("LOG_LEVEL", level)
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"service-{level}")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "a stack's")

    # when a function logs and counts
    logger = create_logger()
    for name in ("debug", "info", "warning"):
        getattr(logger, name)(name)
    count_outcome(COMPLETED)

    # then the metric is there, and of the lines those of the level that was set
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("EndedJobs") or line["ServiceFaults"] for line in lines if "_aws" in line] == [[1], [0]]
    levels = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING}
    expected = [name for name in ("debug", "info", "warning") if getattr(logging, name.upper()) >= levels[level]]
    assert [line["message"] for line in lines if "_aws" not in line] == expected
