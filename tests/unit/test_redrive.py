"""Redriving on AWS, where the queue service moves the letters itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from jobchain_cli import redrive as module
from jobchain_cli.redrive import redrive

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

QUEUE, LETTERS = "https://sqs/queue", "https://sqs/letters"


@pytest.fixture
def client() -> "SQSClient":
    return boto3.client("sqs")


@pytest.fixture
def stub(client: "SQSClient") -> Iterator[Stubber]:
    with Stubber(client) as stub:
        answer = {"Attributes": {"QueueArn": "arn:letters"}}
        stub.add_response("get_queue_attributes", answer, {"QueueUrl": LETTERS, "AttributeNames": ["QueueArn"]})
        yield stub
        stub.assert_no_pending_responses()


def test_aws_is_asked_to_move_them_to_where_they_came_from_and_its_count_is_given(
    client: "SQSClient", stub: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0)
    stub.add_response(
        "start_message_move_task",
        {"TaskHandle": "task"},
        {"SourceArn": "arn:letters"},
    )
    for status, moved in (("RUNNING", 3), ("COMPLETED", 7)):
        result = {"Status": status, "ApproximateNumberOfMessagesMoved": moved}
        stub.add_response(
            "list_message_move_tasks", {"Results": [result]}, {"SourceArn": "arn:letters", "MaxResults": 1}
        )

    assert redrive(client, LETTERS, QUEUE) == 7


def test_any_other_refusal_is_told(client: "SQSClient", stub: Stubber) -> None:
    stub.add_client_error("start_message_move_task", "AccessDenied", "not allowed")

    with pytest.raises(ClientError, match="AccessDenied"):
        redrive(client, LETTERS, QUEUE)
