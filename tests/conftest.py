"""Fixtures that several folders of tests share. The table is made from template.yaml itself."""

import asyncio
import io
import json
import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.session
import pytest
from aws_lambda_powertools import Logger
from hypothesis import settings
from moto import mock_aws
from samtranslator.yaml_helper import yaml_parse

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue
from jobchain.breaker import ModelAccount
from jobchain.chains import CHAINS, Registry
from jobchain.chains.chain import Chain
from jobchain.domain import Tier
from jobchain.llm import LLM
from jobchain.metrics import OutcomeMeter
from jobchain.pace import Rates
from jobchain.prices import PriceList
from jobchain_api.health import HealthCheck
from jobchain_api.job_urls import CheckUrl, no_job_urls
from jobchain_api.receivers import Receivers, no_receivers
from jobchain_api.service import JobService
from jobchain_sweeper.sweeper import Sweeper
from jobchain_worker.account_watch import AccountWatch
from jobchain_worker.admission_control import AdmissionControl
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.runner import Runner
from tests import properties
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

ROOT = Path(__file__).parent.parent
OPENAPI = ROOT / "functions" / "api" / "jobchain_api" / "openapi.json"
TABLE = "jobs"

settings.register_profile("jobchain", properties.profile(os.environ))
settings.load_profile("jobchain")


# `make test` runs the essential tests of these folders, `make test-all` runs all.
_THOROUGH = ("tests/browser/", "tests/integration/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(_THOROUGH) and not item.get_closest_marker("essential"):
            item.add_marker("thorough")


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can reach an account or a model that costs money."""
    ours = ("OPENAI_API", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", *ours):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this process can reach anything but this machine."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@cache
def read_template() -> dict[str, Any]:
    """template.yaml, with its short functions spelled out."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


def create_table(client: "DynamoDBClient") -> None:
    """Makes the template's table."""
    properties = read_template()["Resources"]["JobTable"]["Properties"]
    schema = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    client.create_table(TableName=TABLE, **{name: properties[name] for name in schema})


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return read_template()


@cache
def botocore_session() -> botocore.session.Session:
    """One for all tests. A session takes milliseconds to make, and its services' models a tenth of a second to read."""
    return botocore.session.Session()


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        boto3.setup_default_session(botocore_session=botocore_session())
        yield


@pytest.fixture
def dynamodb(aws: None) -> "DynamoDBClient":
    """A client whose account has the table of the template."""
    client = boto3.client("dynamodb")
    create_table(client)
    return client


@pytest.fixture
def sqs(aws: None) -> "SQSClient":
    return boto3.client("sqs")


@pytest.fixture
def queue_url(sqs: "SQSClient") -> str:
    return sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]


@pytest.fixture
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop that batches run on. It has one thread, as moto can't serve two."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_default_executor(ThreadPoolExecutor(max_workers=1))
        asyncio.set_event_loop(loop)
        yield loop
        asyncio.set_event_loop(None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stores(dynamodb: "DynamoDBClient", clock: FakeClock) -> Stores:
    return Stores(dynamodb, TABLE, clock)


@pytest.fixture
def queue(sqs: "SQSClient", queue_url: str) -> JobQueue:
    return JobQueue(sqs, queue_url)


@pytest.fixture
def log() -> io.StringIO:
    """What `logger` has written."""
    return io.StringIO()


@pytest.fixture
def logger(log: io.StringIO) -> Logger:
    # Powertools keeps one logger for each service, with the stream that it had at first.
    return Logger(service=f"test-{uuid4()}", stream=log)


def make_service(
    stores: Stores,
    queue: JobQueue,
    logger: Logger,
    outcome_meter: OutcomeMeter = lambda _: None,
    health: HealthCheck | None = None,
    chains: Mapping[str, Chain] = CHAINS,
    receivers: Receivers = no_receivers,
    check_url: CheckUrl = no_job_urls,
) -> JobService:
    """The service on top of these; the queue's dead letters are its own messages."""
    return JobService(
        chains=chains,
        default_chain=chains.default if isinstance(chains, Registry) else CHAINS.default,
        admission=stores.admission,
        jobs=stores.jobs,
        decisions=stores.decisions,
        due=stores.due,
        usage=stores.usage,
        health=health or stores.health(queue),
        queue=queue,
        dead_letters=queue,
        retention=timedelta(days=30),
        clock=stores.clock,
        logger=logger,
        meter=lambda *_: None,
        outcome_meter=outcome_meter,
        receivers=receivers,
        check_url=check_url,
    )


CALL_TIME = timedelta(seconds=75)


def make_admission_control(
    stores: Stores, queue: JobQueue, llm: LLM, logger: Logger, **changes: Any
) -> AdmissionControl:
    """The worker's admission control on top of these, for an account without limits."""
    account = ModelAccount("models.test", "secret", llm.model)
    breakers = BreakerStore(stores.client, stores.table, account, stores.clock)

    @cache
    def paces(model: str) -> dict[Tier, PaceStore]:
        its_account = replace(account, model=model)
        return {tier: PaceStore(stores.client, stores.table, its_account, tier, Rates(), stores.clock) for tier in Tier}

    parts: dict[str, Any] = {
        "paces": paces,
        "breakers": breakers,
        "watch": AccountWatch(breakers, logger, lambda _: None),
        "chains": CHAINS,
        "max_input_tokens": 8000,
    }
    return AdmissionControl(queue=queue, llm=llm, clock=stores.clock, logger=logger, **{**parts, **changes})


def make_runner(stores: Stores, queue: JobQueue, llm: LLM, logger: Logger, **changes: Any) -> Runner:
    """The worker's runner on top of these."""
    parts: dict[str, Any] = {
        "control": changes.get("control") or make_admission_control(stores, queue, llm, logger),
        "chains": CHAINS,
        "prices": PriceList.load(),
        "max_input_tokens": 8000,
        "call_time": CALL_TIME,
        "retry_policy": RetryPolicy(first_backoff=timedelta(seconds=10)),
        "clock": stores.clock,
        "logger": logger,
        "meter": lambda *_: None,
        "outcome_meter": lambda _: None,
    }
    return Runner(
        claims=stores.claims,
        due=stores.due,
        usage=stores.usage,
        versions=stores.versions,
        queue=queue,
        llm=llm,
        **{**parts, **changes},
    )


def make_sweeper(stores: Stores, queue: JobQueue, logger: Logger, **changes: Any) -> Sweeper:
    """The sweeper on top of these. One thread, as moto bears no more."""
    parts: dict[str, Any] = {
        "clock": stores.clock,
        "logger": logger,
        "meter": lambda *_: None,
        "outcome_meter": lambda _: None,
        "threads": 1,
        "page_size": 10,
        "most": 1000,
    }
    return Sweeper(due=stores.due, queue=queue, **{**parts, **changes})


@pytest.fixture
def service(stores: Stores, queue: JobQueue, logger: Logger) -> JobService:
    return make_service(stores, queue, logger)


@pytest.fixture
def items(dynamodb: "DynamoDBClient") -> "Items":
    return Items(dynamodb)


@pytest.fixture
def messages(sqs: "SQSClient", queue_url: str) -> "Messages":
    return Messages(sqs, queue_url)


class Items:
    """Looks into the table, past the stores."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client

    def all(self) -> list[dict[str, Any]]:
        """The items of jobs."""
        return [item for item in self._client.scan(TableName=TABLE)["Items"] if item["pk"]["S"].startswith("JOB#")]

    def meta(self, event_id: str) -> dict[str, Any]:
        key = {"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}}
        return dict(self._client.get_item(TableName=TABLE, Key=key)["Item"])

    def due(self) -> list[dict[str, Any]]:
        return list(self._client.scan(TableName=TABLE, IndexName="due")["Items"])


class Messages:
    """Looks into the queue."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def waiting(self) -> list[dict[str, Any]]:
        """The bodies of the messages that can be received now; they stay in the queue."""
        found: dict[str, dict[str, Any]] = {}
        while batch := self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            new = {m["MessageId"]: json.loads(m["Body"]) for m in batch}
            if new.keys() <= found.keys():
                break
            found |= new
        return list(found.values())

    def count(self) -> int:
        """Messages in the queue, delayed ones too."""
        counts = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesDelayed"])
