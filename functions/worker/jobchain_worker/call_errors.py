"""What a failed call means: whether another try may help, whether it may be billed, and what the provider says.

The reports hold the provider's words as they came; `openai_llm` redacts them.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx2

from jobchain.domain import Tier
from jobchain.errors import CallReport, ModelError, ModelSettingsError, PermanentModelError, TransientModelError
from jobchain_worker.aws_faults import exception_of, fault_of_answer
from jobchain_worker.bounded_body import UnreadableBody
from jobchain_worker.call_trace import CallTrace
from jobchain_worker.explanations import code_of, explanation, kind_of
from jobchain_worker.fault_errors import UNREADABLE, fault_error
from jobchain_worker.provider_faults import Fault
from jobchain_worker.redaction import without_keys

# Faults that only a status tells.
_TRANSIENT = {408: "timeout", 409: "conflict", 425: "server_error"}
_REFUSED = ("model_request_refused", "the model's server does not accept the request")

# A gateway's timeouts. The server behind it may have gone on, and bill the call.
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/error-524/
_GATEWAY_TIMEOUTS = frozenset({504, 524})

_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,100}")

# With these, no server got the whole request.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.WriteError,
    httpx2.WriteTimeout,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
)


def status_error(response: httpx2.Response, body: object, tier: Tier, texts: Sequence[str] = ()) -> ModelError:
    """The error for an HTTP status of 300 or more; `body` is the answer's JSON or text, None if it was lost.

    What `body` quotes of the request's `texts` is no word of the provider.
    """
    status = response.status_code
    report = CallReport(
        maybe_billed=status in _GATEWAY_TIMEOUTS,
        cause=explanation(body),
        status=status,
        code=code_of(body) or exception_of(response.headers, body),
        kind=kind_of(body),
    )
    answered, retry_after = f"answered {status}", _retry_after(response.headers)
    if status < 400:
        return ModelSettingsError(_redirected(response), report)
    if _lacks_flex(report, tier):
        return TransientModelError(f"the model's server {answered}", retry_after, report, "flex_unavailable")
    if status in _TRANSIENT:
        return TransientModelError(f"the model's server {answered}", retry_after, report, _TRANSIENT[status])
    if status == 402 and retry_after is not None:
        # OpenRouter, where calls in flight have reserved what is left.
        return fault_error(Fault.RATE_LIMITED, answered, report, retry_after)
    if fault := fault_of_answer(status, response.headers, body, texts):
        return fault_error(fault, answered, report, retry_after)
    type_, message = _REFUSED
    return PermanentModelError(type_, f"{message} (it {answered})", report)


def _redirected(response: httpx2.Response) -> str:
    """What a redirect, which is not followed, says about the settings."""
    return (
        f"the model's server redirects to {_target(response)}, and redirects are not followed: "
        "set OPENAI_BASE_URL to the URL of the server that answers"
    )


def _target(response: httpx2.Response) -> str:
    """The scheme and host that a redirect leads to. The rest of its URL may hold anything."""
    location = response.headers.get("Location", "")
    try:
        target = response.request.url.join(location) if location else None
    except (httpx2.InvalidURL, ValueError):
        target = None
    if target is None or target.scheme not in ("http", "https") or not _HOST.fullmatch(target.host):
        return "nowhere"
    if without_keys(target.host, key="") != target.host:
        return "nowhere"
    if (target.scheme, target.netloc) == (response.request.url.scheme, response.request.url.netloc):
        return "another path"
    return f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}"


def _lacks_flex(report: CallReport, tier: Tier) -> bool:
    """Whether it is "429 Resource Unavailable": https://platform.openai.com/docs/guides/flex-processing

    Groq has a status of its own: https://console.groq.com/docs/flex-processing
    """
    said = f"{report.code} {report.kind} {report.cause}".lower().replace("_", " ")
    refused = report.status == 498 or (report.status == 429 and "resource unavailable" in said)
    return tier is Tier.FLEX and refused


def timed_out(limit: timedelta, trace: CallTrace) -> TransientModelError:
    """The error for a call that took longer than `limit`, or whose server was silent for too long."""
    if trace.is_silent:
        cause = f"the server was silent for {trace.silence:.3g} s, which is longer than ModelIdleSeconds allows"
    else:
        cause = f"no complete answer within {limit.total_seconds():g} s"
    cause = f"{cause}{_came(trace)}" if trace.sent else f"{cause}: the request was not sent"
    return TransientModelError(
        "the model did not answer in time", report=CallReport(maybe_billed=trace.sent, cause=cause), type_="timeout"
    )


def broken_off(trace: CallTrace) -> TransientModelError:
    """The error for a connection that has ended before the answer was complete."""
    cause = f"the connection broke before the answer was complete{_came(trace)}"
    report = CallReport(maybe_billed=True, cause=cause)
    return TransientModelError("the connection to the model's server was lost", report=report, type_="connection_lost")


def _came(trace: CallTrace) -> str:
    """How much of a streamed answer came, and when the last of it."""
    if trace.answer is None:
        return ""
    characters = len(trace.answer.text())
    return f": {characters} characters of the answer had come, and nothing in the last {trace.silence:.3g} s"


def unsendable() -> ModelSettingsError:
    """The error for a request that the settings make impossible, whichever server it would go to."""
    return ModelSettingsError(
        "no request can be made with these settings: correct OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID or the "
        "API key, which may hold visible ASCII characters only"
    )


def unsigned_call(cause: BaseException | None) -> ModelError:
    """The error for a call that could not be signed: its `cause` where the role's credentials can't be read."""
    if cause is None:
        return ModelSettingsError(
            "there are no AWS credentials to sign calls of Bedrock with: with ModelProvider bedrock they are those of "
            "the worker's role"
        )
    report = CallReport(cause=f"the credentials of the worker's role can't be read ({type(cause).__name__})")
    return TransientModelError("the call of Bedrock can't be signed", report=report, type_="credentials_unreadable")


def connection_error(error: BaseException | None, trace: CallTrace) -> ModelError:
    """The error for one of the HTTP client's."""
    if isinstance(error, httpx2.UnsupportedProtocol) or _has_illegal_header(error):
        return unsendable()
    if isinstance(error, _UNSENT) or not trace.sent:
        report = CallReport(cause=_no_connection(error))
        return TransientModelError("the model's server can't be reached", report=report, type_="unreachable")
    if isinstance(error, httpx2.TimeoutException):
        report = CallReport(maybe_billed=True, cause="the connection was made, and no more came in time")
        return TransientModelError("the model did not answer in time", report=report, type_="timeout")
    if isinstance(error, UnreadableBody):
        return unreadable(str(error))
    return broken_off(trace)


def _has_illegal_header(error: BaseException | None) -> bool:
    """Whether h11 refused a header. Its other errors of this kind are of a connection that the server has closed."""
    return isinstance(error, httpx2.LocalProtocolError) and "illegal header" in str(error).lower()


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
