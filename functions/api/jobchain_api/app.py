"""The routes. They turn HTTP into calls of the service and back; errors become HTTP in `problems`."""

import hashlib
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Header
from pydantic_core import from_json

from jobchain.errors import BodyTooLarge, MalformedBody, Unavailable
from jobchain.observability import Logger
from jobchain_api.problems import method_not_allowed, register_problems
from jobchain_api.schemas import CreateJob, HealthView, JobCreated, JobView
from jobchain_api.service import JobService

LOCAL_TENANT = "local"
POLL_SECONDS = 1
"""How long a caller is asked to wait before it looks at an unfinished job again."""

# A text of 100,000 characters of any script, each escaped as \uXXXX, fits in with its metadata.
MAX_BODY_CHARACTERS = 1_500_000

_ALLOWED = {
    "/jobs": ("POST",),
    "/jobs/<event_id>": ("GET", "DELETE"),
    "/jobs/<event_id>/cancel": ("POST",),
    "/jobs/<event_id>/retry": ("POST",),
    "/health": ("GET",),
}
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def create_app(service: JobService, logger: Logger) -> APIGatewayRestResolver:
    """The resolver with every route, on top of `service`."""
    app = APIGatewayRestResolver(enable_validation=True, json_body_deserializer=read_json)
    register_problems(app, logger)
    _add_routes_of_jobs(app, service, logger)
    _add_routes_of_one_job(app, service, logger)
    for path, allowed in _ALLOWED.items():
        refuse = method_not_allowed(app, ", ".join(allowed))
        app.route(path, method=sorted(_METHODS - set(allowed)), include_in_schema=False)(refuse)
    return app


def _add_routes_of_jobs(app: APIGatewayRestResolver, service: JobService, logger: Logger) -> None:
    @app.post("/jobs", status_code=HTTPStatus.CREATED.value)
    def create_job(
        request: Annotated[CreateJob, Body()],
        idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
    ) -> Response[str]:
        submission = service.submit(LOCAL_TENANT, request, idempotency_key)
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
        return _json(status, created.model_dump_json(), headers)

    @app.get("/health")
    def health() -> Response[str]:
        if outages := service.outages():
            raise Unavailable("; ".join(outages.values()))
        return _json(HTTPStatus.OK, HealthView().model_dump_json())


def _add_routes_of_one_job(app: APIGatewayRestResolver, service: JobService, logger: Logger) -> None:
    @app.get("/jobs/<event_id>")
    def get_job(event_id: str) -> Response[str]:
        job = service.get(LOCAL_TENANT, event_id)
        logger.append_keys(event_id=event_id)
        body = JobView.of(job).model_dump_json()
        headers = {"ETag": f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'}
        if not job.status.final:
            headers["Retry-After"] = str(POLL_SECONDS)
        if headers["ETag"] in app.current_event.headers.get("If-None-Match", ""):
            return Response(HTTPStatus.NOT_MODIFIED.value, body="", headers=headers)
        return _json(HTTPStatus.OK, body, headers)

    @app.post("/jobs/<event_id>/cancel")
    def cancel_job(event_id: str) -> Response[str]:
        job = service.cancel(LOCAL_TENANT, event_id)
        logger.append_keys(event_id=event_id)
        return _json(HTTPStatus.OK, JobView.of(job).model_dump_json())

    @app.post("/jobs/<event_id>/retry")
    def retry_job(event_id: str) -> Response[str]:
        job = service.retry(LOCAL_TENANT, event_id)
        logger.append_keys(event_id=event_id)
        return _json(HTTPStatus.OK, JobView.of(job).model_dump_json())

    @app.delete("/jobs/<event_id>", status_code=HTTPStatus.NO_CONTENT.value)
    def delete_job(event_id: str) -> Response[str]:
        service.delete(LOCAL_TENANT, event_id)
        logger.append_keys(event_id=event_id)
        return Response(HTTPStatus.NO_CONTENT.value, body="")


def read_json(body: str) -> Any:
    """A request's body as Python values. Raises BodyTooLarge, MalformedBody."""
    if len(body) > MAX_BODY_CHARACTERS:
        raise BodyTooLarge(f"the body has {len(body)} characters: the most is {MAX_BODY_CHARACTERS}")
    try:
        # Unlike json.loads it refuses NaN, lone surrogates and nesting without end.
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBody(str(error)) from None


def _json(status: HTTPStatus, body: str, headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status.value, content_types.APPLICATION_JSON, body, headers=headers)
