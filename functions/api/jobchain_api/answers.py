"""What the routes share: the caller of a request, and answers with a body that may be known already."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from pydantic import BaseModel

from jobchain_api.auth import Caller

# The gateway calls an answer without a type JSON, an empty one too.
NO_TYPE = "text/plain"
"""The type of an empty answer."""


def caller_of(app: APIGatewayRestResolver) -> Caller:
    """Who sent the request."""
    caller: Caller = app.context["caller"]
    return caller


def current(app: APIGatewayRestResolver, view: BaseModel, headers: Mapping[str, str] | None = None) -> Response[str]:
    """As `current_text`, of a view."""
    return current_text(app, view.model_dump_json(), headers or {})


def current_text(app: APIGatewayRestResolver, body: str, headers: Mapping[str, str]) -> Response[str]:
    """A 200 with an `ETag`, or a 304 if the caller has this body already."""
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    known = app.current_event.headers.get("If-None-Match", "")
    if etag in known or known.strip() == "*":
        return Response(HTTPStatus.NOT_MODIFIED.value, NO_TYPE, "", headers={**headers, "ETag": etag})
    return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body, headers={**headers, "ETag": etag})


def json_answer(status: HTTPStatus, view: BaseModel, headers: dict[str, str] | None = None) -> Response[str]:
    """An answer whose body is a view."""
    return Response(status.value, content_types.APPLICATION_JSON, view.model_dump_json(), headers=headers)
