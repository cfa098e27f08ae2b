"""Puts dead letters back into the queues that they came from."""

import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# What an emulator without message move tasks answers.
_NOT_THERE = ("InvalidAction", "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation")
_POLL_SECONDS = 1
# Longer than a batch takes to be sent and deleted.
_HIDDEN_SECONDS = 60


class RedriveError(Exception):
    """The queue could not move all dead letters; says why."""


def redrive(client: "SQSClient", dead_letter_url: str, queue_url: str) -> int:
    """Moves every dead letter back, and gives their number. Raises ClientError, RedriveError.

    AWS moves each to the queue that it came from. Where that is not to be had, each is sent to `queue_url` and then
    deleted, so that one that is interrupted in between is there twice, which workers bear, and never lost.
    """
    try:
        return _move(client, _arn(client, dead_letter_url))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_THERE:
            raise
    return _send_and_delete(client, dead_letter_url, queue_url)


def _arn(client: "SQSClient", url: str) -> str:
    return client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _move(client: "SQSClient", source: str) -> int:
    client.start_message_move_task(SourceArn=source)
    while True:
        (task,) = client.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"]
        if task["Status"] == "COMPLETED":
            return task["ApproximateNumberOfMessagesMoved"]
        if task["Status"] != "RUNNING":
            raise RedriveError(
                f"the queue's move ended as {task['Status']}: {task.get('FailureReason', 'no reason given')}"
            )
        time.sleep(_POLL_SECONDS)


def _send_and_delete(client: "SQSClient", dead_letter_url: str, queue_url: str) -> int:
    moved = 0
    while letters := client.receive_message(
        QueueUrl=dead_letter_url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=_HIDDEN_SECONDS,
        MessageSystemAttributeNames=["MessageGroupId"],
    ).get("Messages"):
        for letter in letters:
            group = letter.get("Attributes", {}).get("MessageGroupId")
            extra = {"MessageGroupId": group} if group else {}
            client.send_message(QueueUrl=queue_url, MessageBody=letter["Body"], **extra)  # type: ignore[arg-type]
            client.delete_message(QueueUrl=dead_letter_url, ReceiptHandle=letter["ReceiptHandle"])
            moved += 1
    return moved
