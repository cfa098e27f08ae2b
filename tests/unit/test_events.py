"""The sample events of `events/`, which `sam local invoke` takes too, run through the functions' real code."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS
from jobchain.domain import NewJob, Status
from jobchain_api.app import create_app
from jobchain_api.auth import no_authentication
from jobchain_api.service import JobService
from jobchain_worker.consumer import Consumer
from jobchain_worker.model_checker import EVENT as MODEL_CHECK
from tests.conftest import ROOT, Messages, make_runner
from tests.fake_model.llm import SchemaLLM
from tests.fakes import FakeClock, FakeContext
from tests.stores import Stores

EVENTS = ROOT / "events"
CONTEXT = cast(LambdaContext, FakeContext())
EVENT_ID = "0b6c2f4e-1f0d-4c3a-9a57-2d6f1c7e8b90"
"""The job that the events speak of."""


def load(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return event


@pytest.fixture
def job(stores: Stores) -> None:
    new = NewJob(EVENT_ID, "local", "guideline_checklist", {"guidelines": "Be careful."}, fingerprint="f")
    stores.admission.create(new, retention=timedelta(days=30))


class TestTheApi:
    @pytest.fixture
    def api(self, service: JobService, logger: Logger) -> "Api":
        return Api(service, logger)

    def test_creates_the_job_of_its_sample(self, api: "Api", messages: Messages) -> None:
        status, body = api.answer(load("api_post_job.json"))

        assert (status, body["status"]) == (201, "pending")
        assert messages.waiting() == [{"event_id": body["event_id"]}]

    def test_replays_its_sample_which_has_an_idempotency_key(self, api: "Api", messages: Messages) -> None:
        _, first = api.answer(load("api_post_job.json"))
        status, second = api.answer(load("api_post_job.json"))

        assert status == 200
        assert second == first
        assert messages.count() == 1

    def test_shows_the_job_of_its_sample(self, api: "Api", job: None) -> None:
        status, body = api.answer(load("api_get_job.json"))

        assert (status, body["event_id"]) == (200, EVENT_ID)

    def test_is_healthy(self, api: "Api") -> None:
        status, _ = api.answer(load("api_health.json"))

        assert status == 200


class Api:
    """The routes, as the function calls them."""

    def __init__(self, service: JobService, logger: Logger) -> None:
        self._app = create_app(service, no_authentication, logger, CHAINS)

    def answer(self, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the body that answer `event`."""
        response = self._app.resolve(event, CONTEXT)
        return response["statusCode"], json.loads(response["body"])


@pytest.mark.usefixtures("job")
def test_the_worker_runs_the_job_of_its_sample(
    event_loop: asyncio.AbstractEventLoop,
    stores: Stores,
    queue: JobQueue,
    clock: FakeClock,
    logger: Logger,
) -> None:
    runner = make_runner(stores, queue, SchemaLLM(), logger)

    response = Consumer(runner, event_loop, clock, logger).consume(load("sqs_job.json"), CONTEXT)

    assert response == {"batchItemFailures": []}
    assert stores.jobs.get("local", EVENT_ID).status is Status.COMPLETED


def test_the_workers_schedule_sends_its_sample(template: dict[str, Any]) -> None:
    schedule = template["Resources"]["WorkerFunction"]["Properties"]["Events"]["ModelCheck"]["Properties"]

    assert json.loads(schedule["Input"]) == load("schedule_model_check.json") == MODEL_CHECK


def test_every_sample_is_used() -> None:
    tests = (path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    used = {name for text in tests for name in re.findall(r'"(\w+\.json)"', text)}

    assert {path.name for path in EVENTS.iterdir()} <= used


@pytest.mark.parametrize("path", sorted(EVENTS.iterdir()), ids=lambda path: str(path.name))
def test_no_sample_names_an_account(path: Path) -> None:
    assert set(re.findall(r"\b\d{12}\b", path.read_text())) <= {"0" * 12}
