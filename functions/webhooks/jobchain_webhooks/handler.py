"""The composition root of the delivery function."""

from jobchain.startup import started

# isort: split
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.calling import Patience, create_aws_client
from jobchain.aws.connections import TRUSTED
from jobchain.aws.deliveries import DeliveryStore
from jobchain.aws.json_client import DYNAMODB, SQS
from jobchain.aws.outbox import DeliveryKey
from jobchain.aws.webhook_queue import WebhookQueue
from jobchain.connection import is_loopback
from jobchain.domain import utc_now
from jobchain.metrics import count_deliveries
from jobchain.observability import create_logger
from jobchain.settings import load_settings
from jobchain_webhooks.addresses import Reach
from jobchain_webhooks.batch import deliver_all
from jobchain_webhooks.delivering import Delivering, Ending
from jobchain_webhooks.lanes import lanes
from jobchain_webhooks.sender import Sender


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """What the delivery function reads from its environment. AWS itself sets no endpoint, a local stack does."""

    table_name: str
    webhook_queue_url: str
    slow_webhook_queue_url: str
    aws_endpoint_url: str = ""


# One for each message of the largest batch.
_THREADS = 10
_AWS = Patience(connect_seconds=2, read_seconds=5, attempts=3, connections=_THREADS)

settings = load_settings(WebhookSettings, os.environ)
logger = create_logger()
# Not a parameter: on AWS, this machine is the runtime of the function.
reach = Reach.LOCAL if is_loopback(settings.aws_endpoint_url) else Reach.PUBLIC
delivering = Delivering(
    store=DeliveryStore(create_aws_client(DYNAMODB, _AWS, os.environ), settings.table_name, utc_now),
    sender=Sender(ssl.create_default_context(cafile=str(TRUSTED)), reach),
    clock=utc_now,
    logger=logger,
    local=reach is Reach.LOCAL,
)
sqs = create_aws_client(SQS, _AWS, os.environ)
fast, slow = lanes(WebhookQueue(sqs, settings.webhook_queue_url), WebhookQueue(sqs, settings.slow_webhook_queue_url))
slow_queue_name = settings.slow_webhook_queue_url.rpartition("/")[2]
threads = ThreadPoolExecutor(_THREADS)
started()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Makes a try of each delivery that a batch of the queue names."""
    logger.append_keys(request_id=context.aws_request_id)
    left = timedelta(milliseconds=context.get_remaining_time_in_millis())
    # The records of an event are of one queue.
    queue_name = event["Records"][0]["eventSourceARN"].rpartition(":")[2]
    lane = slow if queue_name == slow_queue_name else fast

    def deliver(key: DeliveryKey, left: timedelta) -> Ending:
        return delivering.deliver(key, lane, left)

    return deliver_all(event["Records"], left, deliver, threads, logger, count_deliveries)
