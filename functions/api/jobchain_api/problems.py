"""Errors as callers get them: RFC 9457 problems. No other module turns an error into HTTP."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from pydantic import JsonValue

from jobchain.aws.outage_log import log_unavailable
from jobchain.errors import (
    BodyTooLarge,
    DecidedAlready,
    DecisionTooLate,
    DeliveryNotFound,
    EndpointDisabled,
    EndpointNotFound,
    ForeignOrigin,
    IdempotencyConflict,
    InvalidRequest,
    JobCannotBeForked,
    JobchainError,
    JobIsFinal,
    JobIsNotFinal,
    JobNotFound,
    LimitReached,
    MalformedBody,
    Misconfigured,
    StepDoesNotWait,
    TooManyEndpoints,
    Unauthorized,
    Unavailable,
    WebhooksOff,
)
from jobchain.observability import Logger, describe
from jobchain_api.errors import PayloadTooLarge
from jobchain_api.validation import explain

CONTENT_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, the last part of its type, and its title."""

    status: HTTPStatus
    name: str
    title: str


_TOO_LARGE = Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large")

INTERNAL_ERROR = Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "Internal error")

KINDS: dict[type[JobchainError], Kind] = {
    MalformedBody: Kind(HTTPStatus.BAD_REQUEST, "malformed-body", "The body is not JSON"),
    Unauthorized: Kind(HTTPStatus.UNAUTHORIZED, "unauthorized", "A valid API key is required"),
    ForeignOrigin: Kind(HTTPStatus.FORBIDDEN, "foreign-origin", "The request comes from a page of another origin"),
    JobNotFound: Kind(HTTPStatus.NOT_FOUND, "job-not-found", "There is no such job"),
    JobIsFinal: Kind(HTTPStatus.CONFLICT, "job-is-final", "The job is final"),
    JobIsNotFinal: Kind(HTTPStatus.CONFLICT, "job-is-not-final", "The job is not final"),
    StepDoesNotWait: Kind(HTTPStatus.CONFLICT, "step-does-not-wait", "The step does not wait for a decision"),
    DecidedAlready: Kind(HTTPStatus.CONFLICT, "decided-already", "The step was decided otherwise"),
    DecisionTooLate: Kind(HTTPStatus.GONE, "decision-too-late", "The time to decide is over"),
    JobCannotBeForked: Kind(HTTPStatus.CONFLICT, "job-cannot-be-forked", "The job cannot be forked"),
    EndpointNotFound: Kind(HTTPStatus.NOT_FOUND, "endpoint-not-found", "There is no such endpoint"),
    EndpointDisabled: Kind(HTTPStatus.CONFLICT, "endpoint-disabled", "Nothing is sent to the endpoint"),
    DeliveryNotFound: Kind(HTTPStatus.NOT_FOUND, "delivery-not-found", "There is no such delivery"),
    TooManyEndpoints: Kind(HTTPStatus.CONFLICT, "too-many-endpoints", "There are too many endpoints"),
    WebhooksOff: Kind(HTTPStatus.CONFLICT, "webhooks-off", "This deployment sends no webhooks"),
    BodyTooLarge: _TOO_LARGE,
    PayloadTooLarge: _TOO_LARGE,
    InvalidRequest: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "The request is invalid"),
    IdempotencyConflict: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-conflict", "The idempotency key was used for another job"
    ),
    LimitReached: Kind(HTTPStatus.TOO_MANY_REQUESTS, "limit-reached", "A limit is reached"),
    Unavailable: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Try again in a moment"),
    Misconfigured: INTERNAL_ERROR,
}
"""The kind of problem for each error that a caller can get."""

PATH_NOT_FOUND = Kind(HTTPStatus.NOT_FOUND, "path-not-found", "There is no such path")
METHOD_NOT_ALLOWED = Kind(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
UNSUPPORTED_CONTENT_TYPE = Kind(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-content-type", "Unsupported content type"
)
SEND_JSON = "send the body as JSON, with the header `Content-Type: application/json`"


def problem(kind: Kind, detail: str, request_id: str, **more: JsonValue) -> dict[str, JsonValue]:
    """The body of a problem; `more` are its extension members."""
    return {
        "type": f"urn:jobchain:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status.value,
        "detail": detail,
        "request_id": request_id,
        **more,
    }


def problem_of(error: JobchainError, request_id: str) -> dict[str, JsonValue]:
    """The body of the problem of an error. It has `errors` for an InvalidRequest, and `limit` for a LimitReached."""
    more: dict[str, JsonValue] = {}
    if isinstance(error, InvalidRequest):
        more["errors"] = dict(error.errors)
    if isinstance(error, LimitReached):
        more["limit"] = error.limit
    return problem(KINDS[type(error)], str(error), request_id, **more)


def method_not_allowed(app: APIGatewayRestResolver, allowed: str) -> Callable[..., Response[str]]:
    """The handler of a route that refuses the methods that its path does not have."""

    def refuse(event_id: str = "", endpoint_id: str = "", webhook_id: str = "", step: str = "") -> Response[str]:  # noqa: ARG001  # some have one
        return _answer(app, METHOD_NOT_ALLOWED, f"this path answers to {allowed}", {"Allow": allowed})

    return refuse


def register_problems(app: APIGatewayRestResolver, logger: Logger) -> None:
    """Makes `app` answer every error with a problem."""

    def project_error(error: JobchainError) -> Response[str]:
        if isinstance(error, Unavailable):
            log_unavailable(logger, "unavailable", error)
        body = problem_of(error, app.current_event.request_context.request_id)
        return Response(KINDS[type(error)].status.value, CONTENT_TYPE, json.dumps(body), headers=_headers(error))

    app.exception_handler(JobchainError)(project_error)

    @app.exception_handler(RequestValidationError)
    def invalid_request(error: RequestValidationError) -> Response[str]:
        return project_error(InvalidRequest(explain(error.errors())))

    @app.exception_handler(RequestUnsupportedContentType)
    def unsupported_content_type(_error: RequestUnsupportedContentType) -> Response[str]:
        sent = app.current_event.headers.get("Content-Type")
        fault = "the Content-Type is not JSON's" if sent else "there is no Content-Type"
        return _answer(app, UNSUPPORTED_CONTENT_TYPE, f"{fault}: {SEND_JSON}")

    @app.exception_handler(NotFoundError)
    def no_such_path(_error: NotFoundError) -> Response[str]:
        return _answer(app, PATH_NOT_FOUND, "no route has this path")

    @app.exception_handler(Exception)
    def unexpected(error: Exception) -> Response[str]:
        logger.error("unexpected error", extra=describe(error))
        return _answer(app, INTERNAL_ERROR, "the server failed: report the request_id")


def _answer(
    app: APIGatewayRestResolver, kind: Kind, detail: str, headers: Mapping[str, str] | None = None
) -> Response[str]:
    body = problem(kind, detail, app.current_event.request_context.request_id)
    return Response(kind.status.value, CONTENT_TYPE, json.dumps(body), headers=dict(headers or {}))


def _headers(error: JobchainError) -> dict[str, str]:
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Unavailable) and not isinstance(error, Misconfigured):
        return {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)}
    if isinstance(error, LimitReached):
        return {"Retry-After": str(math.ceil(error.retry_after.total_seconds()))}
    return {}
