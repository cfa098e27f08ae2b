"""The queue of jobs. A message holds a job's id and nothing else: the job is stored in the table."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from jobchain.domain import EVENT_ID, Tier
from jobchain.errors import MalformedMessage, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

MAX_DELAY = timedelta(minutes=15)
"""The longest that SQS delays a message:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


MAX_BATCH = 10
"""The most messages that SQS takes at once; see the same page."""


T = TypeVar("T")


def batches(jobs: Sequence[T]) -> Iterator[Sequence[T]]:
    """`jobs` in parts that `JobQueue.send_batch` takes."""
    return (jobs[start : start + MAX_BATCH] for start in range(0, len(jobs), MAX_BATCH))


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    # A text that cannot be a job's id is malformed, and its message becomes a dead letter. A job that does not exist
    # is no error.
    event_id: Annotated[str, StringConstraints(pattern=EVENT_ID)]


def read_message(body: str) -> str:
    """The `event_id` of a message's body. Raises MalformedMessage for a body that `send` did not write."""
    try:
        return _Message.model_validate_json(body).event_id
    except ValidationError as error:
        raise MalformedMessage(f"not a job's message ({error.error_count()} errors)") from None


def _body(event_id: str) -> str:
    return json.dumps({"event_id": event_id})


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """About how many messages wait in a queue, are with a worker, and are delayed."""

    waiting: int
    in_flight: int
    delayed: int


class JobQueue:
    """Sends jobs to the workers: those of the tier flex, which take long, through a queue of their own."""

    def __init__(self, client: "SQSClient", url: str, flex_url: str | None = None) -> None:
        self._client = client
        self._urls = {Tier.STANDARD: url, Tier.FLEX: flex_url or url}

    def send(self, event_id: str, tenant: str, delay: timedelta = timedelta(0), tier: Tier = Tier.STANDARD) -> None:
        """Sends the job's message to a worker after `delay`, at most `MAX_DELAY`. Raises Unavailable.

        The message group is the tenant, so that SQS serves tenants fairly:
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
        """
        try:
            self._client.send_message(
                QueueUrl=self._urls[tier],
                MessageBody=_body(event_id),
                MessageGroupId=tenant,
                # Whole seconds, and never too early.
                DelaySeconds=math.ceil(min(delay, MAX_DELAY).total_seconds()),
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("the queue does not take the job") from error

    def send_batch(self, jobs: Sequence[tuple[str, str]], tier: Tier = Tier.STANDARD) -> list[str]:
        """Sends the messages of up to `MAX_BATCH` jobs, (event_id, tenant) each. Gives the ids that were not sent."""
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": _body(event_id), "MessageGroupId": tenant}
            for number, (event_id, tenant) in enumerate(jobs)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._urls[tier], Entries=entries)
        except (BotoCoreError, ClientError):
            return [event_id for event_id, _ in jobs]
        return [jobs[int(failed["Id"])][0] for failed in answer.get("Failed", [])]

    def depth(self) -> QueueDepth:
        """The sums over the queues. Raises Unavailable where one does not answer."""
        names: list[QueueAttributeNameType] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        try:
            found = [
                self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
                for url in {*self._urls.values()}
            ]
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("the queue does not answer") from error
        return QueueDepth(*(sum(int(counts[name]) for counts in found) for name in names))
