"""The adapter to OpenAI and compatible servers. The only file that imports `openai`."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar

import openai
from pydantic import BaseModel, BeforeValidator, Field

from jobchain.connection import is_loopback
from jobchain.domain import Tier
from jobchain.errors import ModelError, PermanentModelError, TransientModelError, UnknownModel
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain_worker.dialects import FILTERED, Api, Chat, Dialect, Responses

T = TypeVar("T")

CONNECT_TIMEOUT = timedelta(seconds=5)

COUNT_TIMEOUT = timedelta(seconds=5)
"""The timeout of a token count, which a job does not need."""

# The error of a job for a status that another try can't change.
_PERMANENT = {
    400: ("model_request_refused", "the model's server does not accept the request"),
    401: ("model_unauthorized", "the model's server does not accept the API key"),
    403: ("model_forbidden", "the API key may not use the model"),
    404: ("model_not_found", "the model's server knows no such model"),
}
_QUOTA = ("model_quota_exceeded", "the account at the model's provider has no quota left")


class _Counted(BaseModel):
    input_tokens: int = Field(gt=0, le=10**9)


def _day(value: object) -> object:
    """The day of a time."""
    return value[:10] if isinstance(value, str) else value


class _Model(BaseModel):
    id: str
    shutdown_date: Annotated[date | None, BeforeValidator(_day)] = None


class _Models(BaseModel):
    data: list[_Model]


def create_client(
    base_url: str | None, api_key: Callable[[], Awaitable[str]], timeout: timedelta, http_client: Any = None
) -> openai.AsyncOpenAI:
    """A client whose calls end within `timeout`. It retries none: retries go through the queue.

    For a server on this machine it ignores the proxies and certificates of the environment.
    """
    if http_client is None and base_url and is_loopback(base_url):
        http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=openai.Timeout(timeout.total_seconds(), connect=CONNECT_TIMEOUT.total_seconds()),
        max_retries=0,
        http_client=http_client,
    )


class OpenAILLM:
    """Calls one model of an OpenAI-compatible server."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        model: str,
        timeout: timedelta,
        max_output_tokens: int,
        api: Api = "responses",
    ) -> None:
        self._client = client
        self._model = model
        self._timeout = timeout
        self._max_output_tokens = max_output_tokens
        self._api = api
        self._dialect: Dialect = Chat() if api == "chat" else Responses()

    @property
    def model(self) -> str:
        """The model's name, as calls name it."""
        return self._model

    async def count_tokens(self, text: str) -> int | None:
        """See `jobchain.llm.LLM`. Many servers other than OpenAI have no such endpoint."""
        if self._api == "chat":
            return None
        try:
            async with asyncio.timeout(min(self._timeout, COUNT_TIMEOUT).total_seconds()):
                counted = await self._post("/responses/input_tokens", {"model": self._model, "input": text})
            return _Counted.model_validate(counted).input_tokens
        except (TimeoutError, openai.APIError, ModelError, ValueError, RecursionError):
            return None

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`."""
        # The client's own timeout starts again with every byte received.
        response = await _within(self._timeout, self._send(request))
        # A server may serve and bill a flex call as a standard one.
        served_flex = isinstance(response, dict) and response.get("service_tier") == Tier.FLEX
        return replace(self._dialect.read(response), tier=Tier.FLEX if served_flex else Tier.STANDARD)

    async def _send(self, request: ModelRequest) -> object:
        most = min(self._max_output_tokens, request.max_output_tokens or sys.maxsize)
        # Left out of a standard call: many servers have no tiers.
        tier = {"service_tier": "flex"} if request.tier is Tier.FLEX else {}
        path = self._dialect.path
        try:
            return await self._post(path, {**self._dialect.body(self._model, request, most), **tier})
        except openai.BadRequestError as error:
            # A refused call is not billed.
            if not self._dialect.avoid(error.param):
                raise
        return await self._post(path, {**self._dialect.body(self._model, request, most), **tier})

    async def _post(self, path: str, body: dict[str, Any]) -> object:
        """The server's response, as JSON.

        The SDK's own method for each call would build models of everything that a server may send, which takes longer
        than the rest of a worker's work. `dialects` validates the parts of a response that are used.
        """
        answer = await self._client.post(path, cast_to=object, body=body)
        # The SDK returns text where the server does not declare JSON.
        return json.loads(answer) if isinstance(answer, str) else answer


async def find_shutdown(client: openai.AsyncOpenAI, model: str, limit: timedelta) -> date | None:
    """The day on which the server will shut `model` down, None where it names none.

    Raises UnknownModel where the server has no such model, and TransientModelError or PermanentModelError where it
    does not answer the question.
    """
    return await _within(limit, _find_shutdown(client, model))


async def _find_shutdown(client: openai.AsyncOpenAI, model: str) -> date | None:
    try:
        return _Model.model_validate(await client.models.retrieve(model), from_attributes=True).shutdown_date
    except openai.NotFoundError:
        # Some servers, such as llama.cpp's, have only the list.
        page = await _list(client)
    listed = {entry.id: entry for entry in _Models.model_validate(page, from_attributes=True).data}
    if model not in listed:
        raise UnknownModel(model, sorted(listed))
    return listed[model].shutdown_date


async def _list(client: openai.AsyncOpenAI) -> object:
    try:
        # `models.list()` fails on a page that is not JSON.
        return await client.get("/models", cast_to=object)
    except openai.NotFoundError:
        raise PermanentModelError("model_failed", "the model's server does not tell which models it has") from None


async def _within(limit: timedelta, call: Awaitable[T]) -> T:
    """The result of `call`, if it ends within `limit`. Raises TransientModelError, PermanentModelError."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await call
    except TimeoutError:
        raise TransientModelError("the model did not answer in time") from None
    except openai.APIError as error:
        raise _classified(error) from None
    except (ValueError, RecursionError):
        raise TransientModelError("the model's server did not answer with JSON of the right form") from None


def _classified(error: openai.APIError) -> ModelError:
    """The error for one of the SDK's, without the provider's message, which may quote the text or the key."""
    if not isinstance(error, openai.APIStatusError):
        return TransientModelError("the model's server can't be reached")
    if error.code == "insufficient_quota":
        return PermanentModelError(*_QUOTA)
    if error.code in ("content_filter", "content_policy_violation"):
        return PermanentModelError(*FILTERED)
    status = error.status_code
    if status in (408, 409, 429) or status >= 500:
        return TransientModelError(f"the model's server answered {status}", _retry_after(error.response.headers))
    type_, message = _PERMANENT.get(status, _PERMANENT[400])
    return PermanentModelError(type_, f"{message} (it answered {status})")


# Seconds or milliseconds: a longer wait is an error of the server, and overflows a timedelta.
_LONGEST_WAIT = 1e9


def _number(value: str) -> float | None:
    return min(float(value), _LONGEST_WAIT) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else None


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long the server asks to wait, as seconds or a date; None where it does not ask.

    OpenAI's own header, in milliseconds, is more exact. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if milliseconds := _number(headers.get("retry-after-ms", "")):
        return timedelta(milliseconds=milliseconds)
    value = headers.get("retry-after", "")
    if (seconds := _number(value)) is not None:
        return timedelta(seconds=seconds)
    try:
        return max(parsedate_to_datetime(value) - datetime.now(UTC), timedelta(0))
    except (ValueError, TypeError, OverflowError):
        return None
