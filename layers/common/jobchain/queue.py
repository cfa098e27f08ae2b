"""The queue of jobs. Messages carry an id and nothing else: what a job is stands in the table."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, ValidationError

from jobchain.errors import MalformedMessage, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY = timedelta(minutes=15)
"""The longest that SQS holds a message back:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    event_id: str


def read_message(body: str) -> str:
    """The `event_id` of a message's body. Raises MalformedMessage for a body that `send` did not write."""
    try:
        return _Message.model_validate_json(body).event_id
    except ValidationError as error:
        raise MalformedMessage(f"not a job's message ({error.error_count()} faults)") from None


class JobQueue:
    """Sends jobs to the workers."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, event_id: str, tenant: str, delay: timedelta = timedelta(0)) -> None:
        """Has a worker look at the job after `delay`, at most `MAX_DELAY`. Raises Unavailable.

        The message group is the tenant, by which SQS serves tenants fairly:
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
        """
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=json.dumps({"event_id": event_id}),
                MessageGroupId=tenant,
                DelaySeconds=int(min(delay, MAX_DELAY).total_seconds()),
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("the queue does not take the job") from error

    def ping(self) -> None:
        """Raises Unavailable where the queue does not answer."""
        try:
            self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("the queue does not answer") from error
