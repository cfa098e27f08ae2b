"""The worker function's settings, from its environment, and what a call of the model is made with."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NoReturn

from jobchain.aws.calling import Patience
from jobchain.breaker import ModelAccount
from jobchain.connection import UnusableSetting, checked_key, checked_name
from jobchain.errors import ModelSettingsError, SettingsError
from jobchain.llm import LLM, ModelAnswer, ModelRequest
from jobchain.providers import Provider, account_of, server_url, signing_region
from jobchain_worker.api_key import ApiKey, ChangingKey, FixedKey, SecretKey
from jobchain_worker.call_trace import CallTime
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import Client, create_client
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.secret import Secret

CALL_RESERVE_SECONDS = 20
"""Left of an invocation besides a call of the model: for the claim before it, and the writes after it."""

# How long a rotated key may go unnoticed by a call that is not refused.
_KEY_MAX_AGE_SECONDS = 300

_NO_NAME = "unusable-name"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The worker function's settings, from its environment.

    `model_call_seconds` is the longest call, 0 for `model_timeout_seconds`, of which three fit into an invocation of
    `worker_timeout_seconds`. The limits of the model's account are learned where they are 0.
    `store_raw_answers` says whether the model's text is stored with a call that failed.
    """

    table_name: str
    queue_url: str
    flex_queue_url: str
    webhook_queue_url: str
    openai_model: str
    first_backoff_seconds: float
    model_timeout_seconds: float
    max_input_tokens: int
    max_output_tokens: int = 16_384
    model_call_seconds: float = 0
    model_idle_seconds: float = 60
    worker_timeout_seconds: float = 0
    model_requests_per_minute: int = 0
    model_tokens_per_minute: int = 0
    store_raw_answers: Literal["on", "off"] = "on"
    openai_api: Api = "responses"
    openai_base_url: str | None = None
    openai_api_key: str | None = None
    openai_secret_name: str | None = None
    model_provider: Provider = "openai"
    aws_default_region: str = ""

    def __post_init__(self) -> None:
        """Raises SettingsError where no source of the model's key is named."""
        if self.model_provider == "openai" and not self.openai_api_key and not self.openai_secret_name:
            raise SettingsError("set OPENAI_API_KEY, or OPENAI_SECRET_NAME to the name of the secret that holds it")


def model_url(settings: WorkerSettings) -> str:
    """The base URL of the model's server. Raises UnusableSetting.

    Always named, as the SDK reads OPENAI_BASE_URL itself, and the template sets it to an empty text for the default.
    """
    return server_url(settings.model_provider, settings.openai_base_url, settings.aws_default_region)


def model_key(settings: WorkerSettings, aws: Patience) -> ApiKey:
    """The model's API key: from the environment where it is set, else from Secrets Manager. Raises UnusableSetting."""
    if settings.openai_api_key:
        return FixedKey(checked_key("OPENAI_API_KEY", settings.openai_api_key))
    name = settings.openai_secret_name or ""
    return SecretKey(Secret(name, aws, _KEY_MAX_AGE_SECONDS), name)


def call_time(settings: WorkerSettings) -> CallTime:
    """How long a call may take: with settings that can't work, as long as by default."""
    seconds = settings.model_call_seconds if _fits(settings) else 0
    whole = timedelta(seconds=seconds or settings.model_timeout_seconds)
    return CallTime(whole, timedelta(seconds=settings.model_idle_seconds))


def model_account(settings: WorkerSettings) -> ModelAccount:
    """What the limits of the model's account are stored under."""
    return account_of(
        settings.model_provider,
        settings.openai_base_url,
        settings.aws_default_region,
        settings.openai_secret_name,
        settings.openai_model,
    )


def model_client(settings: WorkerSettings, aws: Patience, timeout: timedelta) -> tuple[Client, ChangingKey]:
    """A client of the model's server, and what its calls prove with who makes them. Raises UnusableSetting."""
    url = model_url(settings)
    if settings.model_provider == "bedrock":
        return bedrock_client(settings, url, timeout)
    key = model_key(settings, aws)
    return create_client(url, key.read, timeout), key


def bedrock_client(settings: WorkerSettings, url: str, timeout: timedelta) -> tuple[Client, ChangingKey]:
    """A client of one of Bedrock's URLs, and the credentials that sign its calls. Raises UnusableSetting."""
    # Imported only where it is used: it makes a start slower.
    from jobchain.aws.clients import create_session  # noqa: PLC0415
    from jobchain_worker.openai_bedrock import create_bedrock_client  # noqa: PLC0415
    from jobchain_worker.role_credentials import RoleCredentials  # noqa: PLC0415

    credentials = RoleCredentials(create_session)
    region = signing_region(url, settings.aws_default_region)
    return create_bedrock_client(url, region, credentials, timeout), credentials


def create_llm(settings: WorkerSettings, aws: Patience) -> LLM:
    """The model. With settings that can't work, one that says so at each call: jobs wait for their correction.

    A function that does not start would use up the messages of its queue instead.
    """
    time = call_time(settings)
    try:
        _check_call_time(settings)
        name = checked_name("OPENAI_MODEL", settings.openai_model)
        client, key = model_client(settings, aws, time.whole)
    except UnusableSetting as error:
        return UnusableLLM(str(error), settings)
    return OpenAILLM(
        client,
        name,
        time.whole,
        settings.max_output_tokens,
        settings.openai_api,
        idle=time.idle,
        key=key,
        is_bedrock=settings.model_provider == "bedrock",
    )


class UnusableLLM:
    """The model of settings with which no call can be made."""

    def __init__(self, why: str, settings: WorkerSettings) -> None:
        self._why = why
        self._settings = settings

    @property
    def model(self) -> str:
        """The model's name, which may be what is wrong."""
        try:
            return checked_name("OPENAI_MODEL", self._settings.openai_model)
        except UnusableSetting:
            return _NO_NAME

    @property
    def max_output_tokens(self) -> int:
        """See `jobchain.llm.LLM`."""
        return self._settings.max_output_tokens

    async def count_tokens(self, text: str) -> int | None:
        """Raises ModelSettingsError."""
        del text
        self._refuse()

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """Raises ModelSettingsError."""
        del request
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ModelSettingsError(self._why)


def _check_call_time(settings: WorkerSettings) -> None:
    if not _fits(settings):
        most = settings.worker_timeout_seconds - CALL_RESERVE_SECONDS
        raise UnusableSetting(
            f"ModelCallSeconds is {settings.model_call_seconds:g}: set it to {most:g} at most, which is "
            f"WorkerTimeoutSeconds less {CALL_RESERVE_SECONDS}, or to 0 for the default"
        )


def _fits(settings: WorkerSettings) -> bool:
    if settings.model_call_seconds < 0:
        return False
    longest = settings.worker_timeout_seconds - CALL_RESERVE_SECONDS
    return not settings.worker_timeout_seconds or settings.model_call_seconds <= longest
