"""The adapter to OpenAI's Responses API and what is compatible with it. The only file that knows `openai`."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import openai
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from jobchain.errors import ModelError, PermanentModelError, TransientModelError
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain.model import Usage

CONNECT_TIMEOUT = timedelta(seconds=5)

# What a caller reads for a status that asking again can't mend.
_PERMANENT = {
    400: ("model_request_refused", "the model's server does not accept the request"),
    401: ("model_unauthorized", "the model's server does not accept the API key"),
    403: ("model_forbidden", "the API key may not use the model"),
    404: ("model_not_found", "the model's server knows no such model"),
}
_QUOTA = ("model_quota_exceeded", "the account at the model's provider has no quota left")
_FILTERED = ("content_filtered", "the provider's content filter stopped the text or the answer")
_REFUSED = ("model_refused", "the model declined to work on this text")

# Codes of a response that failed, after which another try may go well.
_TRANSIENT_CODES = frozenset({"server_error", "rate_limit_exceeded"})


class _Content(BaseModel):
    type: str
    text: str = ""


class _Item(BaseModel):
    type: str
    content: list[_Content] | None = None


# The SDK makes a None of what a server leaves out; not every server counts every kind of token.
_Count = Annotated[int, BeforeValidator(lambda count: count or 0), Field(ge=0, le=10**9)]


class _InputDetails(BaseModel):
    cached_tokens: _Count = 0


class _OutputDetails(BaseModel):
    reasoning_tokens: _Count = 0


class _Usage(BaseModel):
    input_tokens: _Count = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens: _Count = 0
    output_tokens_details: _OutputDetails | None = None


class _Fault(BaseModel):
    code: str | None = None
    reason: str | None = None


class _Reply(BaseModel):
    """What we read of a response. The SDK hands on whatever a server sends, so it is checked here."""

    model: str = Field(max_length=200)
    status: str
    output: list[_Item]
    usage: _Usage | None = None
    error: _Fault | None = None
    incomplete_details: _Fault | None = None


def create_client(
    base_url: str | None, api_key: Callable[[], Awaitable[str]], timeout: timedelta, http_client: Any = None
) -> openai.AsyncOpenAI:
    """A client whose calls end within `timeout` and are not retried: waiting is the queue's part."""
    return openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=openai.Timeout(timeout.total_seconds(), connect=CONNECT_TIMEOUT.total_seconds()),
        max_retries=0,
        http_client=http_client,
    )


class OpenAILLM:
    """Asks one model of an OpenAI-compatible server."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, timeout: timedelta, max_output_tokens: int) -> None:
        self._client = client
        self._model = model
        self._timeout = timeout
        self._max_output_tokens = max_output_tokens

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`. The server is asked not to store the texts."""
        try:
            # The client's own timeout starts anew with every byte that trickles in.
            async with asyncio.timeout(self._timeout.total_seconds()):
                response = await self._client.responses.create(
                    model=self._model,
                    instructions=request.instructions,
                    input=request.input,
                    text={"format": _format(request)},
                    max_output_tokens=self._max_output_tokens,
                    store=False,
                )
        except TimeoutError:
            raise TransientModelError("the model did not answer in time") from None
        except openai.APIError as error:
            raise _classified(error) from None
        except (ValueError, RecursionError):
            raise TransientModelError("the model's server did not answer with JSON") from None
        return _answer(response)


def _format(request: ModelRequest) -> Any:
    return {
        "type": "json_schema",
        "name": request.answer.__name__,
        "schema": request.answer.model_json_schema(),
        "strict": True,
    }


def _answer(response: object) -> ModelAnswer:
    try:
        reply = _Reply.model_validate(response, from_attributes=True)
    except ValidationError:
        raise TransientModelError("the model's server did not answer in the Responses API's form") from None
    model, usage = reply.model, _usage(reply.usage)
    parts = [part for item in reply.output if item.type == "message" for part in item.content or []]
    if reply.status == "failed":
        return ModelAnswer(model, usage, error=_failure(reply))
    if reply.status == "incomplete":
        if reply.incomplete_details and reply.incomplete_details.reason == "content_filter":
            return ModelAnswer(model, usage, error=PermanentModelError(*_FILTERED))
        return ModelAnswer(model, usage, complaint="it was cut off: be shorter")
    if any(part.type == "refusal" for part in parts):
        return ModelAnswer(model, usage, error=PermanentModelError(*_REFUSED))
    text = "".join(part.text for part in parts if part.type == "output_text")
    if not text.strip():
        return ModelAnswer(model, usage, complaint="it was empty")
    return ModelAnswer(model, usage, text)


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    return Usage(
        input_tokens=usage.input_tokens,
        cached_tokens=(usage.input_tokens_details or _InputDetails()).cached_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=(usage.output_tokens_details or _OutputDetails()).reasoning_tokens,
    )


def _failure(reply: _Reply) -> ModelError:
    code = reply.error.code if reply.error else None
    if code in _TRANSIENT_CODES:
        return TransientModelError("the model's server failed")
    return PermanentModelError("model_failed", "the model's server gave the request up")


def _classified(error: openai.APIError) -> ModelError:
    """Our error for one of the SDK's, without the provider's words, which may quote the text or the key."""
    if not isinstance(error, openai.APIStatusError):
        return TransientModelError("the model's server can't be reached")
    if error.code == "insufficient_quota":
        return PermanentModelError(*_QUOTA)
    if error.code in ("content_filter", "content_policy_violation"):
        return PermanentModelError(*_FILTERED)
    status = error.status_code
    if status in (408, 409, 429) or status >= 500:
        return TransientModelError(f"the model's server answered {status}", _retry_after(error.response.headers))
    type_, message = _PERMANENT.get(status, _PERMANENT[400])
    return PermanentModelError(type_, f"{message} (it answered {status})")


# Seconds or milliseconds: more is nonsense, and more than a timedelta can bear.
_LONGEST_WAIT = 1e9


def _number(value: str) -> float | None:
    return min(float(value), _LONGEST_WAIT) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else None


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long the server asks us to wait, by seconds or a date; None where it does not say.

    OpenAI's own header, in milliseconds, is the more exact one. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
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
