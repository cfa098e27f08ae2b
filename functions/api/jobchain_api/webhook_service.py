"""What callers do with the endpoints and the deliveries of their tenant."""

from collections.abc import Callable, Container, Sequence
from functools import cached_property

from jobchain.aws.deliveries import Delivery, DeliveryState
from jobchain.aws.tenant_deliveries import TenantDeliveries
from jobchain.aws.webhook_endpoints import Endpoint, EndpointStore
from jobchain.errors import EndpointDisabled, InvalidRequest
from jobchain.webhooks.events import JOB_URLS, EventType
from jobchain.webhooks.urls import UnusableUrl, webhook_target
from jobchain_api.auth import Caller
from jobchain_api.cursor import Cursors


class WebhookService:
    """The endpoints and deliveries of a deployment whose webhooks are on. Every method raises Unavailable."""

    def __init__(
        self,
        endpoints: EndpointStore,
        deliveries: TenantDeliveries,
        cursor_secret: Callable[[], bytes],
        chains: Container[str],
        *,
        local: bool = False,
    ) -> None:
        """`local` for a stack on the caller's own machine: see `webhook_target`."""
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._cursor_secret = cursor_secret
        self._chains = chains
        self._local = local

    # --- endpoints -------------------------------------------------------------------------------

    def list(self, caller: Caller) -> list[Endpoint]:
        """The caller's endpoints, the oldest first."""
        return self._endpoints.list(caller.tenant)

    def create(
        self, caller: Caller, url: str, events: tuple[EventType, ...], chains: tuple[str, ...]
    ) -> tuple[Endpoint, str]:
        """A new endpoint, and its secret. Raises InvalidRequest, TooManyEndpoints."""
        try:
            webhook_target("url", url, local=self._local)
        except UnusableUrl as error:
            raise InvalidRequest({"url": error.reason}) from None
        unknown = [place for place, chain in enumerate(chains) if chain not in self._chains]
        if unknown:
            raise InvalidRequest({f"chains.{unknown[0]}": "unknown chain: use names of GET /chains"})
        return self._endpoints.create(caller.tenant, url, events, chains)

    def rotate(self, caller: Caller, endpoint_id: str) -> str:
        """A new secret of an endpoint; the first one of that of the jobs' own URLs. Raises EndpointNotFound."""
        if endpoint_id == JOB_URLS:
            return self._endpoints.create(caller.tenant, None)[1]
        return self._endpoints.rotate(caller.tenant, endpoint_id)

    def enable(self, caller: Caller, endpoint_id: str) -> Endpoint:
        """Lets a disabled endpoint get events again. Raises EndpointNotFound."""
        return self._endpoints.enable(caller.tenant, endpoint_id)

    def delete(self, caller: Caller, endpoint_id: str) -> None:
        """Deletes an endpoint. Raises EndpointNotFound."""
        self._endpoints.delete(caller.tenant, endpoint_id)

    def test(self, caller: Caller, endpoint_id: str) -> Delivery:
        """A delivery of a test event. Raises EndpointNotFound, EndpointDisabled."""
        if self._usable(caller, endpoint_id).url is None:
            raise EndpointDisabled(f"the endpoint {endpoint_id} has no URL of its own: each job names one")
        return self._deliveries.test(caller.tenant, endpoint_id)

    # --- deliveries ------------------------------------------------------------------------------

    def deliveries(
        self, caller: Caller, limit: int, cursor: str | None, endpoint_id: str | None, state: DeliveryState | None
    ) -> tuple[Sequence[Delivery], str | None]:
        """A page of the caller's deliveries, the newest first, and the cursor of the next page.

        Raises InvalidRequest for a cursor that is not of this list.
        """
        scope = caller.tenant, "deliveries", endpoint_id or "", state or ""
        before = self._cursors.read(cursor, *scope) if cursor is not None else None
        found, position = self._deliveries.recent(caller.tenant, limit, before, endpoint_id, state)
        return found, self._cursors.write(position, *scope) if position else None

    def delivery(self, caller: Caller, webhook_id: str) -> Delivery:
        """The caller's delivery. Raises DeliveryNotFound."""
        return self._deliveries.get(caller.tenant, webhook_id)

    def redeliver(self, caller: Caller, webhook_id: str) -> Delivery:
        """Lets a delivery be tried now. Raises DeliveryNotFound, EndpointNotFound, EndpointDisabled."""
        found = self._deliveries.get(caller.tenant, webhook_id)
        self._usable(caller, found.endpoint_id)
        return self._deliveries.redeliver(caller.tenant, webhook_id)

    def _usable(self, caller: Caller, endpoint_id: str) -> Endpoint:
        """The endpoint, to which something may be sent. Raises EndpointNotFound, EndpointDisabled."""
        endpoint = self._endpoints.get(caller.tenant, endpoint_id)
        if endpoint.disabled_at:
            raise EndpointDisabled(
                f"the endpoint {endpoint_id} is disabled, as {endpoint.disabled_because}: enable it first"
            )
        return endpoint

    @cached_property
    def _cursors(self) -> Cursors:
        return Cursors(self._cursor_secret())
