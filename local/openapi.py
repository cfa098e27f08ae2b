"""The HTTP contract as a file: what `/openapi.json` answers, without a stack."""

from typing import Any, cast

from aws_lambda_powertools import Logger

from jobchain_api.app import create_app, openapi_document
from jobchain_api.auth import everybody


def document() -> str:
    """The OpenAPI document, as JSON text."""
    # The document asks for the routes alone; nothing behind them is called.
    nothing = cast("Any", None)
    return openapi_document(create_app(nothing, everybody, Logger(service="openapi")))
