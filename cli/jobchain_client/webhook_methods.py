"""The clients' methods for endpoints and deliveries: `client.webhooks`."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from jobchain_client.flows import Flow, Stream
from jobchain_client.webhook_flows import WebhookFlows
from jobchain_client.webhook_resources import Delivery, Endpoint, NewEndpoint

T = TypeVar("T")


class Run(Protocol):
    """Runs a flow: a client's."""

    def __call__(self, flow: Flow[T], /) -> T: ...


class Iterate(Protocol):
    """Runs a stream, and gives what it emits."""

    def __call__(self, stream: Stream[T], /) -> Iterator[T]: ...


class RunAsync(Protocol):
    """`Run` for asyncio."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]: ...


class IterateAsync(Protocol):
    """`Iterate` for asyncio."""

    def __call__(self, stream: Stream[T], /) -> AsyncIterator[T]: ...


class Webhooks:
    """The endpoints of your tenant, and the deliveries to them. Every method may raise what those of `Jobchain` raise.

    Conflict of the type `webhooks-off` is the error of each where the deployment sends no webhooks.
    """

    def __init__(self, flows: WebhookFlows, run: Run, stream: Iterate) -> None:
        self._flows = flows
        self._run = run
        self._stream = stream

    def list(self) -> Sequence[Endpoint]:
        """The endpoints, the oldest first."""
        return self._run(self._flows.list_endpoints())

    def create(self, url: str, events: Iterable[str] = (), chains: Iterable[str] = ()) -> NewEndpoint:
        """A new endpoint, with its `secret`, which is shown this one time.

        It gets the `events` (such as `job.failed`) of the `chains`; all where these are empty. Raises InvalidRequest,
        Conflict. A request whose answer is lost is not repeated: the endpoint may exist then. Raises Unreachable,
        Unavailable.
        """
        return self._run(self._flows.create_endpoint(url, events, chains))

    def rotate(self, endpoint_id: str) -> str:
        """A new secret, which is shown this one time; the one before it is valid for 24 hours. Raises NotFound.

        A request whose answer is lost is not repeated: a second rotation would end the secret that the receiver has.
        """
        return self._run(self._flows.rotate_secret(endpoint_id))

    def enable(self, endpoint_id: str) -> Endpoint:
        """Let a disabled endpoint get events again. Raises NotFound."""
        return self._run(self._flows.enable_endpoint(endpoint_id))

    def delete(self, endpoint_id: str) -> None:
        """Erase an endpoint with its secrets; what waits for it is given up. Raises NotFound."""
        self._run(self._flows.delete_endpoint(endpoint_id))

    def test(self, endpoint_id: str) -> Delivery:
        """Send an event `webhook.test`; `delivery` tells what became of it. Raises NotFound, Conflict."""
        return self._run(self._flows.test_endpoint(endpoint_id))

    def deliveries(
        self, endpoint_id: str | None = None, state: str | None = None, limit: int | None = None
    ) -> Iterator[Delivery]:
        """The deliveries, the newest first, page after page as they are needed; without their bodies.

        Only those to an endpoint, or of a `state`: `waiting`, `delivered` or `dead`. At most `limit` of them in all.
        """
        return self._stream(self._flows.deliveries(endpoint_id, state, limit))

    def delivery(self, webhook_id: str) -> Delivery:
        """A delivery with its body. Raises NotFound."""
        return self._run(self._flows.delivery(webhook_id))

    def redeliver(self, webhook_id: str) -> Delivery:
        """Send an event again, with the same `webhook_id`; one that waits is tried at once.

        Raises NotFound, and Conflict where its endpoint is disabled.
        """
        return self._run(self._flows.redeliver(webhook_id))


class AsyncWebhooks:
    """`Webhooks` for asyncio: the same methods with the same promises."""

    def __init__(self, flows: WebhookFlows, run: RunAsync, stream: IterateAsync) -> None:
        self._flows = flows
        self._run = run
        self._stream = stream

    async def list(self) -> Sequence[Endpoint]:
        return await self._run(self._flows.list_endpoints())

    async def create(self, url: str, events: Iterable[str] = (), chains: Iterable[str] = ()) -> NewEndpoint:
        return await self._run(self._flows.create_endpoint(url, events, chains))

    async def rotate(self, endpoint_id: str) -> str:
        return await self._run(self._flows.rotate_secret(endpoint_id))

    async def enable(self, endpoint_id: str) -> Endpoint:
        return await self._run(self._flows.enable_endpoint(endpoint_id))

    async def delete(self, endpoint_id: str) -> None:
        await self._run(self._flows.delete_endpoint(endpoint_id))

    async def test(self, endpoint_id: str) -> Delivery:
        return await self._run(self._flows.test_endpoint(endpoint_id))

    def deliveries(
        self, endpoint_id: str | None = None, state: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Delivery]:
        return self._stream(self._flows.deliveries(endpoint_id, state, limit))

    async def delivery(self, webhook_id: str) -> Delivery:
        return await self._run(self._flows.delivery(webhook_id))

    async def redeliver(self, webhook_id: str) -> Delivery:
        return await self._run(self._flows.redeliver(webhook_id))
