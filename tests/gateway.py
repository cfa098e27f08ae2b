"""Calls the api function's app as API Gateway does, without any HTTP."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aws_lambda_powertools import Logger

from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain_api.app import create_app
from jobchain_api.auth import Authenticate, no_authentication
from jobchain_api.service import JobService
from tests.fakes import FakeContext

ADDRESS = "203.0.113.7"
"""Where requests come from."""


@dataclass(frozen=True)
class Answer:
    """An answer as the gateway gets it."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Api:
    """The app, and callers of it."""

    def __init__(
        self,
        service: JobService,
        logger: Logger,
        authenticate: Authenticate = no_authentication,
        address: str = ADDRESS,
        chains: Mapping[str, Chain] = CHAINS,
    ) -> None:
        self._address = address
        self._app = create_app(service, authenticate, logger, chains)

    def __call__(self, method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a request. A body is sent as JSON, unless the headers say otherwise, and bytes as Base64."""
        coded = isinstance(body, bytes)
        if isinstance(body, bytes):
            body = b64encode(body).decode()
        sent = body if isinstance(body, str) or body is None else json.dumps(body, ensure_ascii=False)
        given = {"Content-Type": "application/json", **(headers or {})} if sent else headers or {}
        event = {**_event(method, url, sent, given, self._address), "isBase64Encoded": coded}
        response = self._app.resolve(event, FakeContext())  # type: ignore[arg-type]
        text = response["body"]
        return Answer(
            response["statusCode"],
            {name: values[0] for name, values in response["multiValueHeaders"].items()},
            json.loads(text) if text else None,
        )


def _event(method: str, url: str, body: str | None, headers: Mapping[str, str], address: str) -> dict[str, Any]:
    parts = urlsplit(url)
    path = unquote(parts.path)
    query = parse_qs(parts.query, keep_blank_values=True)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "requestId": "request-1",
            "path": f"/v1{path}",
            "stage": "v1",
            "identity": {"sourceIp": address},
        },
        "body": body,
        "isBase64Encoded": False,
    }
