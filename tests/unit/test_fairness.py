"""Every message belongs to its tenant's group, by which SQS serves tenants fairly: in the API, worker and sweeper."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.items import DISPATCH_GRACE
from jobchain.aws.queue import JobQueue
from jobchain.domain import NewJob
from jobchain.errors import TransientModelError
from jobchain_api.auth import Caller
from jobchain_api.service import JobService
from tests.conftest import make_runner, make_sweeper
from tests.fake_model.llm import ScriptedLLM
from tests.fakes import FakeClock
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BODY = {"input_text": "Be careful."}


@pytest.fixture
def groups(sqs: "SQSClient") -> list[str | None]:
    """The message group of each message that is sent."""
    seen: list[str | None] = []

    def look(params: dict[str, Any], **_: object) -> None:
        seen.extend(message.get("MessageGroupId") for message in params.get("Entries", [params]))

    for call in ("SendMessage", "SendMessageBatch"):
        sqs.meta.events.register(f"provide-client-params.sqs.{call}", look)
    return seen


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger, lambda _: Caller("acme"))


def test_a_new_job(api: Api, groups: list[str | None]) -> None:
    api("POST", "/jobs", BODY)

    assert groups == ["acme"]


def test_the_jobs_of_a_batch(api: Api, groups: list[str | None]) -> None:
    api("POST", "/jobs/batch", {"jobs": [BODY] * 12})

    assert groups == ["acme"] * 12


def test_a_replayed_job_that_is_sent_again(api: Api, groups: list[str | None], clock: FakeClock) -> None:
    for _ in range(2):
        api("POST", "/jobs", BODY, {"Idempotency-Key": "key"})
        clock.advance(timedelta(minutes=1))

    assert groups == ["acme"] * 2


def test_a_job_that_is_retried(api: Api, groups: list[str | None]) -> None:
    event_id = api("POST", "/jobs", BODY).body["event_id"]
    api("POST", f"/jobs/{event_id}/cancel")
    api("POST", f"/jobs/{event_id}/retry")

    assert groups == ["acme"] * 2


def test_jobs_that_the_sweeper_sends(
    stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger, groups: list[str | None]
) -> None:
    for number, tenant in enumerate(("acme", "other")):
        new = NewJob(f"0b6c2f4e-0000-4000-8000-{number:012}", tenant, "guideline_checklist", {}, "f")
        stores.admission.create(new, timedelta(days=30))
    clock.advance(DISPATCH_GRACE)
    sweeper = make_sweeper(stores, queue, logger)

    sweeper.sweep(clock() + timedelta(minutes=1))

    assert sorted(filter(None, groups)) == ["acme", "other"]


@pytest.mark.usefixtures("event_loop")
@pytest.mark.parametrize("put_off_before", [False, True])
def test_a_job_that_the_worker_puts_off(
    api: Api,
    stores: Stores,
    queue: JobQueue,
    clock: FakeClock,
    logger: Logger,
    groups: list[str | None],
    put_off_before: bool,
) -> None:
    event_id = api("POST", "/jobs", BODY).body["event_id"]
    runner = make_runner(stores, queue, ScriptedLLM([TransientModelError("busy")]), logger)
    for _ in range(1 + put_off_before):
        asyncio.get_event_loop().run_until_complete(runner.run(event_id, clock() + timedelta(minutes=5)))

    assert groups == ["acme"] * (2 + put_off_before)
