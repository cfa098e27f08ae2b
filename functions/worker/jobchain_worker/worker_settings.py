"""The worker function's settings, from its environment, and what a call of the model is made with."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from jobchain.aws.calling import Patience
from jobchain.breaker import ModelAccount
from jobchain.connection import UnusableSetting, checked_key, checked_model_url, checked_name
from jobchain.errors import ModelSettingsError, SettingsError
from jobchain.llm import LLM, ModelAnswer, ModelRequest
from jobchain_worker.api_key import ApiKey, FixedKey, SecretKey
from jobchain_worker.call_trace import CallTime
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.secret import Secret

# Set here, as the SDK reads OPENAI_BASE_URL itself, and the template sets it to an empty text for the default.
OPENAI_URL = "https://api.openai.com/v1"

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
    """

    table_name: str
    queue_url: str
    flex_queue_url: str
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
    openai_api: Api = "responses"
    openai_base_url: str | None = None
    openai_api_key: str | None = None
    openai_secret_name: str | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError where no source of the model's key is named."""
        if not self.openai_api_key and not self.openai_secret_name:
            raise SettingsError("set OPENAI_API_KEY, or OPENAI_SECRET_NAME to the name of the secret that holds it")


def model_url(settings: WorkerSettings) -> str:
    """The base URL of the model's server. Raises UnusableSetting."""
    if not settings.openai_base_url:
        return OPENAI_URL
    return checked_model_url("OPENAI_BASE_URL", settings.openai_base_url)


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
    try:
        url = model_url(settings)
    except UnusableSetting:
        url = ""
    return ModelAccount.of(url, settings.openai_secret_name, settings.openai_model)


def create_llm(settings: WorkerSettings, aws: Patience) -> LLM:
    """The model. With settings that can't work, one that says so at each call: jobs wait for their correction.

    A function that does not start would use up the messages of its queue instead.
    """
    try:
        _check_call_time(settings)
        name = checked_name("OPENAI_MODEL", settings.openai_model)
        url, key = model_url(settings), model_key(settings, aws)
    except UnusableSetting as error:
        return UnusableLLM(str(error), settings)
    time = call_time(settings)
    client = create_client(url, key.read, time.whole)
    most = settings.max_output_tokens
    return OpenAILLM(client, name, time.whole, most, settings.openai_api, idle=time.idle, key=key)


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
