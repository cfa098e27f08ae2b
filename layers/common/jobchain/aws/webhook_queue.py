"""The queue of deliveries. A message names a delivery and holds nothing of it: the event is stored in the table."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.outbox import Announce, DeliveryKey
from jobchain.aws.queue import MAX_DELAY, batches
from jobchain.aws.refusals import unavailable
from jobchain.errors import MalformedMessage, Unavailable
from jobchain.observability import Logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    tenant: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    # Nothing else of the tenant's partition can be named.
    delivery: Annotated[str, StringConstraints(pattern=r"^DELIVERY#[!-~]{1,200}$")]


def read_delivery_message(record: Mapping[str, Any]) -> DeliveryKey:
    """The delivery that a record of a function's event names. Raises MalformedMessage."""
    try:
        body = _Body.model_validate_json(record["body"])
    except ValidationError as error:
        raise MalformedMessage(f"not a delivery's message ({error.error_count()} errors)") from None
    return DeliveryKey(body.tenant, body.delivery)


class WebhookQueue:
    """Sends the messages of deliveries to the delivery function."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, keys: Sequence[DeliveryKey], delay: timedelta = timedelta(0)) -> list[DeliveryKey]:
        """Sends their messages, visible after `delay`, at most `MAX_DELAY`. Gives those that were not sent.

        Raises Unavailable where the queue does not answer. The message group is the tenant, as in `JobQueue`.
        """
        return [key for part in batches(keys) for key in self._send(part, delay)]

    def _send(self, keys: Sequence[DeliveryKey], delay: timedelta) -> list[DeliveryKey]:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(number),
                "MessageBody": json.dumps({"tenant": key.tenant, "delivery": key.sk}),
                "MessageGroupId": key.tenant,
                "DelaySeconds": math.ceil(min(delay, MAX_DELAY).total_seconds()),
            }
            for number, key in enumerate(keys)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except (BotoCoreError, ClientError) as error:
            raise unavailable("the queue of webhooks", "does not take the deliveries", error) from error
        return [keys[int(failed["Id"])] for failed in answer.get("Failed", [])]


def announcer(queue: WebhookQueue, logger: Logger) -> Announce:
    """Sends the messages of new deliveries. Those that the queue does not take are due in a minute anyway."""

    def announce(keys: Sequence[DeliveryKey]) -> None:
        if not keys:
            return
        try:
            refused = queue.send(keys)
        except Unavailable as error:
            log_unavailable(logger, "deliveries not sent, left to the sweeper", error)
            return
        if refused:
            logger.warning("deliveries not sent, left to the sweeper", count=len(refused))

    return announce
