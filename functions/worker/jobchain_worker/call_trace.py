"""Follows a call on its way to the model's server, by the hooks of the HTTP client."""

from contextvars import ContextVar
from typing import Any

import httpx2


class CallTrace:
    """How far a call got: whether a failed call may be billed depends on it.

    `response` is what the server answered, while its body may still be on the way.
    """

    def __init__(self) -> None:
        self.response: httpx2.Response | None = None
        self._begun = False
        self._connecting = False

    @property
    def sent(self) -> bool:
        """Whether the server may have the request. If the transport does not tell of its connections, it may."""
        return self._begun and not self._connecting

    def begin(self, request: httpx2.Request) -> None:
        """Follows a request, which the HTTP client is about to send."""
        self.response = None
        self._begun = True
        request.extensions["trace"] = self._follow

    # https://www.encode.io/httpcore/extensions/#trace
    async def _follow(self, event: str, _: dict[str, Any]) -> None:
        if event.startswith("connection."):
            self._connecting = True
        elif event == "http11.send_request_headers.started":
            self._connecting = False


_CURRENT: ContextVar[CallTrace | None] = ContextVar("call_trace", default=None)


def start_trace() -> CallTrace:
    """A trace of the call that this task makes next."""
    trace = CallTrace()
    _CURRENT.set(trace)
    return trace


def install(client: httpx2.AsyncClient) -> None:
    """Has the calls of a client followed by the trace of the task that makes them."""
    client.event_hooks["request"].append(_begin)
    client.event_hooks["response"].append(_answered)


async def _begin(request: httpx2.Request) -> None:
    if trace := _CURRENT.get():
        trace.begin(request)


async def _answered(response: httpx2.Response) -> None:
    if trace := _CURRENT.get():
        trace.response = response
