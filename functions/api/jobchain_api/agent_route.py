"""The route of the Model Context Protocol. Its parts are imported by the first request for it."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body
from pydantic import JsonValue

from jobchain.chains.chain import Chain
from jobchain_api.service import JobService

if TYPE_CHECKING:
    from jobchain_api.mcp.endpoint import McpEndpoint


def add_agent_route(
    app: APIGatewayRestResolver, service: JobService, chains: Mapping[str, Chain], openapi: Callable[[], str]
) -> None:
    """Adds `POST /mcp` to `app`, whose context has the `caller` of the request. `openapi` gives the API's document."""

    @cache
    def endpoint() -> "McpEndpoint":
        from jobchain_api.mcp.endpoint import McpEndpoint  # noqa: PLC0415

        return McpEndpoint(service, chains, json.loads(openapi())["info"]["version"])

    @app.post("/mcp")
    def answer_agent(message: Annotated[dict[str, JsonValue], Body()]) -> Response[str]:
        status, answer = endpoint().answer(app.context["caller"], message, app.current_event.headers)
        # The gateway calls an answer without a type JSON, an empty one too.
        if answer is None:
            return Response(status.value, "text/plain", "")
        return Response(status.value, content_types.APPLICATION_JSON, json.dumps(answer, ensure_ascii=False))
