"""What the clients do about endpoints and deliveries, without doing it: as `flows`."""

from collections.abc import Iterable

from jobchain_client.errors import NotFound
from jobchain_client.flows import MAX_PAGE, Emit, Flow, Flows, Stream, _error_in, _read, _segment
from jobchain_client.webhook_resources import Delivery, Endpoint, NewEndpoint

_UNSURE = "it may have been carried out: list the endpoints before you repeat it"


class WebhookFlows(Flows):
    """The flows of endpoints and deliveries of one API."""

    def list_endpoints(self) -> Flow[list[Endpoint]]:
        reply = yield from self._ask("GET", "/webhooks")
        return _read(reply.answer, lambda raw: [Endpoint.of(endpoint) for endpoint in raw["endpoints"]])

    def create_endpoint(self, url: str, events: Iterable[str], chains: Iterable[str]) -> Flow[NewEndpoint]:
        body = {"url": url, "events": list(events), "chains": list(chains)}
        reply = yield from self._ask("POST", "/webhooks", body=body, unsure=_UNSURE)
        return _read(reply.answer, NewEndpoint.of)

    def rotate_secret(self, endpoint_id: str) -> Flow[str]:
        # A second rotation would end the secret that the receiver has.
        reply = yield from self._ask("POST", f"{_endpoint(endpoint_id)}/rotate", unsure=_UNSURE)
        return _read(reply.answer, lambda raw: str(raw["secret"]))

    def enable_endpoint(self, endpoint_id: str) -> Flow[Endpoint]:
        reply = yield from self._ask("POST", f"{_endpoint(endpoint_id)}/enable")
        return _read(reply.answer, Endpoint.of)

    def delete_endpoint(self, endpoint_id: str) -> Flow[None]:
        reply = yield from self._try("DELETE", _endpoint(endpoint_id))
        error = _error_in(reply.answer)
        # A try whose answer was lost may have deleted it.
        if error and not (reply.repeated and isinstance(error, NotFound)):
            raise error

    def test_endpoint(self, endpoint_id: str) -> Flow[Delivery]:
        reply = yield from self._ask("POST", f"{_endpoint(endpoint_id)}/test")
        return _read(reply.answer, Delivery.of)

    def deliveries(self, endpoint_id: str | None, state: str | None, limit: int | None) -> Stream[Delivery]:
        left = limit
        named = {"endpoint_id": endpoint_id, "state": state}
        query = {name: value for name, value in named.items() if value}
        while left is None or left > 0:
            query["limit"] = str(MAX_PAGE if left is None else min(left, MAX_PAGE))
            reply = yield from self._ask("GET", "/deliveries", query=query)
            found, cursor = _read(
                reply.answer, lambda raw: (list(map(Delivery.of, raw["deliveries"])), raw.get("next_cursor"))
            )
            for delivery in found[:left]:
                yield Emit(delivery)
            if not cursor:
                return
            query["cursor"] = cursor
            left = None if left is None else left - len(found)

    def delivery(self, webhook_id: str) -> Flow[Delivery]:
        reply = yield from self._ask("GET", _delivery(webhook_id))
        return _read(reply.answer, Delivery.of)

    def redeliver(self, webhook_id: str) -> Flow[Delivery]:
        reply = yield from self._ask("POST", f"{_delivery(webhook_id)}/redeliver")
        return _read(reply.answer, Delivery.of)


def _endpoint(endpoint_id: str) -> str:
    return f"/webhooks/{_segment(endpoint_id, 'an endpoint')}"


def _delivery(webhook_id: str) -> str:
    return f"/deliveries/{_segment(webhook_id, 'a delivery')}"
