"""The composition root of the sweeper function."""

from jobchain.startup import started

# isort: split
import os
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.calling import Patience, create_aws_client
from jobchain.aws.deployment_checks import SweepReport, SweepStore
from jobchain.aws.due import DueStore
from jobchain.aws.due_deliveries import DueDeliveryStore
from jobchain.aws.json_client import DYNAMODB, SQS
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.queue import JobQueue
from jobchain.aws.webhook_queue import WebhookQueue, announcer
from jobchain.domain import utc_now
from jobchain.errors import Unavailable
from jobchain.metrics import count_outcome, count_spending
from jobchain.observability import create_logger
from jobchain.settings import load_settings
from jobchain_sweeper.sweeper import Sweep, Sweeper
from jobchain_sweeper.webhooks import WebhookSweeper


@dataclass(frozen=True, slots=True)
class SweeperSettings:
    """What the sweeper function reads from its environment."""

    table_name: str
    queue_url: str
    flex_queue_url: str
    webhook_queue_url: str


# The part of its invocation that a sweep reserves for the page that it has begun.
_RESERVE = timedelta(seconds=15)
_THREADS = 16
# Of the time of a sweep: a backlog of deliveries must not keep jobs waiting.
_SHARE_OF_WEBHOOKS = 0.25
_AWS = Patience(connect_seconds=2, read_seconds=5, attempts=3, connections=_THREADS)

settings = load_settings(SweeperSettings, os.environ)
logger = create_logger()
dynamodb = create_aws_client(DYNAMODB, _AWS, os.environ)
sweeps = SweepStore(dynamodb, settings.table_name)
sqs = create_aws_client(SQS, _AWS, os.environ)
webhook_queue = WebhookQueue(sqs, settings.webhook_queue_url)
sweeper = Sweeper(
    due=DueStore(dynamodb, settings.table_name, utc_now, announcer(webhook_queue, logger)),
    queue=JobQueue(sqs, settings.queue_url, settings.flex_queue_url),
    clock=utc_now,
    logger=logger,
    meter=count_spending,
    outcome_meter=count_outcome,
    threads=_THREADS,
    page_size=25,
    most=1000,
)
webhooks = WebhookSweeper(
    due=DueDeliveryStore(dynamodb, settings.table_name, utc_now), queue=webhook_queue, clock=utc_now, logger=logger
)
started()


def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the sweeper once, by the schedule or by hand. Answers with what it did."""
    logger.append_keys(request_id=context.aws_request_id)
    deadline = utc_now() + timedelta(milliseconds=context.get_remaining_time_in_millis()) - _RESERVE
    now = utc_now()
    sent = 0
    try:
        sent = webhooks.sweep(now + (deadline - now) * _SHARE_OF_WEBHOOKS)
    finally:
        # Whatever is wrong with deliveries: the run fails for that, but not before the jobs are swept.
        sweep = sweeper.sweep(deadline)
        _report(sweep)
    done = {**asdict(sweep), "webhooks": sent}
    if done["sent"]:
        # Not a zero each minute: a metric costs as long as it is sent.
        metrics = EphemeralMetrics()
        metrics.add_metric(name="HealedJobs", unit=MetricUnit.Count, value=done["sent"])
        metrics.flush_metrics()
    logger.info("swept", extra=done)
    return done


def _report(sweep: Sweep) -> None:
    """Stores what `GET /health` says of the sweep."""
    try:
        sweeps.save(SweepReport(utc_now(), timedelta(seconds=sweep.oldest_due_seconds)))
    except Unavailable as error:
        log_unavailable(logger, "the sweep's report was not stored", error)
