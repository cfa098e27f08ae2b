"""What the queue is sent, and what counts as one of its messages."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from jobchain.aws.queue import JobMessage, JobQueue, QueueDepth, Slot, read_message
from jobchain.errors import MalformedMessage, Misconfigured, Unavailable
from tests.conftest import Messages

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/jobs"
EVENT_ID = "0b6c2f4e-0000-4000-8000-000000000001"
SLOT = Slot(datetime(2026, 11, 29, 8, 30, 15, 250_000, tzinfo=UTC), requests=3, tokens=4200)


def record_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a function's event that a received message becomes."""
    given = message.get("MessageAttributes", {})
    attributes = {name: {"stringValue": value["StringValue"], "dataType": "String"} for name, value in given.items()}
    return {"messageId": "m", "body": message["Body"], "messageAttributes": attributes}


def record(body: str, slot: str | None = None) -> dict[str, Any]:
    """A record with this body, and this slot."""
    attributes = {"slot": {"stringValue": slot, "dataType": "String"}} if slot is not None else {}
    return {"messageId": "m", "body": body, "messageAttributes": attributes}


class TestAMessage:
    def test_is_the_jobs_id_and_nothing_else(self, queue: JobQueue, messages: Messages) -> None:
        queue.send(EVENT_ID, "local")

        assert messages.waiting() == [{"event_id": EVENT_ID}]

    def test_belongs_to_its_tenants_group(self, queue: JobQueue, sqs: "SQSClient", queue_url: str) -> None:
        queue.send(EVENT_ID, "some-tenant")

        received = sqs.receive_message(QueueUrl=queue_url, AttributeNames=["All"])["Messages"]
        assert [message["Attributes"]["MessageGroupId"] for message in received] == ["some-tenant"]

    def test_is_read_as_it_was_sent(self, queue: JobQueue, sqs: "SQSClient", queue_url: str) -> None:
        queue.send(EVENT_ID, "local")

        (received,) = sqs.receive_message(QueueUrl=queue_url)["Messages"]
        assert read_message(record_of(received)) == JobMessage(EVENT_ID)

    def test_brings_the_slot_that_its_job_was_granted(self, queue: JobQueue, sqs: "SQSClient", queue_url: str) -> None:
        queue.send(EVENT_ID, "local", slot=SLOT)

        (received,) = sqs.receive_message(QueueUrl=queue_url, MessageAttributeNames=["All"])["Messages"]
        assert json.loads(received["Body"]) == {"event_id": EVENT_ID}, "workers that know no slots read it too"
        assert read_message(record_of(received)) == JobMessage(EVENT_ID, SLOT)

    def test_may_say_more_of_a_slot_than_this_version_knows(self) -> None:
        text = json.dumps({"at": SLOT.at.timestamp(), "requests": 3, "tokens": 4200, "place": 7})

        assert read_message(record(json.dumps({"event_id": EVENT_ID}), text)).slot == SLOT

    @pytest.mark.parametrize(
        ("delay", "seconds"),
        [
            (timedelta(0), 0),
            (timedelta(seconds=7), 7),
            (timedelta(seconds=7.1), 8),
            (timedelta(minutes=15), 900),
            (timedelta(minutes=16), 900),
            (timedelta(days=365), 900),
        ],
    )
    def test_is_held_back_in_whole_seconds_for_15_minutes_at_most(
        self, stubber: Stubber, offline: "SQSClient", delay: timedelta, seconds: int
    ) -> None:
        expected = {
            "QueueUrl": URL,
            "MessageBody": json.dumps({"event_id": EVENT_ID}),
            "MessageGroupId": "local",
            "DelaySeconds": seconds,
            "MessageAttributes": {},
        }
        stubber.add_response("send_message", {}, expected)

        JobQueue(offline, URL).send(EVENT_ID, "local", delay)

        stubber.assert_no_pending_responses()


class TestABatch:
    JOBS = (("first", "a"), ("second", "b"))

    def test_is_a_message_for_each_job_in_its_tenants_group(self, stubber: Stubber, offline: "SQSClient") -> None:
        entries = [
            {"Id": "0", "MessageBody": '{"event_id": "first"}', "MessageGroupId": "a"},
            {"Id": "1", "MessageBody": '{"event_id": "second"}', "MessageGroupId": "b"},
        ]
        stubber.add_response(
            "send_message_batch", {"Successful": [], "Failed": []}, {"QueueUrl": URL, "Entries": entries}
        )

        assert JobQueue(offline, URL).send_batch(self.JOBS) == []

    def test_names_the_jobs_that_the_queue_did_not_take(self, stubber: Stubber, offline: "SQSClient") -> None:
        failed = [{"Id": "1", "SenderFault": False, "Code": "InternalError"}]
        stubber.add_response("send_message_batch", {"Successful": [], "Failed": failed})

        assert JobQueue(offline, URL).send_batch(self.JOBS) == ["second"]

    def test_is_an_error_where_the_queue_takes_none(self, stubber: Stubber, offline: "SQSClient") -> None:
        stubber.add_client_error("send_message_batch", "ThrottlingException")

        with pytest.raises(Unavailable, match="the queue does not take the jobs"):
            JobQueue(offline, URL).send_batch(self.JOBS)

    def test_is_read_as_it_was_sent(self, queue: JobQueue, messages: Messages) -> None:
        queue.send_batch(self.JOBS)

        assert sorted(message["event_id"] for message in messages.waiting()) == ["first", "second"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not JSON",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"event_id": 7}',
        '{"event_id": null}',
        '{"event_id": ["x"]}',
        '{"event_id": "x", "payload": {}}',
        '{"EVENT_ID": "x"}',
        '{"event_id": "\\ud800"}',
        '{"event_id": ""}',
        '{"event_id": "job-1"}',
        '{"event_id": "0B6C2F4E-0000-4000-8000-000000000001"}',
        '{"event_id": "0b6c2f4e-0000-4000-8000-000000000001\\n"}',
    ],
)
def test_a_message_that_is_not_one_of_ours_is_malformed_and_not_quoted(body: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_message(record(body))

    assert str(caught.value).startswith("not a job's message (")


@pytest.mark.parametrize(
    "slot",
    [
        "",
        "soon",
        "[]",
        "{}",
        '{"at": 1800000000.5, "requests": 3}',
        '{"at": "1800000000.5", "requests": 3, "tokens": 1}',
        '{"at": 1800000000.5, "requests": -1, "tokens": 1}',
        '{"at": 1800000000.5, "requests": 1.5, "tokens": 1}',
        '{"at": NaN, "requests": 1, "tokens": 1}',
        '{"at": 1e300, "requests": 1, "tokens": 1}',
        '{"at": -1, "requests": 1, "tokens": 1}',
    ],
)
def test_a_message_whose_slot_is_none_is_malformed(slot: str) -> None:
    with pytest.raises(MalformedMessage):
        read_message(record(json.dumps({"event_id": EVENT_ID}), slot))


class TestAQueueThatDoesNotAnswer:
    @pytest.mark.parametrize("code", ["AWS.SimpleQueueService.NonExistentQueue", "AccessDenied"])
    def test_is_misconfigured_where_waiting_does_not_help(
        self, stubber: Stubber, offline: "SQSClient", code: str
    ) -> None:
        for operation in ("send_message", "send_message_batch", "get_queue_attributes"):
            stubber.add_client_error(operation, code)

        queue = JobQueue(offline, URL)
        for call in (lambda: queue.send(EVENT_ID, "local"), lambda: queue.send_batch([(EVENT_ID, "a")]), queue.depth):
            with pytest.raises(Misconfigured, match="the queue refuses this deployment"):
                call()

    def test_is_unavailable_where_it_refuses_for_now(self, stubber: Stubber, offline: "SQSClient") -> None:
        stubber.add_client_error("send_message", "ThrottlingException")
        stubber.add_client_error("get_queue_attributes", "ThrottlingException")

        with pytest.raises(Unavailable, match="the queue does not take the job"):
            JobQueue(offline, URL).send(EVENT_ID, "local")
        with pytest.raises(Unavailable, match="the queue does not answer"):
            JobQueue(offline, URL).depth()

    def test_is_unavailable_where_it_cannot_be_reached(self, offline: "SQSClient") -> None:
        def unreachable(**_: object) -> None:
            raise EndpointConnectionError(endpoint_url=URL)

        offline.meta.events.register("before-send.sqs", unreachable)

        with pytest.raises(Unavailable, match="the queue does not take the job"):
            JobQueue(offline, URL).send(EVENT_ID, "local")
        with pytest.raises(Unavailable, match="the queue does not answer"):
            JobQueue(offline, URL).depth()


def test_the_depth_counts_what_waits_and_what_is_held_back(queue: JobQueue) -> None:
    queue.send(EVENT_ID, "local")
    queue.send(EVENT_ID, "local", timedelta(minutes=5))

    assert queue.depth() == QueueDepth(waiting=1, in_flight=0, delayed=1)


@pytest.fixture
def offline() -> "SQSClient":
    """A client with nothing behind it, which tries once."""
    return boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def stubber(offline: "SQSClient") -> Iterator[Stubber]:
    with Stubber(offline) as stubber:
        yield stubber
