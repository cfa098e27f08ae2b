"""What callers do with the endpoints of their tenant."""

from collections.abc import Container

from jobchain.aws.webhook_endpoints import Endpoint, EndpointStore
from jobchain.errors import InvalidRequest
from jobchain.webhooks.events import EventType
from jobchain.webhooks.urls import UnusableUrl, webhook_target
from jobchain_api.auth import Caller


class WebhookService:
    """The endpoints of a deployment whose webhooks are on. Every method raises Unavailable."""

    def __init__(self, endpoints: EndpointStore, chains: Container[str], *, local: bool = False) -> None:
        """`local` for a stack on the caller's own machine: see `webhook_target`."""
        self._endpoints = endpoints
        self._chains = chains
        self._local = local

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
        """A new secret of an endpoint. Raises EndpointNotFound."""
        return self._endpoints.rotate(caller.tenant, endpoint_id)

    def enable(self, caller: Caller, endpoint_id: str) -> Endpoint:
        """Lets a disabled endpoint get events again. Raises EndpointNotFound."""
        return self._endpoints.enable(caller.tenant, endpoint_id)

    def delete(self, caller: Caller, endpoint_id: str) -> None:
        """Deletes an endpoint. Raises EndpointNotFound."""
        self._endpoints.delete(caller.tenant, endpoint_id)
