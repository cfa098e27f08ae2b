"""Follows a call on its way to the model's server, by the hooks of the HTTP client, and while its answer arrives."""

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2

from jobchain_worker.assembling import Assembler
from jobchain_worker.bounded_body import ACCEPTED_ENCODING, bound

LONGEST_CONNECTING = timedelta(seconds=20)
"""More than connecting can take: TCP by way of a proxy and TLS each end after their own timeout of 5 s."""

FIRST_TOKEN_FACTOR = 5
"""How much longer the server may be silent before the first token.

Until then many servers say nothing, though they work: while the request waits its turn, while a long prompt is read,
and while OpenAI's models reason. A token that does not follow the one before it is a stall.
"""


@dataclass(frozen=True, slots=True)
class CallTime:
    """How long a call may take in all, and how long the server may be silent between tokens, None for any time."""

    whole: timedelta
    idle: timedelta | None = None


class CallTrace:
    """How far a call got: whether a failed call may be billed depends on it.

    `response` is what the server answered, while its body may still be on the way. `answer` is what has come of a
    streamed answer.
    """

    def __init__(self, limits: CallTime) -> None:
        """The call ends within the limits."""
        self._started = time.monotonic()
        self._until = self._started + limits.whole.total_seconds()
        self._idle = limits.idle.total_seconds() if limits.idle else None
        self._heard = self._started
        self._first_token: float | None = None
        self.without_effort = False
        """Whether the call was sent without the effort of its request, which the model does not take."""
        self._timeout: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.response: httpx2.Response | None = None
        self.answer: Assembler | None = None
        self._begun = False
        self._connecting = False

    @property
    def sent(self) -> bool:
        """Whether the server may have the request. If the connection is not followed, it may."""
        return self._begun and not self._connecting

    @property
    def silence(self) -> float:
        """The seconds since the last sign of life."""
        return time.monotonic() - self._heard

    @property
    def first_token_seconds(self) -> float | None:
        """How long the first token took; None where none has come."""
        return None if self._first_token is None else self._first_token - self._started

    @property
    def patience(self) -> float | None:
        """How many seconds the server may be silent now; None for any time."""
        if self._idle is None:
            return None
        return self._idle if self._first_token is not None else self._idle * FIRST_TOKEN_FACTOR

    @property
    def is_silent(self) -> bool:
        """Whether the server has been silent for longer than it may, with time left for the call."""
        return self.patience is not None and self._heard + self.patience < self._until

    def end_by(self, timeout: asyncio.Timeout) -> None:
        """Has a timeout, which ends with the call's time, also end the call where the server is silent for too long."""
        self._timeout = timeout
        self._watch()

    def hear(self, *, token: bool = False) -> None:
        """Notes a sign of life: any part of the body, such as a comment or an event that tells of the prompt.

        `token` if it had a part of the answer, or of the reasoning.
        """
        self._heard = time.monotonic()
        if token and self._first_token is None:
            self._first_token = self._heard
            self._watch()

    def release(self) -> None:
        """Leaves the timeout alone, as the call has ended."""
        self._timeout = None
        self._watch()

    def expect_no_stream(self) -> None:
        """Notes that the answer comes in one piece, before which a server says nothing."""
        self._idle = None
        self._watch()

    def _watch(self) -> None:
        """Ends the call if the server has been silent for too long, or looks again when it may have been.

        A timer for each sign of life would cost more than to read the event.
        """
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._timeout is None or self.patience is None or self._timeout.expired():
            return
        loop = asyncio.get_running_loop()
        left = self._heard + self.patience - time.monotonic()
        if left > 0:
            self._timer = loop.call_later(left, self._watch)
        else:
            self._timeout.reschedule(loop.time())

    def begin(self, request: httpx2.Request) -> None:
        """Follows a request, which the HTTP client is about to send."""
        self.response = self.answer = None
        self._begun = True
        self.hear()
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


def start_trace(limits: CallTime) -> CallTrace:
    """A trace of the call that this task makes next, within its limits."""
    trace = CallTrace(limits)
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
        trace.hear()
