"""The routes of deliveries of webhooks."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Query

from jobchain.aws.deliveries import DeliveryState
from jobchain_api.auth import Caller
from jobchain_api.current import current
from jobchain_api.delivery_views import DeliveryList, delivery_view, listed_delivery
from jobchain_api.parameters import DEFAULT_PAGE, MAX_PAGE
from jobchain_api.webhook_routes import switched_on

if TYPE_CHECKING:
    from jobchain_api.webhook_service import WebhookService


def add_delivery_routes(app: APIGatewayRestResolver, webhooks: "WebhookService | None") -> None:
    """Adds the routes to `app`, whose context has the `caller` of the request. Without `webhooks` they are off."""

    @app.get("/deliveries")
    def list_deliveries(
        endpoint_id: Annotated[
            str | None, Query(max_length=64, pattern="^[a-z0-9_]+$", description="Filter by endpoint.")
        ] = None,
        state: Annotated[DeliveryState | None, Query(description="Filter by state.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most deliveries of a page.")] = DEFAULT_PAGE,
        cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the last page.")] = None,
    ) -> Response[str]:
        found, following = on().deliveries(caller(), limit, cursor, endpoint_id, state)
        listed = DeliveryList(deliveries=[listed_delivery(one) for one in found], next_cursor=following)
        return current(app, listed.model_dump_json())

    @app.get("/deliveries/<webhook_id>")
    def get_delivery(webhook_id: str) -> Response[str]:
        return current(app, delivery_view(on().delivery(caller(), webhook_id)).model_dump_json())

    @app.post("/deliveries/<webhook_id>/redeliver")
    def redeliver(webhook_id: str) -> Response[str]:
        body = listed_delivery(on().redeliver(caller(), webhook_id)).model_dump_json()
        return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body)

    def on() -> "WebhookService":
        return switched_on(webhooks)

    def caller() -> Caller:
        found: Caller = app.context["caller"]
        return found
