"""Answers to reads, which a caller that has them already does not get again."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types

NO_TYPE = "text/plain"
"""The type of an answer without a body: the gateway calls one without a type JSON."""

_NO_HEADERS: Mapping[str, str] = {}


def current(app: APIGatewayRestResolver, body: str, headers: Mapping[str, str] = _NO_HEADERS) -> Response[str]:
    """A 200 with an `ETag`, or a 304 if the caller of the request has this body already."""
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    known = app.current_event.headers.get("If-None-Match", "")
    if etag in known or known.strip() == "*":
        return Response(HTTPStatus.NOT_MODIFIED.value, NO_TYPE, "", headers={**headers, "ETag": etag})
    return Response(HTTPStatus.OK.value, content_types.APPLICATION_JSON, body, headers={**headers, "ETag": etag})
