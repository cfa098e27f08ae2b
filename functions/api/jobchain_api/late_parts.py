"""The parts of the api that creating a job does not need: made when a request first needs one."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.deployment_checks import SweepStore, TableCheck
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import JobQueue
from jobchain.breaker import ModelAccount
from jobchain.domain import Tier, utc_now
from jobchain.pace import Rates
from jobchain.providers import Provider, account_of
from jobchain_api.account_waits import AccountWaits
from jobchain_api.health import HealthCheck
from jobchain_api.waits import NoWaits, WaitView

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The models whose paces are remembered; jobs may name any.
_MODELS = 64


class Settings(Protocol):
    """What they need of the function's settings."""

    @property
    def table_name(self) -> str:
        """The table."""
        ...

    @property
    def openai_model(self) -> str:
        """The model, empty where the api does not know it."""
        ...

    @property
    def openai_base_url(self) -> str:
        """The model's server."""
        ...

    @property
    def openai_secret_name(self) -> str:
        """The secret that holds its key."""
        ...

    @property
    def model_provider(self) -> Provider:
        """How the model's server is called."""
        ...

    @property
    def aws_default_region(self) -> str:
        """The function's region."""
        ...


class LateParts:
    """What tells of the deployment, and of what jobs wait for."""

    def __init__(self, settings: Settings, dynamodb: "DynamoDBClient", queue: JobQueue) -> None:
        table = settings.table_name
        account = model_account(settings)
        # Both ask it, and it keeps for some seconds what it has read.
        breakers = BreakerStore(dynamodb, table, account, utc_now) if account else None
        self.health = HealthCheck(
            table=TableCheck(dynamodb, table, utc_now),
            queue=queue,
            model_checks=ModelCheckStore(dynamodb, table),
            sweeps=SweepStore(dynamodb, table),
            breakers=breakers,
            clock=utc_now,
        )
        self.waits: WaitView = NoWaits()
        if account and breakers:

            @lru_cache(_MODELS)
            def paces(model: str) -> Mapping[Tier, PaceStore]:
                its_account = replace(account, model=model)
                return {tier: PaceStore(dynamodb, table, its_account, tier, Rates(), utc_now) for tier in Tier}

            self.waits = AccountWaits(breakers, paces, account.model)


def model_account(settings: Settings) -> ModelAccount | None:
    """The model's account, as the worker names it."""
    if not settings.openai_model:
        return None
    return account_of(
        settings.model_provider,
        settings.openai_base_url,
        settings.aws_default_region,
        settings.openai_secret_name,
        settings.openai_model,
    )
