"""Stacks whose model, and whose way to AWS, can be made to fail."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.emulator import HOST, free_port
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import FINAL, LIMIT, poll
from tests.fake_model.answers import STEPS, result_of
from tests.fake_model.replies import USAGE
from tests.fake_model.server import ModelServer
from tests.faults.aws_proxy import AwsProxy

# As short as the template allows, so that a fault costs seconds.
FAST = {
    "WorkerTimeoutSeconds": "30",
    "FirstBackoffSeconds": "1",
    "WorkerConcurrency": "2",
}

# Far more than the jobs need: a server that refuses calls by chance, and tells no limits, is then not slowed down.
KNOWN_LIMIT = {"ModelRequestsPerMinute": "100000"}


@dataclass(frozen=True, slots=True)
class FaultyStack:
    """A stack, its scripted model, and the proxy between its functions and AWS where it has one."""

    stack: EmbeddedStack
    model: ModelServer
    http: httpx2.Client
    maybe_proxy: AwsProxy | None = None

    @property
    def proxy(self) -> AwsProxy:
        assert self.maybe_proxy, "this stack was started without a proxy"
        return self.maybe_proxy

    @property
    def sweeper_name(self) -> str:
        stacks = self.stack.client("cloudformation").describe_stacks(StackName="jobchain")["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
        return str(outputs["SweeperName"])

    def post(self, marker: str, key: str | None = None) -> httpx2.Response:
        """Asks for a job whose text holds `marker`."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post("/jobs", json={"input_text": f"The rules of {marker}."}, headers=headers)

    def submit(self, marker: str, key: str | None = None) -> str:
        """The `event_id` of a new job whose text holds `marker`."""
        answer = self.post(marker, key)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["event_id"])

    def job(self, event_id: str) -> dict[str, Any]:
        """The job as a caller reads it."""
        job: dict[str, Any] = self.http.get(f"/jobs/{event_id}").raise_for_status().json()
        return job

    def finished(self, event_id: str, limit_seconds: float = LIMIT) -> dict[str, Any]:
        """The job, once it is final. Raises TimeoutError.

        It looks past the functions, which would be kept busy by being asked.
        """
        poll(lambda: self.meta(event_id)["status"]["S"] in FINAL, limit_seconds)
        return self.job(event_id)

    def all_finished(self, event_ids: Iterable[str], limit_seconds: float = LIMIT) -> list[dict[str, Any]]:
        """The jobs, once all are final. Raises TimeoutError."""
        deadline = time.monotonic() + limit_seconds
        return [self.finished(event_id, max(deadline - time.monotonic(), 0.1)) for event_id in event_ids]

    def sweep(self) -> dict[str, Any]:
        """Runs the sweeper by hand, and gives what it did."""
        answer = self.stack.client("lambda").invoke(FunctionName=self.sweeper_name)
        assert "FunctionError" not in answer, answer["Payload"].read()
        done: dict[str, Any] = json.loads(answer["Payload"].read())
        return done

    def meta(self, event_id: str) -> dict[str, Any]:
        """The job's META item, in DynamoDB's own form."""
        key = {"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}}
        item: dict[str, Any] = self.stack.client("dynamodb").get_item(
            TableName=self.stack.table, Key=key, ConsistentRead=True
        )["Item"]
        return item

    def make_due(self, event_id: str) -> None:
        """Moves an unfinished job's due time into the past."""
        self._change(event_id, "SET due_at = :past")

    def let_time_pass(self, event_id: str) -> None:
        """What a job waits for is over at once: its due time, its backoff, and the lease of a worker that is gone."""
        lease = ", lease_until = :past" if "lease_until" in self.meta(event_id) else ""
        self._change(event_id, f"SET due_at = :past{lease} REMOVE not_before")

    def let_probe_be_due(self) -> None:
        """The account that is refused may be asked again at once."""
        table = {"TableName": self.stack.table}
        client = self.stack.client("dynamodb")
        for item in client.scan(**table, FilterExpression="attribute_exists(probe_at)")["Items"]:
            client.update_item(
                **table,
                Key={"pk": item["pk"], "sk": item["sk"]},
                UpdateExpression="SET probe_at = :past, named_probe_at = :past",
                ExpressionAttributeValues={":past": {"N": str(int(time.time() * 1000) - 1000)}},
            )

    def let_deadline_pass(self, event_id: str) -> None:
        """The time in which a job is tried is over, and so is its wait."""
        self._change(event_id, "SET due_at = :past, deadline_at = :past REMOVE not_before")

    def _change(self, event_id: str, expression: str) -> None:
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.table,
            Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}},
            UpdateExpression=expression,
            ConditionExpression="attribute_exists(due_at)",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
        )

    @contextmanager
    def workers_paused(self) -> Iterator[None]:
        """Within, messages stay in the queue; afterwards the workers get them in batches of ten."""
        functions = self.stack.client("lambda")
        mappings = functions.list_event_source_mappings()["EventSourceMappings"]
        for mapping in mappings:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            for mapping in mappings:
                functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    @contextmanager
    def visibility_timeout(self, seconds: int) -> Iterator[None]:
        """Messages that are received within come back so soon where they were not handled."""
        queue = {"QueueUrl": self.stack.queue_url}
        before = self.stack.client("sqs").get_queue_attributes(**queue, AttributeNames=["VisibilityTimeout"])
        self.stack.client("sqs").set_queue_attributes(**queue, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            self.stack.client("sqs").set_queue_attributes(**queue, Attributes=before["Attributes"])

    def count_items(self) -> int:
        """Items of jobs in the table."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=self.stack.table)
        return sum(item["pk"]["S"].startswith("JOB#") for page in pages for item in page["Items"])

    def queued(self, url: str | None = None) -> dict[str, int]:
        """Messages of the queue, or of the one at `url`: `waiting`, `delayed`, `in_flight`."""
        names = {"waiting": "", "delayed": "Delayed", "in_flight": "NotVisible"}
        attributes = self.stack.client("sqs").get_queue_attributes(
            QueueUrl=url or self.stack.queue_url, AttributeNames=["All"]
        )["Attributes"]
        return {name: int(attributes[f"ApproximateNumberOfMessages{suffix}"]) for name, suffix in names.items()}


def assert_right(job: Mapping[str, Any], marker: str) -> None:
    """The job is complete, has three steps, and its result is made of its own text."""
    assert job["status"] == "completed", job
    assert [(step["name"], step["status"]) for step in job["steps"]] == [(step, "completed") for step in STEPS]
    assert job["result"] == result_of(marker)


def used(calls: int) -> dict[str, int]:
    """The usage of that many calls that were answered by a response."""
    return {
        "input_tokens": USAGE.input_tokens * calls,
        "cached_tokens": USAGE.cached_tokens * calls,
        "cache_write_tokens": USAGE.cache_write_tokens * calls,
        "output_tokens": USAGE.output_tokens * calls,
        "reasoning_tokens": USAGE.reasoning_tokens * calls,
    }


@contextmanager
def faulty_stack(
    *,
    proxied: bool = False,
    latency: float = 0,
    parameters: Mapping[str, str] | None = None,
    folder: Path | None = None,
    persist: bool = False,
) -> Iterator[FaultyStack]:
    """A stack of one's own. `latency` is the model's, in seconds; `parameters` overrule FAST's."""
    with ExitStack() as cleanup:
        model = cleanup.enter_context(ModelServer(latency))
        port = free_port()
        proxy = cleanup.enter_context(AwsProxy(HOST, port)) if proxied else None
        settings = Settings(
            openai_api_key="test", openai_base_url=model.base_url, lambda_endpoint_url=proxy.url if proxy else ""
        )
        stack = cleanup.enter_context(
            EmbeddedStack.start(
                settings, parameters={**FAST, **(parameters or {})}, folder=folder, port=port, persist=persist
            )
        )
        # trust_env: without the developer's proxy, as the stack is on this machine
        http = cleanup.enter_context(httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False))
        yield FaultyStack(stack, model, http, proxy)


@pytest.fixture(scope="session")
def shared_world() -> Iterator[FaultyStack]:
    """A stack with a scripted model, which all tests of a process share: a test keeps to markers of its own."""
    with faulty_stack() as stack:
        yield stack


@pytest.fixture
def world(shared_world: FaultyStack) -> FaultyStack:
    """The shared stack. When a test begins the queue is empty: others leave messages that are delayed by minutes."""
    shared_world.stack.client("sqs").purge_queue(QueueUrl=shared_world.stack.queue_url)
    return shared_world


@pytest.fixture(scope="session")
def _proxied() -> Iterator[FaultyStack]:
    with faulty_stack(proxied=True) as stack:
        yield stack


@pytest.fixture
def proxied(_proxied: FaultyStack) -> Iterator[FaultyStack]:
    """A stack with a proxy too. When a test begins it passes everything on, and the queue is empty."""
    _proxied.stack.client("sqs").purge_queue(QueueUrl=_proxied.stack.queue_url)
    _proxied.proxy.calm()
    yield _proxied
    _proxied.proxy.calm()
