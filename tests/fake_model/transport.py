"""The fake model behind the HTTP client of this process: for the tests of the adapter, which need no socket."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2

from tests.fake_model.replies import Reply


class ModelTransport(httpx2.MockTransport):
    """Answers each request with what `choose` gives for it.

    An exception is raised, as by a connection that fails. A response of the client's own form is passed on: its body
    may arrive in parts.
    """

    def __init__(self, choose: Callable[[httpx2.Request], Reply | httpx2.Response | Exception]) -> None:
        super().__init__(self._respond)
        self._choose = choose
        self.requests: list[httpx2.Request] = []
        self.holds = asyncio.Event()
        """Set once a request is held that is never answered."""

    async def _respond(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        reply = self._choose(request)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, httpx2.Response):
            return reply
        assert reply.way != "right answer", "it is not known here"
        if reply.way == "drop":
            raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
        if reply.way == "half" and not reply.parts:
            raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
        if reply.way == "hang":
            self.holds.set()
            await asyncio.Event().wait()
        await asyncio.sleep(reply.delay)
        headers = {**({"Content-Type": reply.content_type} if reply.content_type else {}), **reply.headers}
        content = _parts(reply) if reply.parts else reply.body
        return httpx2.Response(reply.status, headers=headers, content=content)


async def _parts(reply: Reply) -> AsyncIterator[bytes]:
    for part in reply.parts:
        await asyncio.sleep(reply.pause)
        yield part
    if reply.way == "half":
        raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
    if reply.way == "stall":
        await asyncio.Event().wait()
