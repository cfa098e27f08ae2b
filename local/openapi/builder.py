"""Makes the OpenAPI document of the routes and of what `contract` says of them."""

import json
from importlib.metadata import version
from typing import Any, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer, Server

from jobchain.chains import CHAINS
from jobchain_api.paths import PUBLIC_PATHS
from jobchain_api.routes import add_routes
from local.openapi.agents import MESSAGE
from local.openapi.contract import IF_NONE_MATCH, OPERATIONS, WANTED_METADATA
from local.openapi.forms import describe_forms

_DESCRIPTION = (
    "GPT chains as background jobs: post a text, read its summary, checklist and diagram.\n\n"
    "An unknown path is a 404 (`path-not-found`), a method that a path does not have is a 405 "
    "(`method-not-allowed`, with `Allow`). HEAD works on every path that GET works on. Every error is "
    "`application/problem+json`."
)

# The framework lower-cases the names of headers.
_HEADERS = {"idempotency-key": "Idempotency-Key"}

_UNUSED_SCHEMAS = ("HTTPValidationError", "ResponseValidationError", "ValidationError")


class _DescribedResolver(APIGatewayRestResolver):
    """A resolver whose routes have what `contract` says of them."""

    def get(self, rule: str, *_args: Any, **_options: Any) -> Any:
        return super().get(rule, **OPERATIONS["GET", rule])

    def post(self, rule: str, *_args: Any, **_options: Any) -> Any:
        return super().post(rule, **OPERATIONS["POST", rule])

    def delete(self, rule: str, *_args: Any, **_options: Any) -> Any:
        return super().delete(rule, **OPERATIONS["DELETE", rule])


def document() -> str:
    """The OpenAPI document, as JSON text."""
    content = _with_whole_numbers(_schema_of_the_routes())
    for path in PUBLIC_PATHS:
        for operation in content["paths"][path].values():
            operation["security"] = []
    content["paths"]["/jobs"]["get"]["parameters"].append(WANTED_METADATA)
    content["paths"]["/mcp"]["post"]["requestBody"]["content"]["application/json"]["schema"] = MESSAGE
    for methods in content["paths"].values():
        for operation in methods.values():
            _complete(operation)
    schemas = content["components"]["schemas"]
    for unused in _UNUSED_SCHEMAS:
        del schemas[unused]
    describe_forms(schemas, CHAINS)
    content["paths"] = dict(sorted(content["paths"].items()))
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _schema_of_the_routes() -> dict[str, Any]:
    app = _DescribedResolver()
    # No route is called, so that none needs its service.
    add_routes(app, cast("Any", None), Logger(service="openapi"), CHAINS)
    schema = app.get_openapi_schema(
        title="Jobchain",
        version=version("jobchain"),
        description=_DESCRIPTION,
        tags=["jobs", "webhooks", "agents", "system"],
        servers=[Server(url=".", description="This deployment.")],
        security_schemes={"key": HTTPBearer(description="An API key, if the deployment requires one.")},
        security=[{"key": []}],
    )
    content: dict[str, Any] = schema.model_dump(by_alias=True, exclude_none=True, mode="json")
    return content


def _complete(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
        parameter["name"] = _HEADERS.get(parameter["name"], parameter["name"])
    for status in ("202", "204", "304"):
        # These have no body, which the framework describes as a text.
        operation["responses"].get(status, {}).pop("content", None)
    if "304" in operation["responses"]:
        operation.setdefault("parameters", []).append(IF_NONE_MATCH)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an optional parameter: it can be omitted, and is never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "title")}
    return {**choices[0], **rest} if len(choices) == 1 else schema


def _with_whole_numbers(value: Any) -> Any:
    """`value` with 100 where the framework writes 100.0."""
    if isinstance(value, dict):
        return {name: _with_whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
