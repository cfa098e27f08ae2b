"""The queue of jobs. A message's body holds a job's id and nothing else: the job is stored in the table.

A job that has been granted a slot of its model's pace carries it in an attribute of its message. Workers that know no
slots ignore it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from jobchain.aws.refusals import unavailable
from jobchain.domain import EVENT_ID, Tier
from jobchain.errors import MalformedMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

MAX_DELAY = timedelta(minutes=15)
"""The longest that SQS delays a message:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


MAX_BATCH = 10
"""The most messages that SQS takes at once; see the same page."""


T = TypeVar("T")


def batches(jobs: Sequence[T]) -> Iterator[Sequence[T]]:
    """`jobs` in parts that `JobQueue.send_batch` takes."""
    return (jobs[start : start + MAX_BATCH] for start in range(0, len(jobs), MAX_BATCH))


@dataclass(frozen=True, slots=True)
class Slot:
    """What the limiter of a tier has granted a job: this number of requests and tokens, from `at` on.

    `model` is the fallback whose limiter it was, None for the model whose pace the job follows.
    """

    at: datetime
    requests: int
    tokens: int
    tier: Tier = Tier.STANDARD
    model: str | None = None


@dataclass(frozen=True, slots=True)
class JobMessage:
    """What a message says: the job to run, and the slot that it was granted, if any."""

    event_id: str
    slot: Slot | None = None


# The name of the attribute that holds a slot.
_SLOT = "slot"

# 2286: a later time is no slot's.
_LAST_SECOND = 10_000_000_000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    # A text that cannot be a job's id is malformed, and its message becomes a dead letter. A job that does not exist
    # is no error.
    event_id: Annotated[str, StringConstraints(pattern=EVENT_ID)]


class _Slot(BaseModel):
    # A later version may say more of a slot.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, defer_build=True)

    at: Annotated[float, Field(ge=0, le=_LAST_SECOND, allow_inf_nan=False)]
    requests: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0)]
    # An earlier version does not say it, and a later one may know others.
    tier: str = Tier.STANDARD
    model: str | None = None


def read_message(record: Mapping[str, Any]) -> JobMessage:
    """What a record of a function's event says. Raises MalformedMessage for one whose message `send` did not write."""
    slot = record.get("messageAttributes", {}).get(_SLOT)
    try:
        event_id = _Body.model_validate_json(record["body"]).event_id
        return JobMessage(event_id, _slot_of(slot.get("stringValue") or "") if slot else None)
    except ValidationError as error:
        raise MalformedMessage(f"not a job's message ({error.error_count()} errors)") from None


def _slot_of(text: str) -> Slot:
    read = _Slot.model_validate_json(text)
    tier = Tier.FLEX if read.tier == Tier.FLEX else Tier.STANDARD
    return Slot(datetime.fromtimestamp(read.at, UTC), read.requests, read.tokens, tier, read.model)


def _body(event_id: str) -> str:
    return json.dumps({"event_id": event_id})


def _attributes(slot: Slot | None) -> "dict[str, MessageAttributeValueTypeDef]":
    if slot is None:
        return {}
    says = {"at": slot.at.timestamp(), "requests": slot.requests, "tokens": slot.tokens, "tier": slot.tier}
    text = json.dumps({**says, "model": slot.model} if slot.model else says)
    return {_SLOT: {"DataType": "String", "StringValue": text}}


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

    def send(
        self,
        event_id: str,
        tenant: str,
        delay: timedelta = timedelta(0),
        tier: Tier = Tier.STANDARD,
        slot: Slot | None = None,
    ) -> None:
        """Sends the job's message to a worker after `delay`, at most `MAX_DELAY`. Raises Unavailable.

        `slot` is the one that the job was granted: the worker that gets the message asks for no other.

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
                MessageAttributes=_attributes(slot),
            )
        except (BotoCoreError, ClientError) as error:
            raise unavailable("the queue", "does not take the job", error) from error

    def send_batch(self, jobs: Sequence[tuple[str, str]], tier: Tier = Tier.STANDARD) -> list[str]:
        """Sends the messages of up to `MAX_BATCH` jobs, (event_id, tenant) each. Gives the ids that were not sent.

        Raises Unavailable where none was sent.
        """
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": _body(event_id), "MessageGroupId": tenant}
            for number, (event_id, tenant) in enumerate(jobs)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._urls[tier], Entries=entries)
        except (BotoCoreError, ClientError) as error:
            raise unavailable("the queue", "does not take the jobs", error) from error
        return [jobs[int(failed["Id"])][0] for failed in answer.get("Failed", [])]

    def depth(self, tier: Tier | None = None) -> QueueDepth:
        """The messages of a tier's queue, of all queues without one. Raises Unavailable where one does not answer."""
        names: list[QueueAttributeNameType] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        urls = {self._urls[tier]} if tier else {*self._urls.values()}
        try:
            found = [
                self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] for url in urls
            ]
        except (BotoCoreError, ClientError) as error:
            raise unavailable("the queue", "does not answer", error) from error
        return QueueDepth(*(sum(int(counts[name]) for counts in found) for name in names))
