"""The routes of the endpoints of webhooks."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body

from jobchain.errors import WebhooksOff
from jobchain_api.auth import Caller
from jobchain_api.delivery_views import listed_delivery
from jobchain_api.webhook_views import (
    CreateEndpoint,
    EndpointList,
    SecretView,
    endpoint_created,
    endpoint_view,
)

if TYPE_CHECKING:
    from jobchain_api.webhook_service import WebhookService


def add_webhook_routes(app: APIGatewayRestResolver, webhooks: "WebhookService | None") -> None:
    """Adds the routes to `app`, whose context has the `caller` of the request. Without `webhooks` they are off."""

    @app.get("/webhooks")
    def list_endpoints() -> Response[str]:
        found = [endpoint_view(endpoint) for endpoint in on().list(caller())]
        return _json(HTTPStatus.OK, EndpointList(endpoints=found).model_dump_json())

    @app.post("/webhooks")
    def create_endpoint(request: Annotated[CreateEndpoint, Body()]) -> Response[str]:
        created = on().create(caller(), request.url, tuple(request.events), tuple(request.chains))
        return _json(HTTPStatus.CREATED, endpoint_created(*created).model_dump_json())

    @app.post("/webhooks/<endpoint_id>/rotate")
    def rotate_secret(endpoint_id: str) -> Response[str]:
        secret = on().rotate(caller(), endpoint_id)
        return _json(HTTPStatus.OK, SecretView(secret=secret).model_dump_json())

    @app.post("/webhooks/<endpoint_id>/enable")
    def enable_endpoint(endpoint_id: str) -> Response[str]:
        return _json(HTTPStatus.OK, endpoint_view(on().enable(caller(), endpoint_id)).model_dump_json())

    @app.delete("/webhooks/<endpoint_id>")
    def delete_endpoint(endpoint_id: str) -> Response[str]:
        on().delete(caller(), endpoint_id)
        # The gateway calls an answer without a type JSON, an empty one too.
        return Response(HTTPStatus.NO_CONTENT.value, "text/plain", "")

    @app.post("/webhooks/<endpoint_id>/test")
    def test_endpoint(endpoint_id: str) -> Response[str]:
        return _json(HTTPStatus.CREATED, listed_delivery(on().test(caller(), endpoint_id)).model_dump_json())

    def on() -> "WebhookService":
        return switched_on(webhooks)

    def caller() -> Caller:
        found: Caller = app.context["caller"]
        return found


def switched_on(webhooks: "WebhookService | None") -> "WebhookService":
    """The service. Raises WebhooksOff where there is none."""
    if webhooks is None:
        raise WebhooksOff("this deployment sends no webhooks: deploy it with the parameter Webhooks=on")
    return webhooks


def _json(status: HTTPStatus, body: str) -> Response[str]:
    return Response(status.value, content_types.APPLICATION_JSON, body)
