"""The route of a job's events."""

from collections.abc import Mapping
from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from jobchain.chains.chain import Chain
from jobchain.observability import Logger
from jobchain_api.auth import Caller
from jobchain_api.current import current
from jobchain_api.parameters import After
from jobchain_api.service import JobService
from jobchain_api.usable import usable

MAX_EVENTS = 1000
DEFAULT_EVENTS = 100


def add_event_routes(
    app: APIGatewayRestResolver, service: JobService, logger: Logger, chains: Mapping[str, Chain]
) -> None:
    """Adds the route to `app`, whose context has the `caller` of the request."""

    @app.get("/jobs/<event_id>/events")
    def list_events(
        event_id: str,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="The most events of a page.")] = DEFAULT_EVENTS,
    ) -> Response[str]:
        from jobchain_api.event_views import event_page  # noqa: PLC0415

        caller: Caller = app.context["caller"]
        page = service.history(caller, event_id, after, limit)
        logger.append_keys(event_id=event_id)
        headers = {}
        if not page.more and not page.job.status.final:
            chain = usable(chains.get(page.job.job_name))
            done = {step.name for step in page.job.steps}
            left = sum(step.name not in done for step in chain.steps) if chain else 0
            headers = {"Retry-After": str(service.retry_after.of_next_event(page.job, left))}
        return current(app, event_page(page).model_dump_json(), headers)
