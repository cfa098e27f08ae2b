"""The composition root of the worker function."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import boto3
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from jobchain.chains import CHAINS
from jobchain.errors import SettingsError, TransientModelError
from jobchain.model import utc_now
from jobchain.observability import create_logger
from jobchain.prices import PriceList
from jobchain.queue import JobQueue
from jobchain.repository import JobRepository
from jobchain.settings import load_settings
from jobchain_worker.consumer import Consumer
from jobchain_worker.openai_llm import OpenAILLM, create_client
from jobchain_worker.runner import Runner

# Said here, because the SDK takes an empty OPENAI_BASE_URL, by which the template leaves it out, for an address.
OPENAI_URL = "https://api.openai.com/v1"
# Room for the summary of a text of 100,000 characters with what a reasoning model thinks before it writes.
MAX_OUTPUT_TOKENS = 16_384
# What a call leaves of its invocation for the writes that follow it.
WRITE_RESERVE = timedelta(seconds=5)
# How long a rotated key may go unnoticed.
KEY_MAX_AGE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the worker function reads from its environment."""

    table_name: str
    queue_url: str
    openai_model: str
    first_backoff_seconds: float
    model_timeout_seconds: float
    openai_base_url: str | None = None
    openai_api_key: str | None = None
    openai_secret_name: str | None = None


def api_key_reader(settings: WorkerSettings, aws: Config) -> Callable[[], Awaitable[str]]:
    """Reads the model's key: from the environment where it is there, else from Secrets Manager.

    Raises SettingsError where neither is named; the reader raises TransientModelError.
    """
    if settings.openai_api_key:
        return lambda: _checked(settings.openai_api_key)
    if not settings.openai_secret_name:
        raise SettingsError("set OPENAI_API_KEY, or OPENAI_SECRET_NAME to the name of the secret that holds it")
    name = settings.openai_secret_name
    provider = parameters.SecretsProvider(boto_config=aws)
    # The jobs of a batch ask all at once, and one of them is enough to fetch it.
    one_at_a_time = asyncio.Lock()

    async def read() -> str:
        try:
            async with one_at_a_time:
                secret = await asyncio.to_thread(provider.get, name, max_age=KEY_MAX_AGE_SECONDS)
        except parameters.GetParameterError:
            raise TransientModelError("the model's API key can't be read from Secrets Manager") from None
        return await _checked(secret)

    return read


async def _checked(key: object) -> str:
    # The SDK stops at such a key with an error of Python's own, which nothing here expects.
    if not (isinstance(key, str) and key.strip() and key.isascii()):
        raise TransientModelError("what should hold the model's API key holds none")
    return key.strip()


def create_consumer(settings: WorkerSettings) -> Consumer:
    """The consumer with all that it stands on."""
    logger = create_logger()
    aws = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4})
    timeout = timedelta(seconds=settings.model_timeout_seconds)
    client = create_client(settings.openai_base_url or OPENAI_URL, api_key_reader(settings, aws), timeout)
    runner = Runner(
        repository=JobRepository(boto3.client("dynamodb", config=aws), settings.table_name, utc_now),
        queue=JobQueue(boto3.client("sqs", config=aws), settings.queue_url),
        llm=OpenAILLM(client, settings.openai_model, timeout, MAX_OUTPUT_TOKENS),
        chains=CHAINS,
        prices=PriceList.load(),
        call_time=timeout + WRITE_RESERVE,
        first_backoff=timedelta(seconds=settings.first_backoff_seconds),
        clock=utc_now,
        logger=logger,
    )
    return Consumer(runner, utc_now, logger)


consumer = create_consumer(load_settings(WorkerSettings, os.environ))


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs one batch of the queue's messages."""
    return consumer.consume(event, context)
