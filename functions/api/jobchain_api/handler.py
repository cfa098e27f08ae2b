"""The composition root of the api function."""

from jobchain.startup import first_invocation, started

# isort: split
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.api_keys import ApiKeyStore
from jobchain.aws.breakers import BreakerStore
from jobchain.aws.clients import aws_client, create_session
from jobchain.aws.deployment_checks import SweepStore, TableCheck
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue
from jobchain.aws.request_quotas import RequestQuotas
from jobchain.aws.usage import UsageStore
from jobchain.breaker import ModelAccount
from jobchain.chains import CHAINS
from jobchain.connection import UnusableSetting, checked_model_url
from jobchain.domain import Tier, utc_now
from jobchain.observability import create_logger
from jobchain.outcomes import Outcome
from jobchain.pace import Rates
from jobchain.settings import load_settings
from jobchain.spending import Spending
from jobchain_api.app import create_app
from jobchain_api.auth import ApiKeys, no_authentication
from jobchain_api.health import HealthCheck
from jobchain_api.service import JobService
from jobchain_api.waits import AccountWaits, NoWaits, WaitView


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the api function reads from its environment."""

    table_name: str
    queue_url: str
    flex_queue_url: str
    dead_letter_url: str
    auth_mode: Literal["api_key", "none"]
    retention_days: int
    default_deadline_seconds: int = 86_400
    openai_model: str = ""
    openai_base_url: str = "https://api.openai.com/v1"
    openai_secret_name: str = ""


# If the table or the queue does not answer, a request must end in a 503 before the function's timeout. Each call has
# two tries, with up to a second between them, and after a call of the table fails, a request makes one more at most.
_QUEUE = Config(
    connect_timeout=1,
    read_timeout=1.5,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
)
# A transaction of 99 jobs takes seconds at times. If it were given up, its jobs would run though the caller got a 503.
_TABLE = _QUEUE.merge(Config(read_timeout=4))


def _count(chain: str, model: str, spending: Spending) -> None:
    """`count_spending`, imported at its first use: only cancelling a job whose worker vanished needs it."""
    from jobchain.metrics import count_spending  # noqa: PLC0415

    count_spending(chain, model, spending)


def _count_outcome(outcome: Outcome) -> None:
    """`count_outcome`, imported at its first use: only cancelling a job needs it."""
    from jobchain.metrics import count_outcome  # noqa: PLC0415

    count_outcome(outcome)


def _account() -> ModelAccount | None:
    """The model's account. A base URL that can't be used is the empty one, as in the worker."""
    if not settings.openai_model:
        return None
    try:
        url = checked_model_url("OPENAI_BASE_URL", settings.openai_base_url)
    except UnusableSetting:
        url = ""
    return ModelAccount.of(url, settings.openai_secret_name, settings.openai_model)


def _waits() -> WaitView:
    """What jobs wait for at the model's account."""
    if account is None or breakers is None:
        return NoWaits()
    paces = {tier: PaceStore(dynamodb, settings.table_name, account, tier, Rates(), utc_now) for tier in Tier}
    return AccountWaits(breakers, paces)


settings = load_settings(ApiSettings, os.environ)
logger = create_logger()
session = create_session()
dynamodb = aws_client(session, "dynamodb", _TABLE)
sqs = aws_client(session, "sqs", _QUEUE)
account = _account()
breakers = BreakerStore(dynamodb, settings.table_name, account, utc_now) if account else None
queue = JobQueue(sqs, settings.queue_url, settings.flex_queue_url)
service = JobService(
    chains=CHAINS,
    default_chain=CHAINS.default,
    admission=AdmissionStore(dynamodb, settings.table_name, utc_now),
    jobs=JobStore(dynamodb, settings.table_name, utc_now),
    due=DueStore(dynamodb, settings.table_name, utc_now),
    usage=UsageStore(dynamodb, settings.table_name, utc_now),
    health=HealthCheck(
        table=TableCheck(dynamodb, settings.table_name, utc_now),
        queue=queue,
        model_checks=ModelCheckStore(dynamodb, settings.table_name),
        sweeps=SweepStore(dynamodb, settings.table_name),
        breakers=breakers,
        clock=utc_now,
    ),
    queue=queue,
    dead_letters=JobQueue(sqs, settings.dead_letter_url),
    retention=timedelta(days=settings.retention_days),
    clock=utc_now,
    logger=logger,
    meter=_count,
    outcome_meter=_count_outcome,
    deadline=timedelta(seconds=settings.default_deadline_seconds),
    waits=_waits(),
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
app = create_app(service, authenticate, logger, CHAINS)
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
