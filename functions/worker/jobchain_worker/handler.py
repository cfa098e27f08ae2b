"""The composition root of the worker function."""

from jobchain.startup import started

# isort: split
import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.calling import Patience, create_aws_client
from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.json_client import DYNAMODB, SQS
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue
from jobchain.aws.usage import UsageStore
from jobchain.aws.versions import VersionStore
from jobchain.aws.webhook_queue import WebhookQueue, announcer
from jobchain.chains import CHAINS
from jobchain.connection import UnusableSetting, is_loopback
from jobchain.domain import Tier, utc_now
from jobchain.llm import LLM
from jobchain.metrics import count_breaker, count_failed_records, count_model, count_outcome, count_spending
from jobchain.observability import create_logger
from jobchain.pace import Rates
from jobchain.prices import FREE, PriceList
from jobchain.settings import load_settings
from jobchain_worker.account_watch import AccountWatch
from jobchain_worker.admission_control import AdmissionControl
from jobchain_worker.consumer import Consumer
from jobchain_worker.dry_job import EVENT as DRY_JOB
from jobchain_worker.dry_job import DryJob
from jobchain_worker.model_checker import EVENT, ModelChecker
from jobchain_worker.model_end import find_model_end
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.runner import Runner
from jobchain_worker.worker_settings import WorkerSettings, call_time, create_llm, model_account, model_url

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Left of the invocation after a call, for the writes that follow it.
WRITE_RESERVE = timedelta(seconds=5)
# The most models whose paces a worker remembers; jobs may name any.
MODELS = 64
# Enough to read the key and to request the model and the list of models; the shortest invocation has 30 seconds.
CHECK_TIMEOUT = timedelta(seconds=15)
# Each of up to ten jobs makes one call to the table or the queue at a time, while another of its steps may read the
# model's key. So no call of a batch waits for a thread. The SDK's client allows 1,000 calls to the model at once.
THREADS = 20
AWS = Patience(connect_seconds=2, read_seconds=5, attempts=4, connections=THREADS)


def price_list(settings: WorkerSettings) -> PriceList:
    """The prices of the model's server: one on this machine costs nothing unless the list has its price.

    The same goes for one that can't be called, so that no budget hides what is wrong with the settings.
    """
    try:
        url = model_url(settings)
    except UnusableSetting:
        return PriceList.load(unlisted=FREE)
    return PriceList.load(FREE if is_loopback(url) else None, urlsplit(url).hostname or "")


def create_model_checker(settings: WorkerSettings, checks: ModelCheckStore) -> ModelChecker:
    """The checker with its dependencies."""
    return ModelChecker(
        model=settings.openai_model,
        find_shutdown=lambda: find_model_end(settings, AWS, CHECK_TIMEOUT),
        checks=checks,
        clock=utc_now,
        logger=logger,
        meter=count_model,
    )


def create_admission_control(
    settings: WorkerSettings, dynamodb: "DynamoDBClient", queue: JobQueue, llm: LLM
) -> AdmissionControl:
    """What admits jobs, with its dependencies."""
    account = model_account(settings)
    breakers = BreakerStore(dynamodb, settings.table_name, account, utc_now)
    configured = Rates(settings.model_requests_per_minute or None, settings.model_tokens_per_minute or None)

    @lru_cache(MODELS)
    def paces(model: str) -> Mapping[Tier, PaceStore]:
        # What the operator has set are the limits of the deployment's model; those of another one are learned.
        known = configured if model == account.model else Rates()
        its_account = replace(account, model=model)
        return {tier: PaceStore(dynamodb, settings.table_name, its_account, tier, known, utc_now) for tier in Tier}

    return AdmissionControl(
        paces=paces,
        breakers=breakers,
        watch=AccountWatch(breakers, logger, count_breaker),
        queue=queue,
        llm=llm,
        chains=chains,
        max_input_tokens=settings.max_input_tokens,
        clock=utc_now,
        logger=logger,
    )


def create_consumer(settings: WorkerSettings, dynamodb: "DynamoDBClient") -> Consumer:
    """The consumer with its dependencies."""
    sqs = create_aws_client(SQS, AWS, os.environ)
    queue = JobQueue(sqs, settings.queue_url, settings.flex_queue_url)
    announce = announcer(WebhookQueue(sqs, settings.webhook_queue_url), logger)
    keeps = settings.store_raw_answers == "on"
    llm = create_llm(settings, AWS)
    runner = Runner(
        claims=ClaimStore(dynamodb, settings.table_name, utc_now, announce, keep_answers=keeps),
        due=DueStore(dynamodb, settings.table_name, utc_now),
        usage=UsageStore(dynamodb, settings.table_name, utc_now),
        versions=VersionStore(dynamodb, settings.table_name),
        queue=queue,
        control=create_admission_control(settings, dynamodb, queue, llm),
        llm=llm,
        chains=chains,
        prices=price_list(settings),
        retry_policy=RetryPolicy(first_backoff=timedelta(seconds=settings.first_backoff_seconds)),
        max_input_tokens=settings.max_input_tokens,
        call_time=call_time(settings).whole + WRITE_RESERVE,
        clock=utc_now,
        logger=logger,
        meter=count_spending,
        outcome_meter=count_outcome,
    )
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    return Consumer(runner, loop, utc_now, logger, count_failed_records)


logger = create_logger()
# All are built now: a chain that can't be used is found before any job needs it. Its jobs wait, and the others run.
chains = CHAINS.compiled()
for fault in CHAINS.faults.values():
    logger.error("chain can't be used", reason=fault)
settings = load_settings(WorkerSettings, os.environ)
dynamodb = create_aws_client(DYNAMODB, AWS, os.environ)
model_checks = ModelCheckStore(dynamodb, settings.table_name)
consumer = create_consumer(settings, dynamodb)
model_checker = create_model_checker(settings, model_checks)
dry_job = DryJob(consumer=consumer, chains=chains, max_input_tokens=settings.max_input_tokens, logger=logger)
started()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs one batch of the queue's messages; checks the model for the schedule, and itself for a hook."""
    if event == EVENT:
        logger.append_keys(request_id=context.aws_request_id)
        # A loop of its own: the loop on which batches run stays as it is.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(model_checker.check())
    if event == DRY_JOB:
        return dry_job.run(context)
    return consumer.consume(event, context)
