"""The composition root of the api function."""

from jobchain.startup import first_invocation, started

# isort: split
import os
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.api_keys import ApiKeyStore
from jobchain.aws.calling import Patience, create_aws_client
from jobchain.aws.decisions import DecisionStore
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.json_client import DYNAMODB, SQS
from jobchain.aws.queue import JobQueue
from jobchain.aws.request_quotas import RequestQuotas
from jobchain.aws.tenant_deliveries import TenantDeliveries
from jobchain.aws.usage import UsageStore
from jobchain.aws.webhook_endpoints import EndpointStore
from jobchain.aws.webhook_queue import WebhookQueue, announcer
from jobchain.chains import CHAINS
from jobchain.connection import is_loopback
from jobchain.domain import Tier, WaitingFor, utc_now
from jobchain.observability import create_logger
from jobchain.outcomes import Outcome
from jobchain.settings import load_settings
from jobchain.spending import Spending
from jobchain_api.app import create_app
from jobchain_api.auth import ApiKeys, no_authentication
from jobchain_api.job_urls import checked_job_urls, no_job_urls
from jobchain_api.receivers import known_receivers, no_receivers
from jobchain_api.service import JobService
from jobchain_api.waits import Beside, no_other
from jobchain_api.webhook_service import WebhookService

if TYPE_CHECKING:
    from jobchain_api.health import Health
    from jobchain_api.late_parts import LateParts


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the api function reads from its environment."""

    table_name: str
    queue_url: str
    flex_queue_url: str
    webhook_queue_url: str
    dead_letter_url: str
    auth_mode: Literal["api_key", "none"]
    retention_days: int
    default_deadline_seconds: int = 86_400
    openai_model: str = ""
    openai_base_url: str = ""
    openai_secret_name: str = ""
    model_provider: Literal["openai", "bedrock"] = "openai"
    aws_default_region: str = ""
    webhooks: Literal["on", "off"] = "off"
    aws_endpoint_url: str = ""


# If the table or the queue does not answer, a request must end in a 503 before the function's timeout. Each call has
# two tries, with up to a second between them, and after a call of the table fails, a request makes one more at most.
_QUEUE = Patience(connect_seconds=1, read_seconds=1.5, attempts=2)
# A transaction of 99 jobs takes seconds at times. If it were given up, its jobs would run though the caller got a 503.
_TABLE = _QUEUE._replace(read_seconds=4)


def _count(chain: str, model: str, spending: Spending) -> None:
    """`count_spending`, imported at its first use: only cancelling a job whose worker vanished needs it."""
    from jobchain.metrics import count_spending  # noqa: PLC0415

    count_spending(chain, model, spending)


def _count_outcome(outcome: Outcome) -> None:
    """`count_outcome`, imported at its first use: only cancelling a job needs it."""
    from jobchain.metrics import count_outcome  # noqa: PLC0415

    count_outcome(outcome)


@cache
def _parts() -> "LateParts":
    from jobchain_api.late_parts import LateParts  # noqa: PLC0415

    return LateParts(settings, dynamodb, queue)


class _Waits:
    def reason_now(
        self, tier: Tier, now: datetime, model: str | None = None, beside: Beside = no_other
    ) -> WaitingFor | None:
        return _parts().waits.reason_now(tier, now, model, beside)


class _Health:
    def look(self) -> "Health":
        return _parts().health.look()


settings = load_settings(ApiSettings, os.environ)
logger = create_logger()
dynamodb = create_aws_client(DYNAMODB, _TABLE, os.environ)
sqs = create_aws_client(SQS, _QUEUE, os.environ)
queue = JobQueue(sqs, settings.queue_url, settings.flex_queue_url)
is_local = is_loopback(settings.aws_endpoint_url)
announce = announcer(WebhookQueue(sqs, settings.webhook_queue_url), logger)
jobs = JobStore(dynamodb, settings.table_name, utc_now, announce)
endpoints = EndpointStore(dynamodb, settings.table_name, utc_now) if settings.webhooks == "on" else None
service = JobService(
    chains=CHAINS,
    default_chain=CHAINS.default,
    admission=AdmissionStore(dynamodb, settings.table_name, utc_now),
    jobs=jobs,
    decisions=DecisionStore(dynamodb, settings.table_name, utc_now, announce),
    due=DueStore(dynamodb, settings.table_name, utc_now),
    usage=UsageStore(dynamodb, settings.table_name, utc_now),
    health=_Health(),
    queue=queue,
    dead_letters=JobQueue(sqs, settings.dead_letter_url),
    retention=timedelta(days=settings.retention_days),
    clock=utc_now,
    logger=logger,
    meter=_count,
    outcome_meter=_count_outcome,
    deadline=timedelta(seconds=settings.default_deadline_seconds),
    waits=_Waits(),
    receivers=known_receivers(endpoints, utc_now) if endpoints else no_receivers,
    check_url=checked_job_urls(endpoints, utc_now, local=is_local) if endpoints else no_job_urls,
)
authenticate = (
    no_authentication
    if settings.auth_mode == "none"
    else ApiKeys(
        ApiKeyStore(dynamodb, settings.table_name, utc_now),
        RequestQuotas(dynamodb, settings.table_name, utc_now),
        utc_now,
    )
)
# Most requests are about the default chain: it is loaded before the first of them.
CHAINS.get(CHAINS.default)
webhooks = (
    WebhookService(
        endpoints,
        TenantDeliveries(dynamodb, settings.table_name, utc_now, announce),
        jobs.cursor_secret,
        CHAINS,
        local=is_local,
    )
    if endpoints
    else None
)
app = create_app(service, authenticate, logger, CHAINS, webhooks)
started()


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers one request of the API Gateway."""
    first_invocation()
    started = time.perf_counter()
    logger.append_keys(request_id=event["requestContext"]["requestId"])
    response = app.resolve(event, context)
    logger.info(
        "request",
        method=event["httpMethod"],
        status=response["statusCode"],
        milliseconds=round((time.perf_counter() - started) * 1000),
    )
    return response
