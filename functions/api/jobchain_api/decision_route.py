"""The route that decides a step for which a job waits."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body

from jobchain.chains.chain import Chain
from jobchain.observability import Logger
from jobchain_api.requests import DecideStep
from jobchain_api.service import JobService


def add_decision_route(
    app: APIGatewayRestResolver, service: JobService, logger: Logger, chains: Mapping[str, Chain]
) -> None:
    """Adds the route to `app`, whose context has the `caller` of the request."""

    @app.post("/jobs/<event_id>/steps/<step>/decision")
    def decide_step(event_id: str, step: str, request: Annotated[DecideStep, Body()]) -> Response[str]:
        from jobchain_api.views import job_view  # noqa: PLC0415  # a start that only creates jobs has none

        job = service.decide(app.context["caller"], event_id, step, request)
        logger.append_keys(event_id=event_id)
        body = job_view(job, chains).model_dump_json()
        return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body)
