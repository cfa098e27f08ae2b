"""One call of the model's server, with everything that can go wrong with it. `openai_llm` says what is asked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import httpx2
import openai

from jobchain.connection import is_loopback
from jobchain.domain import Tier
from jobchain.errors import CallReport, ModelError
from jobchain_worker.call_errors import (
    broken_off,
    connection_error,
    status_error,
    timed_out,
    unreadable,
    unsendable,
    unsigned_call,
)
from jobchain_worker.call_trace import CallTime, CallTrace, install, start_trace
from jobchain_worker.fault_errors import UNREADABLE
from jobchain_worker.redaction import identifier, redacted, storable, storable_body
from jobchain_worker.reported_limits import read_limits
from jobchain_worker.streaming import BrokenOff

T = TypeVar("T")

Client = openai.AsyncOpenAI
"""For modules that pass a client on and know nothing of the SDK."""

CONNECT_TIMEOUT = timedelta(seconds=5)

# Of OpenAI, Azure and Bedrock.
_REQUEST_IDS = ("x-request-id", "apim-request-id", "x-amzn-requestid")

_NOT_JSON = "it is not JSON of the right form"


def create_client(
    base_url: str | None, api_key: Callable[[], Awaitable[str]], timeout: timedelta, http_client: Any = None
) -> openai.AsyncOpenAI:
    """A client whose calls end within `timeout`. It retries none: retries go through the queue.

    For a server on this machine it ignores the proxies and certificates of the environment.
    """
    return openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=openai.Timeout(timeout.total_seconds(), connect=CONNECT_TIMEOUT.total_seconds()),
        max_retries=0,
        http_client=http_client_for(base_url, http_client),
    )


def http_client_for(base_url: str | None, http_client: Any = None) -> Any:
    """The HTTP client of a client, a new one where none is given, whose calls can be followed."""
    if http_client is None:
        is_local = base_url is not None and is_loopback(base_url)
        http_client = openai.DefaultAsyncHttpxClient(trust_env=not is_local)
    install(http_client)
    return http_client


async def within(
    limits: CallTime,
    call: Callable[[CallTrace], Awaitable[T]],
    client: openai.AsyncOpenAI,
    tier: Tier = Tier.STANDARD,
    texts: Sequence[str] = (),
) -> T:
    """The result of `call`, if it ends within the limits. Raises TransientModelError, PermanentModelError.

    Their reports quote none of `texts`. A report of the key's own error is left as it is.
    """
    trace = start_trace(limits)
    try:
        # The client's own timeout starts again with every byte received.
        async with asyncio.timeout(limits.whole.total_seconds()) as timeout:
            trace.end_by(timeout)
            return await call(trace)
    except TimeoutError:
        error = _lost(timed_out(limits.whole, trace), trace, tier)
    except openai.OpenAIError as failed:
        error = _failed(failed, trace, tier, texts)
    except BrokenOff:
        error = broken_off(trace)
    except httpx2.HTTPError as failed_later:
        error = _lost(connection_error(failed_later, trace), trace, tier)
    except UnicodeEncodeError as wrong:
        # Of the headers: what else the SDK sends is UTF-8.
        error = unsendable() if wrong.encoding == "ascii" else unreadable(_NOT_JSON, maybe_billed=trace.sent)
    except httpx2.InvalidURL:
        error = unsendable()
    except (ValueError, RecursionError):
        error = unreadable(_NOT_JSON, maybe_billed=trace.sent)
    except ModelError as other:
        error = other
    finally:
        trace.release()
    error.report = kept(error, client.api_key, trace, texts)
    raise error from None


def _failed(error: openai.OpenAIError, trace: CallTrace, tier: Tier, texts: Sequence[str]) -> ModelError:
    """The error for one of the SDK's."""
    if isinstance(error, openai.APIStatusError):
        return status_error(error.response, error.body, tier, texts)
    if isinstance(error, openai.APIError):
        return _lost(connection_error(error.__cause__, trace), trace, tier)
    return unsigned_call(error.__cause__)


def _lost(error: ModelError, trace: CallTrace, tier: Tier) -> ModelError:
    """The error for an answer whose body did not arrive. A status of an error tells more than the lost body does."""
    response = trace.response
    return error if response is None or response.status_code < 400 else status_error(response, None, tier)


def kept(error: ModelError, key: str, trace: CallTrace, texts: Sequence[str]) -> CallReport:
    """The error's report with what is known of the call, and without keys and quotations of the request."""
    report, response = error.report, trace.response
    text = report.answer or (trace.answer.text() if trace.answer else None)
    body = _body(response) if error.type == UNREADABLE else None
    return replace(
        report,
        cause=redacted(report.cause, key, texts) if report.cause else None,
        answer=storable(text, key) if text else body and storable_body(body, key),
        request_id=request_id(response, key),
        status=None if response is None else response.status_code,
        code=identifier(report.code, key),
        kind=identifier(report.kind, key),
        limits=report.limits if response is None else read_limits(response.headers),
        usage=trace.answer.usage() if trace.answer else None,
        first_token_seconds=trace.first_token_seconds,
        without_effort=trace.without_effort,
    )


def _body(response: httpx2.Response | None) -> str | None:
    """The body that was received, if the whole of it was."""
    try:
        return None if response is None else response.text
    except httpx2.StreamError:
        return None


def request_id(response: httpx2.Response | None, key: str) -> str | None:
    """The provider's id of a call, None where it gives none."""
    if response is None:
        return None
    ids = (identifier(response.headers.get(name), key) for name in _REQUEST_IDS)
    return next(filter(None, ids), None)
