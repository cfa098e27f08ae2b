"""The routes. They turn HTTP into calls of the service, and its results into views; `problems` answers its errors.

What shows jobs and the deployment is imported by the first request for it: a start that only creates jobs has none.
"""

from collections.abc import Mapping, Set
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from pydantic import BaseModel

from jobchain.aws.jobs import JobDetails
from jobchain.aws.listing import JobFilter
from jobchain.chains.chain import Chain
from jobchain.domain import Job, Status
from jobchain.errors import InvalidRequest, JobchainError
from jobchain.observability import Logger
from jobchain_api.agent_route import add_agent_route
from jobchain_api.auth import Caller
from jobchain_api.created_views import BatchAccepted, BatchView, JobCreated, ProblemView
from jobchain_api.current import NO_TYPE, current
from jobchain_api.decision_route import add_decision_route
from jobchain_api.delivery_routes import add_delivery_routes
from jobchain_api.event_routes import add_event_routes
from jobchain_api.parameters import (
    DEFAULT_PAGE,
    MAX_PAGE,
    IdempotencyKey,
    Include,
    Moment,
    Replay,
    StepName,
    Title,
    WithReplays,
)
from jobchain_api.problems import problem_of
from jobchain_api.queries import (
    DAY,
    FIRST_DAY,
    LAST_DAY,
    UsageBy,
    included,
    moment,
    wanted_days,
    wanted_metadata,
    wanted_replays,
)
from jobchain_api.requests import CreateJob, CreateJobs, ForkJob, checked_key
from jobchain_api.service import JobService
from jobchain_api.submitting import Submission
from jobchain_api.webhook_routes import add_webhook_routes
from jobchain_api.webhook_service import WebhookService


def add_routes(
    app: APIGatewayRestResolver,
    service: JobService,
    logger: Logger,
    chains: Mapping[str, Chain],
    webhooks: WebhookService | None = None,
) -> None:
    """Adds every route to `app`, whose context has the `caller` of the request. Without `webhooks` they are off."""
    _add_routes_of_jobs(app, service, logger)
    _add_routes_of_one_job(app, service, logger, chains)
    _add_routes_of_the_deployment(app, service, chains)
    add_event_routes(app, service, logger, chains)
    add_decision_route(app, service, logger, chains)
    add_webhook_routes(app, webhooks)
    add_delivery_routes(app, webhooks)
    add_agent_route(app, service, chains, openapi_document)


def _add_routes_of_jobs(app: APIGatewayRestResolver, service: JobService, logger: Logger) -> None:
    @app.post("/jobs")
    def create_job(request: Annotated[CreateJob, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
        submission = service.submit(_caller(app), request, _checked_header(idempotency_key))
        logger.append_keys(event_id=submission.job.event_id)
        return _created(submission, "" if app.current_event.path.endswith("/") else "jobs/", service)

    @app.post("/jobs/batch")
    def create_jobs(request: Annotated[CreateJobs, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
        outcomes = service.submit_batch(_caller(app), request.jobs, _checked_header(idempotency_key))
        request_id = app.current_event.request_context.request_id
        results = [_result(outcome, request_id) for outcome in outcomes]
        logger.append_keys(jobs=len(results), refused=sum(isinstance(result, ProblemView) for result in results))
        body = BatchView(results=results).model_dump_json(exclude_unset=True)
        accepted = [outcome.job for outcome in outcomes if isinstance(outcome, Submission)]
        # None of them is read in vain: the last one has probably ended by then.
        headers = {"Retry-After": str(max(map(service.retry_after.of_new, accepted)))} if accepted else None
        return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body, headers=headers)

    @app.get("/jobs")
    def list_jobs(
        status: Annotated[Status | None, Query(description="Filter by status.")] = None,
        job_name: Annotated[str | None, Query(max_length=64, description="Filter by chain.")] = None,
        title: Title = None,
        created_after: Moment = None,
        created_before: Moment = None,
        replays: WithReplays = None,
        replay: Replay = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most jobs of a page.")] = DEFAULT_PAGE,
        cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the last page.")] = None,
    ) -> Response[str]:
        from jobchain_api.views import JobList, listed_job  # noqa: PLC0415

        wanted = JobFilter(
            status=status,
            job_name=job_name,
            title=title,
            metadata=wanted_metadata(app.current_event),
            created_after=moment("created_after", created_after),
            created_before=moment("created_before", created_before),
            **wanted_replays(replays),
            replay=replay,
        )
        jobs, next_cursor = service.list(_caller(app), limit, cursor, wanted)
        return _current(app, JobList(jobs=[listed_job(job) for job in jobs], next_cursor=next_cursor))


def _add_routes_of_one_job(
    app: APIGatewayRestResolver, service: JobService, logger: Logger, chains: Mapping[str, Chain]
) -> None:
    @app.get("/jobs/<event_id>")
    def get_job(event_id: str, include: Include = None, step: StepName = None) -> Response[str]:
        parts = included(include)
        details = None
        if parts:
            # Failed calls tell which steps without an output have called the model.
            wants_calls = not parts.isdisjoint(("attempts", "prompts"))
            wanted = {"attempts": wants_calls, "definitions": "prompts" in parts}
            details = service.details(_caller(app), event_id, **wanted)
        job = details.job if details else service.get(_caller(app), event_id)
        logger.append_keys(event_id=event_id)
        headers = {} if job.status.final else {"Retry-After": str(service.retry_after.of(job))}
        return _current(app, _view_of(job, chains, details, parts, step), headers)

    @app.post("/jobs/<event_id>/cancel")
    def cancel_job(event_id: str) -> Response[str]:
        return _changed(service.cancel(_caller(app), event_id))

    @app.post("/jobs/<event_id>/retry")
    def retry_job(event_id: str) -> Response[str]:
        return _changed(service.retry(_caller(app), event_id))

    @app.post("/jobs/<event_id>/fork")
    def fork_job(
        event_id: str, request: Annotated[ForkJob, Body()], idempotency_key: IdempotencyKey = None
    ) -> Response[str]:
        submission = service.fork(_caller(app), event_id, request, _checked_header(idempotency_key))
        logger.append_keys(event_id=submission.job.event_id, forked_from=event_id)
        return _created(submission, "../../" if app.current_event.path.endswith("/") else "../", service)

    @app.delete("/jobs/<event_id>")
    def delete_job(event_id: str) -> Response[str]:
        service.delete(_caller(app), event_id)
        logger.append_keys(event_id=event_id)
        return Response(HTTPStatus.NO_CONTENT.value, NO_TYPE, "")

    def _changed(job: Job) -> Response[str]:
        logger.append_keys(event_id=job.event_id)
        return _json(HTTPStatus.OK, _view_of(job, chains))


def _add_routes_of_the_deployment(
    app: APIGatewayRestResolver, service: JobService, chains: Mapping[str, Chain]
) -> None:
    @app.get("/chains")
    def list_chains() -> Response[str]:
        from jobchain_api.system_views import ChainList  # noqa: PLC0415

        return _current(app, ChainList.of(chains))

    @app.get("/stats")
    def get_stats() -> Response[str]:
        from jobchain_api.system_views import StatsView  # noqa: PLC0415

        return _current(app, StatsView.of(service.stats(_caller(app))))

    @app.get("/usage")
    def get_usage(
        first: Annotated[str | None, Query(alias="from", description=FIRST_DAY, json_schema_extra=DAY)] = None,
        last: Annotated[str | None, Query(alias="to", description=LAST_DAY, json_schema_extra=DAY)] = None,
        by: Annotated[UsageBy | None, Query(description="Group each day's usage by this.")] = None,
    ) -> Response[str]:
        from jobchain_api.usage_views import usage_view  # noqa: PLC0415

        days = wanted_days(first, last, service.today)
        found, following = service.usage(_caller(app), *days)
        return _current(app, usage_view(found, following, days[1], by))

    @app.get("/health")
    def health() -> Response[str]:
        from jobchain_api.system_views import HealthView  # noqa: PLC0415

        return _json(HTTPStatus.OK, HealthView.of(service.health()))

    @app.get("/openapi.json")
    def openapi() -> Response[str]:
        return current(app, openapi_document(), {"Cache-Control": "no-cache"})


@cache
def openapi_document() -> str:
    """The OpenAPI document of these routes, as `make openapi` wrote it."""
    return Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")


def _caller(app: APIGatewayRestResolver) -> Caller:
    caller: Caller = app.context["caller"]
    return caller


def _checked_header(idempotency_key: str | None) -> str | None:
    try:
        return None if idempotency_key is None else checked_key(idempotency_key)
    except ValueError as error:
        raise InvalidRequest({"Idempotency-Key": str(error)}) from None


def _view_of(
    job: Job,
    chains: Mapping[str, Chain],
    details: JobDetails | None = None,
    include: Set[str] = frozenset(),
    step: str | None = None,
) -> BaseModel:
    from jobchain_api.views import job_view  # noqa: PLC0415

    return job_view(job, chains, details, include, step)


def _created(submission: Submission, parent: str, service: JobService) -> Response[str]:
    """The answer to an accepted request. `parent` is the path of jobs, relative to the request's."""
    job = submission.job
    # Relative: only the caller knows the prefix of its URL, such as a stage or a custom domain's base path.
    headers = {"Location": f"{parent}{job.event_id}", "Retry-After": str(service.retry_after.of_new(job))}
    status = HTTPStatus.CREATED
    if submission.replayed:
        status = HTTPStatus.OK
        headers["Idempotent-Replayed"] = "true"
    return _json(status, JobCreated(event_id=job.event_id, status=job.status, created_at=job.created_at), headers)


def _result(outcome: Submission | JobchainError, request_id: str) -> BatchAccepted | ProblemView:
    if isinstance(outcome, JobchainError):
        return ProblemView.model_validate(problem_of(outcome, request_id))
    job = outcome.job
    return BatchAccepted(event_id=job.event_id, status=job.status, created_at=job.created_at, replayed=outcome.replayed)


def _current(app: APIGatewayRestResolver, view: BaseModel, headers: Mapping[str, str] | None = None) -> Response[str]:
    return current(app, view.model_dump_json(), headers or {})


def _json(status: HTTPStatus, view: BaseModel, headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status.value, content_types.APPLICATION_JSON, view.model_dump_json(), headers=headers)
