"""The routes. They turn HTTP into calls of the service and back; errors become HTTP in `problems`."""

import hashlib
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.middlewares.openapi_validation import OpenAPIRequestValidationMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestUnsupportedContentType
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Query
from aws_lambda_powertools.event_handler.types import EventHandlerInstance
from pydantic import BaseModel
from pydantic_core import from_json

from jobchain.chains import CHAINS
from jobchain.domain import Job, Status
from jobchain.errors import BodyTooLarge, InvalidRequest, JobchainError, MalformedBody, Unavailable
from jobchain.observability import Logger
from jobchain_api import contract
from jobchain_api.auth import Authenticate, Caller, refuse_foreign
from jobchain_api.problems import method_not_allowed, problem_of, register_problems
from jobchain_api.schemas import (
    BatchAccepted,
    BatchView,
    ChainList,
    ChainView,
    CreateJob,
    CreateJobs,
    HealthView,
    JobCreated,
    JobList,
    JobView,
    ListedJob,
    ProblemView,
    StatsView,
)
from jobchain_api.service import IDEMPOTENCY_KEY, JobService, Submission

POLL_SECONDS = 1
"""How long a caller is asked to wait before it looks at an unfinished job again."""

MAX_BODY_CHARACTERS = 5_000_000
"""The longest body, all of a batch: what Lambda takes of it is 6 MB, once it is quoted in an event.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

MAX_PAGE = 100
DEFAULT_PAGE = 20

_ALLOWED = {
    "/jobs": ("GET", "POST"),
    "/jobs/batch": ("POST",),
    "/jobs/<event_id>": ("GET", "DELETE"),
    "/jobs/<event_id>/cancel": ("POST",),
    "/jobs/<event_id>/retry": ("POST",),
    "/chains": ("GET",),
    "/stats": ("GET",),
    "/health": ("GET",),
    "/openapi.json": ("GET",),
}
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_OPEN = ("/health", "/openapi.json")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: 1 to 255 visible ASCII characters, such as a UUID.",
        json_schema_extra={"pattern": IDEMPOTENCY_KEY},
    ),
]


class _JsonValidation(OpenAPIRequestValidationMiddleware):
    """Validates requests, and takes bodies of JSON alone: the framework would read forms too.

    A body has to say that it is JSON: a page can send any other to any server, without asking it first.
    """

    def _get_body(self, app: EventHandlerInstance) -> Any:
        content_type = app.current_event.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if content_type != content_types.APPLICATION_JSON and (content_type or app.current_event.body):
            raise RequestUnsupportedContentType(content_type, errors=[])
        return app.current_event.json_body


def create_app(service: JobService, authenticate: Authenticate, logger: Logger) -> APIGatewayRestResolver:
    """The resolver with every route, on top of `service`; `authenticate` tells who a request comes from."""
    app = APIGatewayRestResolver(json_body_deserializer=read_json)

    def let_in(app: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[Any]:
        if app.current_event.path.rstrip("/") not in _OPEN:
            caller = authenticate(app.current_event.headers.get("Authorization", ""))
            refuse_foreign(caller, app.current_event.http_method, app.current_event.headers)
            app.append_context(caller=caller)  # type: ignore[no-untyped-call]
            logger.append_keys(tenant=caller.tenant)
        if "\n" in app.current_event.path:
            # The framework's patterns end with `$`, which lets a newline at the end pass.
            raise NotFoundError
        return next_middleware(app)

    # In this order: whoever may not come in learns nothing of what else is wrong.
    app.use(middlewares=[let_in, _JsonValidation()])  # type: ignore[no-untyped-call]
    register_problems(app, logger)
    _add_routes_of_jobs(app, service, logger)
    _add_routes_of_one_job(app, service, logger)
    _add_routes_about_the_system(app, service)
    for path, allowed in _ALLOWED.items():
        refuse = method_not_allowed(app, ", ".join(allowed))
        app.route(path, method=sorted(_METHODS - set(allowed)), include_in_schema=False)(refuse)
    return app


def _add_routes_of_jobs(app: APIGatewayRestResolver, service: JobService, logger: Logger) -> None:
    @app.post("/jobs", **contract.CREATE_JOB)
    def create_job(request: Annotated[CreateJob, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
        submission = service.submit(_caller(app), request, idempotency_key)
        job = submission.job
        logger.append_keys(event_id=job.event_id)
        # Relative, as only the caller knows what its URL begins with: a stage, a domain's base path, an emulator's.
        parent = "" if app.current_event.path.endswith("/") else "jobs/"
        headers = {"Location": f"{parent}{job.event_id}", "Retry-After": str(POLL_SECONDS)}
        status = HTTPStatus.CREATED
        if submission.replayed:
            status = HTTPStatus.OK
            headers["Idempotent-Replayed"] = "true"
        created = JobCreated(event_id=job.event_id, status=job.status, created_at=job.created_at)
        return _json(status, created, headers)

    @app.post("/jobs/batch", **contract.CREATE_JOBS)
    def create_jobs(request: Annotated[CreateJobs, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
        outcomes = service.submit_batch(_caller(app), request.jobs, idempotency_key)
        request_id = app.current_event.request_context.request_id
        results = [_result(outcome, request_id) for outcome in outcomes]
        logger.append_keys(jobs=len(results), refused=sum(isinstance(result, ProblemView) for result in results))
        body = BatchView(results=results).model_dump_json(exclude_unset=True)
        return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body)

    @app.get("/jobs", **contract.LIST_JOBS)
    def list_jobs(
        status: Annotated[Status | None, Query(description="Only jobs that stand so.")] = None,
        job_name: Annotated[str | None, Query(max_length=64, description="Only jobs of this chain.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most jobs of a page.")] = DEFAULT_PAGE,
        cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the last page.")] = None,
    ) -> Response[str]:
        jobs, next_cursor = service.list(_caller(app), limit, cursor, status, job_name)
        return _current(app, JobList(jobs=[ListedJob.of(job) for job in jobs], next_cursor=next_cursor))


def _add_routes_of_one_job(app: APIGatewayRestResolver, service: JobService, logger: Logger) -> None:
    @app.get("/jobs/<event_id>", **contract.GET_JOB)
    def get_job(event_id: str) -> Response[str]:
        job = service.get(_caller(app), event_id)
        logger.append_keys(event_id=event_id)
        return _current(app, JobView.of(job), {} if job.status.final else {"Retry-After": str(POLL_SECONDS)})

    @app.post("/jobs/<event_id>/cancel", **contract.CANCEL_JOB)
    def cancel_job(event_id: str) -> Response[str]:
        return _moved(service.cancel(_caller(app), event_id))

    @app.post("/jobs/<event_id>/retry", **contract.RETRY_JOB)
    def retry_job(event_id: str) -> Response[str]:
        return _moved(service.retry(_caller(app), event_id))

    @app.delete("/jobs/<event_id>", **contract.DELETE_JOB)
    def delete_job(event_id: str) -> Response[str]:
        service.delete(_caller(app), event_id)
        logger.append_keys(event_id=event_id)
        return Response(HTTPStatus.NO_CONTENT.value, body="")

    def _moved(job: Job) -> Response[str]:
        logger.append_keys(event_id=job.event_id)
        return _json(HTTPStatus.OK, JobView.of(job))


def _add_routes_about_the_system(app: APIGatewayRestResolver, service: JobService) -> None:
    @app.get("/chains", **contract.LIST_CHAINS)
    def list_chains() -> Response[str]:
        return _current(app, ChainList(chains=[ChainView.of(chain) for chain in CHAINS.values()]))

    @app.get("/stats", **contract.GET_STATS)
    def get_stats() -> Response[str]:
        return _current(app, StatsView.of(service.stats(_caller(app))))

    @app.get("/health", **contract.GET_HEALTH)
    def health() -> Response[str]:
        if outages := service.outages():
            raise Unavailable("; ".join(outages.values()))
        return _json(HTTPStatus.OK, HealthView(model=service.model()))

    @cache
    def document() -> str:
        return openapi_document(app)

    @app.get("/openapi.json", **contract.GET_CONTRACT)
    def openapi() -> Response[str]:
        return _current_text(app, document(), {"Cache-Control": "no-cache"})


def openapi_document(app: APIGatewayRestResolver) -> str:
    """The OpenAPI document of the app's routes, as JSON text. It takes a while: it is made when it is asked for."""
    return contract.document(app, open_paths=_OPEN)


def read_json(body: str) -> Any:
    """A request's body as Python values. Raises BodyTooLarge, MalformedBody, InvalidRequest."""
    if len(body) > MAX_BODY_CHARACTERS:
        raise BodyTooLarge(f"the body has {len(body)} characters: the most is {MAX_BODY_CHARACTERS}")
    # The gateway puts this for each byte that is not UTF-8: what was lost must not be taken for the text.
    if "\N{REPLACEMENT CHARACTER}" in body:
        raise MalformedBody("the body is not UTF-8: encode it so; a U+FFFD that is meant is written \\ufffd")
    # A parser may ignore a byte order mark: https://www.rfc-editor.org/rfc/rfc8259#section-8.1
    body = body.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    try:
        # Unlike json.loads it refuses NaN, lone surrogates and nesting without end.
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBody(str(error)) from None
    if not isinstance(value, dict):
        # Of a list the framework would take the last entry, and nobody would know of the others.
        raise InvalidRequest({"body": "must be a JSON object"})
    return value


def _caller(app: APIGatewayRestResolver) -> Caller:
    caller: Caller = app.context["caller"]
    return caller


def _result(outcome: Submission | JobchainError, request_id: str) -> BatchAccepted | ProblemView:
    if isinstance(outcome, JobchainError):
        return ProblemView.model_validate(problem_of(outcome, request_id))
    job = outcome.job
    return BatchAccepted(event_id=job.event_id, status=job.status, created_at=job.created_at, replayed=outcome.replayed)


def _current(app: APIGatewayRestResolver, view: BaseModel, headers: dict[str, str] | None = None) -> Response[str]:
    return _current_text(app, view.model_dump_json(), headers or {})


def _current_text(app: APIGatewayRestResolver, body: str, headers: dict[str, str]) -> Response[str]:
    """A 200 with an `ETag`, or a 304 for a caller that has this very body already."""
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    known = app.current_event.headers.get("If-None-Match", "")
    if etag in known or known.strip() == "*":
        return Response(HTTPStatus.NOT_MODIFIED.value, body="", headers={**headers, "ETag": etag})
    return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body, headers={**headers, "ETag": etag})


def _json(status: HTTPStatus, view: BaseModel, headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status.value, content_types.APPLICATION_JSON, view.model_dump_json(), headers=headers)
