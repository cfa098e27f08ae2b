"""Errors as callers see them: RFC 9457 problems. This is the one place that turns an error into HTTP."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from pydantic import JsonValue

from jobchain.errors import (
    BodyTooLarge,
    IdempotencyConflict,
    InvalidRequest,
    JobchainError,
    JobIsFinal,
    JobIsNotFinal,
    JobNotFound,
    MalformedBody,
    Unavailable,
)
from jobchain.observability import Logger, describe
from jobchain_api.schemas import explain

CONTENT_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = 5

# What the caller reads for each of our errors: status, type, title.
_KINDS: dict[type[JobchainError], tuple[HTTPStatus, str, str]] = {
    MalformedBody: (HTTPStatus.BAD_REQUEST, "malformed-body", "The body is not JSON"),
    JobNotFound: (HTTPStatus.NOT_FOUND, "job-not-found", "There is no such job"),
    JobIsFinal: (HTTPStatus.CONFLICT, "job-is-final", "The job has ended"),
    JobIsNotFinal: (HTTPStatus.CONFLICT, "job-is-not-final", "The job has not ended"),
    BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"),
    InvalidRequest: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "The request does not fit"),
    IdempotencyConflict: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency-conflict",
        "The idempotency key is taken",
    ),
    Unavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Try again in a moment"),
}


def problem(
    app: APIGatewayRestResolver,
    status: HTTPStatus,
    kind: str,
    title: str,
    detail: str,
    *,
    errors: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    """A problem that answers the request at hand; `errors` says where: why."""
    body: dict[str, JsonValue] = {
        "type": f"urn:jobchain:problem:{kind}",
        "title": title,
        "status": status.value,
        "detail": detail,
        "request_id": app.current_event.request_context.request_id,
    }
    if errors:
        body["errors"] = dict(errors)
    return Response(status.value, CONTENT_TYPE, json.dumps(body), headers=dict(headers or {}))


def method_not_allowed(app: APIGatewayRestResolver, allowed: str) -> Callable[..., Response[str]]:
    """A route's handler that refuses the methods that the path does not have."""

    def refuse(event_id: str = "") -> Response[str]:  # noqa: ARG001  # some of the paths have one
        detail = f"this path answers to {allowed}"
        status = HTTPStatus.METHOD_NOT_ALLOWED
        return problem(app, status, "method-not-allowed", "Method not allowed", detail, headers={"Allow": allowed})

    return refuse


def register_problems(app: APIGatewayRestResolver, logger: Logger) -> None:
    """Has `app` answer every error with a problem."""

    def ours(error: JobchainError) -> Response[str]:
        status, kind, title = _KINDS[type(error)]
        errors = error.errors if isinstance(error, InvalidRequest) else None
        retry = {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)} if isinstance(error, Unavailable) else None
        if isinstance(error, Unavailable):
            logger.warning("unavailable", extra=describe(error.__cause__ or error))
        return problem(app, status, kind, title, str(error), errors=errors, headers=retry)

    app.exception_handler(JobchainError)(ours)

    @app.exception_handler(RequestValidationError)
    def frameworks(error: RequestValidationError) -> Response[str]:
        return ours(InvalidRequest(explain(error.errors())))

    @app.exception_handler(RequestUnsupportedContentType)
    def other_content_type(_error: RequestUnsupportedContentType) -> Response[str]:
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        detail = "send the body as application/json"
        return problem(app, status, "unsupported-content-type", "Unsupported content type", detail)

    @app.exception_handler(NotFoundError)
    def no_such_path(_error: NotFoundError) -> Response[str]:
        detail = "no route has this path"
        return problem(app, HTTPStatus.NOT_FOUND, "path-not-found", "There is no such path", detail)

    @app.exception_handler(Exception)
    def unexpected(error: Exception) -> Response[str]:
        logger.error("unexpected error", extra=describe(error))
        detail = "this is our fault: report the request_id"
        return problem(app, HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "Internal error", detail)
