"""What a failed call means: whether another try may help, whether it may be billed, and what the provider says.

The reports hold the provider's words as they came; `openai_llm` redacts them.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx2

from jobchain.domain import Tier
from jobchain.errors import CallReport, ModelError, PermanentModelError, TransientModelError
from jobchain_worker.bounded_body import UnreadableBody
from jobchain_worker.call_trace import CallTrace
from jobchain_worker.dialects import FILTERED, UNREADABLE
from jobchain_worker.explanations import code_of, explanation, kind_of

# The error of a job for a status that another try can't change.
_PERMANENT = {
    400: ("model_request_refused", "the model's server does not accept the request"),
    401: ("model_unauthorized", "the model's server does not accept the API key"),
    403: ("model_forbidden", "the API key may not use the model"),
    404: ("model_not_found", "the model's server knows no such model"),
}
_QUOTA = ("model_quota_exceeded", "the account at the model's provider has no quota left")

_TRANSIENT = {408: "timeout", 409: "conflict", 429: "rate_limited"}

# A gateway's timeouts. The server behind it may have gone on, and bill the call.
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/error-524/
_GATEWAY_TIMEOUTS = frozenset({504, 524})

# With these, no server got the whole request.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.WriteError,
    httpx2.WriteTimeout,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
    httpx2.TooManyRedirects,
)


def status_error(response: httpx2.Response, body: object, tier: Tier) -> ModelError:
    """The error for an HTTP status of 400 or more; `body` is the answer's JSON or text, None if it was lost."""
    status, code = response.status_code, code_of(body)
    report = CallReport(
        maybe_billed=status in _GATEWAY_TIMEOUTS,
        cause=explanation(body),
        status=status,
        code=code,
        kind=kind_of(body),
    )
    if code == "insufficient_quota":
        return PermanentModelError(*_QUOTA, report)
    if code in ("content_filter", "content_policy_violation"):
        return PermanentModelError(*FILTERED, report)
    if status in _TRANSIENT or status >= 500:
        fault = "flex_unavailable" if _lacks_flex(report, tier) else _TRANSIENT.get(status, "server_error")
        return TransientModelError(
            f"the model's server answered {status}", _retry_after(response.headers), report, fault
        )
    type_, message = _PERMANENT.get(status, _PERMANENT[400])
    return PermanentModelError(type_, f"{message} (it answered {status})", report)


def _lacks_flex(report: CallReport, tier: Tier) -> bool:
    """Whether it is "429 Resource Unavailable": https://platform.openai.com/docs/guides/flex-processing"""
    said = f"{report.code} {report.kind} {report.cause}".lower().replace("_", " ")
    return tier is Tier.FLEX and report.status == 429 and "resource unavailable" in said


def timed_out(limit: timedelta, trace: CallTrace) -> TransientModelError:
    """The error for a call that took longer than `limit`."""
    cause = f"no complete answer within {limit.total_seconds():g} s"
    report = CallReport(maybe_billed=trace.sent, cause=cause if trace.sent else f"{cause}: the request was not sent")
    return TransientModelError("the model did not answer in time", report=report, type_="timeout")


def connection_error(error: BaseException | None, trace: CallTrace) -> TransientModelError:
    """The error for one of the HTTP client's."""
    if isinstance(error, _UNSENT) or not trace.sent:
        report = CallReport(cause=_no_connection(error))
        return TransientModelError("the model's server can't be reached", report=report, type_="unreachable")
    if isinstance(error, httpx2.TimeoutException):
        report = CallReport(maybe_billed=True, cause="the connection was made, and no more came in time")
        return TransientModelError("the model did not answer in time", report=report, type_="timeout")
    if isinstance(error, UnreadableBody):
        return unreadable(str(error))
    report = CallReport(maybe_billed=True, cause="the connection broke before the answer was complete")
    return TransientModelError("the connection to the model's server was lost", report=report, type_="connection_lost")


def _no_connection(error: BaseException | None) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx2.ProxyError):
        return "the proxy made no connection"
    for cause in _chain(error):
        if isinstance(cause, socket.gaierror):
            return "the server's name can't be resolved"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS connection: {cause.reason or 'handshake failed'}"
    return f"the request was not sent ({type(error).__name__})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions
        error = error.__cause__ or error.__context__


def unreadable(why: str, *, maybe_billed: bool = True) -> TransientModelError:
    """The error for an answer that is no JSON."""
    report = CallReport(maybe_billed=maybe_billed, cause=f"the answer can't be read: {why}")
    message = "the model's server did not answer with JSON of the right form"
    return TransientModelError(message, report=report, type_=UNREADABLE)


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
