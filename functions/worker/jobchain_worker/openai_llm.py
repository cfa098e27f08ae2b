"""The adapter to OpenAI and compatible servers. The only file that imports `openai`."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any, TypeVar

import httpx2
import openai
from pydantic import BaseModel, BeforeValidator, Field

from jobchain.connection import is_loopback
from jobchain.domain import Tier
from jobchain.errors import CallReport, ModelError, PermanentModelError, UnknownModel
from jobchain.llm import FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain_worker.call_errors import connection_error, status_error, timed_out, unreadable, unsendable
from jobchain_worker.call_trace import CallTrace, install, start_trace
from jobchain_worker.dialects import Api, Chat, Dialect, Responses
from jobchain_worker.explanations import explanation
from jobchain_worker.fault_errors import UNREADABLE
from jobchain_worker.output_limits import OutputLimits, unsupported_parameter
from jobchain_worker.redaction import identifier, redacted, storable, storable_body

T = TypeVar("T")

CONNECT_TIMEOUT = timedelta(seconds=5)

COUNT_TIMEOUT = timedelta(seconds=5)
"""The timeout of a token count, which a job does not need."""

# Of OpenAI, Azure and Bedrock.
_REQUEST_IDS = ("x-request-id", "apim-request-id", "x-amzn-requestid")

_NO_LIST = (
    "the model's server does not tell which models it has (it answered 404): check OPENAI_BASE_URL, which usually ends "
    "in /v1"
)

_NOT_JSON = "it is not JSON of the right form"

# An integer of more digits can't be a count, and one of thousands would make the whole answer unreadable.
_MAX_DIGITS = 20


# The statuses by which servers refuse a parameter; 416 is Scaleway's.
_REFUSALS = (400, 413, 416, 422)


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
    if http_client is None:
        is_local = base_url is not None and is_loopback(base_url)
        http_client = openai.DefaultAsyncHttpxClient(trust_env=not is_local)
    install(http_client)
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
        self._limits = OutputLimits(max_output_tokens)
        self._api = api
        self._dialect: Dialect = Chat() if api == "chat" else Responses()

    @property
    def model(self) -> str:
        """The model's name, as calls name it."""
        return self._model

    @property
    def max_output_tokens(self) -> int:
        """The most tokens that an answer may have: what is configured, or less where the server has refused that."""
        return self._limits.most

    async def count_tokens(self, text: str) -> int | None:
        """See `jobchain.llm.LLM`. Many servers other than OpenAI have no such endpoint."""
        if self._api == "chat":
            return None
        try:
            async with asyncio.timeout(min(self._timeout, COUNT_TIMEOUT).total_seconds()):
                counted = await self._post("/responses/input_tokens", {"model": self._model, "input": text})
            return _Counted.model_validate(_json(counted)).input_tokens
        except (TimeoutError, openai.APIError, ModelError, ValueError, RecursionError):
            return None

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`."""
        texts = (request.input, request.instructions)
        # The client's own timeout starts again with every byte received.
        return await _within(self._timeout, self._ask(request, texts), self._client, request.tier, texts)

    async def _ask(self, request: ModelRequest, texts: Sequence[str]) -> ModelAnswer:
        response = await self._send(request, texts)
        content = _json(response)
        answer = self._dialect.read(content, self._model, texts)
        # A server may serve and bill a flex call as a standard one.
        served_flex = isinstance(content, dict) and content.get("service_tier") == Tier.FLEX
        tier = Tier.FLEX if served_flex else Tier.STANDARD
        answer = replace(answer, tier=tier, request_id=_request_id(response, self._client.api_key))
        match answer:
            case UnusableAnswer():
                return replace(answer, text=storable(answer.text, self._client.api_key))
            case FailedAnswer():
                answer.error.report = _kept(answer.error, self._client.api_key, response, texts)
        return answer

    async def _send(self, request: ModelRequest, texts: Sequence[str]) -> httpx2.Response:
        """The response to a call. One that is refused for a parameter is repeated with another: it is not billed."""
        room = self._limits.room(request)
        shrunk = renamed = False
        while True:
            try:
                return await self._post(self._dialect.path, self._body(request, room))
            except openai.APIStatusError as refused:
                if refused.status_code not in _REFUSALS:
                    raise
                refusal = redacted(explanation(refused.body) or "", self._client.api_key, texts)
                smaller = None if shrunk else self._limits.learn(refusal, room, request)
                if smaller is not None:
                    room, shrunk = smaller, True
                elif renamed or not self._dialect.avoid(unsupported_parameter(refusal, refused.code, refused.param)):
                    raise
                else:
                    renamed = True

    def _body(self, request: ModelRequest, room: int) -> dict[str, Any]:
        # Left out of a standard call: many servers have no tiers.
        tier = {"service_tier": "flex"} if request.tier is Tier.FLEX else {}
        return {**self._dialect.body(self._model, request, room), **tier}

    async def _post(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """The server's response.

        The SDK's own method for each call would build models of everything that a server may send, which takes longer
        than the rest of a worker's work. `dialects` validates the parts of a response that are used.
        """
        return await self._client.post(path, cast_to=httpx2.Response, body=body)


def _json(response: httpx2.Response) -> object:
    """The JSON of a response, whatever type the server declares. Raises ValueError, RecursionError."""
    return json.loads(response.content, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


async def find_shutdown(client: openai.AsyncOpenAI, model: str, limit: timedelta) -> date | None:
    """The day on which the server will shut `model` down, None where it names none.

    Raises UnknownModel where the server has no such model, and TransientModelError or PermanentModelError where it
    does not answer the question.
    """
    return await _within(limit, _find_shutdown(client, model), client)


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
        raise PermanentModelError("model_failed", _NO_LIST) from None


async def _within(
    limit: timedelta,
    call: Awaitable[T],
    client: openai.AsyncOpenAI,
    tier: Tier = Tier.STANDARD,
    texts: Sequence[str] = (),
) -> T:
    """The result of `call`, if it ends within `limit`. Raises TransientModelError, PermanentModelError.

    Their reports quote none of `texts`. A report of the key's own error is left as it is.
    """
    trace = start_trace(limit)
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await call
    except TimeoutError:
        error = _lost(timed_out(limit, trace), trace, tier)
    except openai.APIStatusError as refused:
        error = status_error(refused.response, refused.body, tier, texts)
    except openai.APIError as failed:
        error = _lost(connection_error(failed.__cause__, trace), trace, tier)
    except UnicodeEncodeError as wrong:
        # Of the headers: what else the SDK sends is UTF-8.
        error = unsendable() if wrong.encoding == "ascii" else unreadable(_NOT_JSON, maybe_billed=trace.sent)
    except httpx2.InvalidURL:
        error = unsendable()
    except (ValueError, RecursionError):
        error = unreadable(_NOT_JSON, maybe_billed=trace.sent)
    except ModelError as other:
        error = other
    error.report = _kept(error, client.api_key, trace.response, texts)
    raise error from None


def _lost(error: ModelError, trace: CallTrace, tier: Tier) -> ModelError:
    """The error for an answer whose body did not arrive. A status of an error tells more than the lost body does."""
    response = trace.response
    return error if response is None or response.status_code < 400 else status_error(response, None, tier)


def _kept(error: ModelError, key: str, response: httpx2.Response | None, texts: Sequence[str]) -> CallReport:
    """The error's report with the call's id and status, and without keys and quotations of the request."""
    report = error.report
    body = _body(response) if error.type == UNREADABLE else None
    return replace(
        report,
        cause=redacted(report.cause, key, texts) if report.cause else None,
        answer=storable(report.answer, key) if report.answer else body and storable_body(body, key),
        request_id=_request_id(response, key),
        status=None if response is None else response.status_code,
        code=identifier(report.code, key),
        kind=identifier(report.kind, key),
    )


def _body(response: httpx2.Response | None) -> str | None:
    """The body that was received, if the whole of it was."""
    try:
        return None if response is None else response.text
    except httpx2.StreamError:
        return None


def _request_id(response: httpx2.Response | None, key: str) -> str | None:
    """The provider's id of a call, None where it gives none."""
    if response is None:
        return None
    ids = (identifier(response.headers.get(name), key) for name in _REQUEST_IDS)
    return next(filter(None, ids), None)
