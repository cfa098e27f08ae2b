"""Follows a call on its way to the model's server, by the hooks of the HTTP client."""

import time
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import httpx2

from jobchain_worker.bounded_body import ACCEPTED_ENCODING, bound

LONGEST_CONNECTING = timedelta(seconds=20)
"""More than connecting can take: TCP by way of a proxy and TLS each end after their own timeout of 5 s."""


class CallTrace:
    """How far a call got: whether a failed call may be billed depends on it.

    `response` is what the server answered, while its body may still be on the way.
    """

    def __init__(self, limit: timedelta) -> None:
        """The call ends within `limit`."""
        self._until = time.monotonic() + limit.total_seconds()
        self.response: httpx2.Response | None = None
        self._begun = False
        self._connecting = False

    @property
    def sent(self) -> bool:
        """Whether the server may have the request. If the connection is not followed, it may."""
        return self._begun and not self._connecting

    def begin(self, request: httpx2.Request) -> None:
        """Follows a request, which the HTTP client is about to send."""
        self.response = None
        self._begun = True
        # Following the connection costs a tenth of a call's CPU time. With enough time left, a connection that is not
        # made ends the call with an error of its own.
        if self._until - time.monotonic() < LONGEST_CONNECTING.total_seconds():
            request.extensions["trace"] = self._follow

    # https://www.encode.io/httpcore/extensions/#trace
    async def _follow(self, event: str, _: dict[str, Any]) -> None:
        if event.startswith("connection."):
            self._connecting = True
        elif event == "http11.send_request_headers.started":
            self._connecting = False


_CURRENT: ContextVar[CallTrace | None] = ContextVar("call_trace", default=None)


def start_trace(limit: timedelta) -> CallTrace:
    """A trace of the call that this task makes next, within `limit`."""
    trace = CallTrace(limit)
    _CURRENT.set(trace)
    return trace


def install(client: httpx2.AsyncClient) -> None:
    """Has the calls of a client followed by the trace of the task that makes them, and bounds the answers.

    Redirects are not followed: the text goes to the server that the settings name, and to no other.
    """
    client.follow_redirects = False
    client.headers["Accept-Encoding"] = ACCEPTED_ENCODING
    client.event_hooks["request"].append(_begin)
    client.event_hooks["response"].append(_answered)


async def _begin(request: httpx2.Request) -> None:
    if trace := _CURRENT.get():
        trace.begin(request)


async def _answered(response: httpx2.Response) -> None:
    bound(response)
    if trace := _CURRENT.get():
        trace.response = response
