"""The composition root of the worker function."""

from jobchain.startup import started

# isort: split
import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.session import Session

from jobchain.aws.claims import ClaimStore
from jobchain.aws.clients import aws_client, create_session
from jobchain.aws.due import DueStore
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.queue import JobQueue
from jobchain.aws.usage import UsageStore
from jobchain.chains import CHAINS
from jobchain.connection import UnusableSetting, checked_key, checked_model_url, checked_name, is_loopback
from jobchain.domain import utc_now
from jobchain.errors import ModelSettingsError, SettingsError, TransientModelError, Unavailable
from jobchain.metrics import count_spending
from jobchain.model_check import ModelCheck
from jobchain.observability import create_logger
from jobchain.prices import FREE, PriceList
from jobchain.settings import load_settings
from jobchain_worker.consumer import Consumer
from jobchain_worker.dialects import Api
from jobchain_worker.model_checker import EVENT, ModelChecker
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.openai_models import find_shutdown
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.runner import Runner
from jobchain_worker.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Set here, as the SDK reads OPENAI_BASE_URL itself, and the template sets it to an empty text for the default.
OPENAI_URL = "https://api.openai.com/v1"
# Left of the invocation after a call, for the writes that follow it.
WRITE_RESERVE = timedelta(seconds=5)
# How long a rotated key may go unnoticed.
KEY_MAX_AGE_SECONDS = 300
# Enough to read the key and to request the model and the list of models; the shortest invocation has 30 seconds.
CHECK_TIMEOUT = timedelta(seconds=15)
# Each of up to ten jobs makes one call to the table or the queue at a time, while another of its steps may read the
# model's key. So no call of a batch waits for a thread. The SDK's client allows 1,000 calls to the model at once.
THREADS = 20
AWS = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=THREADS,
    tcp_keepalive=True,
)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The worker function's settings, from its environment."""

    table_name: str
    queue_url: str
    flex_queue_url: str
    openai_model: str
    first_backoff_seconds: float
    model_timeout_seconds: float
    max_input_tokens: int
    max_output_tokens: int = 16_384
    openai_api: Api = "responses"
    openai_base_url: str | None = None
    openai_api_key: str | None = None
    openai_secret_name: str | None = None


def api_key_reader(settings: WorkerSettings, session: Session) -> Callable[[], Awaitable[str]]:
    """Reads the model's API key: from the environment where it is set, else from Secrets Manager.

    Raises SettingsError where neither is named, or the environment holds none. The reader raises TransientModelError
    where the secret can't be read, and ModelSettingsError where it holds no key.
    """
    if settings.openai_api_key:
        key = _checked(checked_key, "OPENAI_API_KEY", settings.openai_api_key)
        return lambda: _given(key)
    if not settings.openai_secret_name:
        raise SettingsError("set OPENAI_API_KEY, or OPENAI_SECRET_NAME to the name of the secret that holds it")
    name = settings.openai_secret_name
    secret = Secret(session, name, AWS, KEY_MAX_AGE_SECONDS)
    # All jobs of a batch need the key at once, and one request fetches it for them.
    one_at_a_time = asyncio.Lock()

    async def read() -> str:
        try:
            async with one_at_a_time:
                key = await asyncio.to_thread(secret.read)
        except Unavailable:
            raise TransientModelError("the model's API key can't be read from Secrets Manager") from None
        try:
            return checked_key(f"the secret {name}", key)
        except UnusableSetting as error:
            # The next job reads it again: once the secret is corrected, jobs run.
            secret.forget()
            raise ModelSettingsError(str(error)) from None

    return read


async def _given(key: str) -> str:
    return key


def model_url(settings: WorkerSettings) -> str:
    """The base URL of the model's server. Raises SettingsError."""
    if not settings.openai_base_url:
        return OPENAI_URL
    return _checked(checked_model_url, "OPENAI_BASE_URL", settings.openai_base_url)


def _checked(check: Callable[[str, str], str], name: str, value: str) -> str:
    """The value that a check of `jobchain.connection` returns. Raises SettingsError."""
    try:
        return check(name, value)
    except UnusableSetting as error:
        raise SettingsError(str(error)) from None


def count_model(check: ModelCheck, days_left: int | None) -> None:
    """Counts a check of the model as CloudWatch metrics: whether it is unknown, and the days that it has left."""
    metrics = EphemeralMetrics()
    metrics.add_dimension(name="model", value=check.model)
    metrics.add_metric(name="ModelUnknown", unit=MetricUnit.Count, value=int(not check.known))
    if days_left is not None:
        metrics.add_metric(name="ModelDaysLeft", unit=MetricUnit.Count, value=days_left)
    metrics.flush_metrics()


def price_list(base_url: str) -> PriceList:
    """The prices of the models behind a URL: one on this machine costs nothing unless the list has its price."""
    return PriceList.load(unlisted=FREE if is_loopback(base_url) else None)


def create_model_checker(settings: WorkerSettings, session: Session, checks: ModelCheckStore) -> ModelChecker:
    """The checker with its dependencies."""

    async def find() -> date | None:
        # A client for each check: each check has its own event loop, and connections belong to one loop.
        key = api_key_reader(settings, session)
        async with create_client(model_url(settings), key, CHECK_TIMEOUT) as client:
            return await find_shutdown(client, settings.openai_model, CHECK_TIMEOUT)

    return ModelChecker(
        model=settings.openai_model,
        find_shutdown=find,
        checks=checks,
        clock=utc_now,
        logger=logger,
        meter=count_model,
    )


def create_consumer(settings: WorkerSettings, session: Session, dynamodb: "DynamoDBClient") -> Consumer:
    """The consumer with its dependencies."""
    timeout = timedelta(seconds=settings.model_timeout_seconds)
    base_url = model_url(settings)
    client = create_client(base_url, api_key_reader(settings, session), timeout)
    runner = Runner(
        claims=ClaimStore(dynamodb, settings.table_name, utc_now),
        due=DueStore(dynamodb, settings.table_name, utc_now),
        usage=UsageStore(dynamodb, settings.table_name, utc_now),
        queue=JobQueue(aws_client(session, "sqs", AWS), settings.queue_url, settings.flex_queue_url),
        llm=OpenAILLM(client, settings.openai_model, timeout, settings.max_output_tokens, settings.openai_api),
        chains=CHAINS,
        prices=price_list(base_url),
        retry_policy=RetryPolicy(first_backoff=timedelta(seconds=settings.first_backoff_seconds)),
        max_input_tokens=settings.max_input_tokens,
        call_time=timeout + WRITE_RESERVE,
        clock=utc_now,
        logger=logger,
        meter=count_spending,
    )
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    return Consumer(runner, loop, utc_now, logger)


logger = create_logger()
settings = load_settings(WorkerSettings, os.environ)
_checked(checked_name, "OPENAI_MODEL", settings.openai_model)
session = create_session()
dynamodb = aws_client(session, "dynamodb", AWS)
model_checks = ModelCheckStore(dynamodb, settings.table_name)
consumer = create_consumer(settings, session, dynamodb)
model_checker = create_model_checker(settings, session, model_checks)
started()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs one batch of the queue's messages, or checks the model when the schedule asks for it."""
    if event == EVENT:
        logger.append_keys(request_id=context.aws_request_id)
        # A loop of its own: the loop on which batches run stays as it is.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(model_checker.check())
    return consumer.consume(event, context)
