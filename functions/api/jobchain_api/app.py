"""The API as an app: authentication, the body's JSON and its validation before the routes, problems after them."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.middlewares.openapi_validation import OpenAPIRequestValidationMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestUnsupportedContentType
from aws_lambda_powertools.event_handler.types import EventHandlerInstance
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic_core import from_json

from jobchain.chains.chain import Chain
from jobchain.errors import BodyTooLarge, InvalidRequest, LimitReached, MalformedBody, Unauthorized
from jobchain.observability import Logger
from jobchain_api.auth import Authenticate, refuse_foreign
from jobchain_api.paths import ALLOWED_METHODS, PUBLIC_PATHS, route_of
from jobchain_api.problems import method_not_allowed, register_problems
from jobchain_api.queries import check_query
from jobchain_api.routes import add_routes
from jobchain_api.service import JobService
from jobchain_api.webhook_service import WebhookService

MAX_BODY_CHARACTERS = 5_000_000
"""The longest body, that of a batch included. Lambda takes 6 MB of it as quoted in an event.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_NOT_UTF8 = "the body is not UTF-8: encode it as UTF-8, and write an intended U+FFFD as \\ufffd"

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class _JsonValidation(OpenAPIRequestValidationMiddleware):
    """Validates requests, and takes JSON bodies alone: the framework would read forms too.

    A body must declare that it is JSON: a page can send any other type to any server without a preflight request.
    """

    def _get_body(self, app: EventHandlerInstance) -> Any:
        content_type = app.current_event.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if content_type != content_types.APPLICATION_JSON and (content_type or app.current_event.body):
            raise RequestUnsupportedContentType(content_type, errors=[])
        try:
            # A gateway may send a body that is not UTF-8 as Base64: LocalStack's does.
            body = app.current_event.decoded_body
        except ValueError:
            raise MalformedBody(_NOT_UTF8) from None
        return read_json(body) if body else None


# Answers are a tenant's own, and data: no cache keeps them, no browser takes them for a page, or asks for them without
# TLS once it has used it. Over plain http, as on this machine, browsers ignore the last one.
_SECURITY_HEADERS = {
    "Cache-Control": ["no-store"],
    "Content-Security-Policy": ["default-src 'none'; frame-ancestors 'none'"],
    "Strict-Transport-Security": ["max-age=31536000"],
    "X-Content-Type-Options": ["nosniff"],
}


class _Resolver(APIGatewayRestResolver):
    """Answers HEAD as GET without the body, and adds to every answer the headers that browsers need.

    https://www.rfc-editor.org/rfc/rfc9110#name-head
    """

    def resolve(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        head = event["httpMethod"] == "HEAD"
        answer = super().resolve({**event, "httpMethod": "GET"} if head else event, context)
        headers = {**_SECURITY_HEADERS, **answer["multiValueHeaders"]}
        return {**answer, "multiValueHeaders": headers, **({"body": ""} if head else {})}


def create_app(
    service: JobService,
    authenticate: Authenticate,
    logger: Logger,
    chains: Mapping[str, Chain],
    webhooks: WebhookService | None = None,
) -> APIGatewayRestResolver:
    """The resolver with every route of `service`, which runs jobs of `chains`, and of `webhooks` if they are on.

    `authenticate` gives the caller of a request, or refuses it.
    """
    app = _Resolver()

    def authenticated(app: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[Any]:
        logger.append_keys(route=route_of(app.current_event.path))
        if app.current_event.path.rstrip("/") not in PUBLIC_PATHS:
            try:
                caller = authenticate(app.current_event.headers.get("Authorization", ""))
            except (Unauthorized, LimitReached) as refused:
                _log_refused(logger, app.current_event.raw_event, refused)
                raise
            refuse_foreign(caller, app.current_event.http_method, app.current_event.headers)
            app.append_context(caller=caller)  # type: ignore[no-untyped-call]
            logger.append_keys(tenant=caller.tenant, key_id=caller.key_id)
        if "\n" in app.current_event.path:
            # The framework's patterns end with `$`, which also matches before a newline at the end.
            raise NotFoundError
        route = route_of(app.current_event.path)
        if app.current_event.http_method in ALLOWED_METHODS.get(route, ()):
            check_query(app.current_event, route)
        return next_middleware(app)

    # Authentication first: without it a caller learns nothing else about the request.
    app.use(middlewares=[authenticated, _JsonValidation()])  # type: ignore[no-untyped-call]
    register_problems(app, logger)
    add_routes(app, service, logger, chains, webhooks)
    for path, allowed in ALLOWED_METHODS.items():
        refuse = method_not_allowed(app, ", ".join(allowed))
        app.route(path, method=sorted(_METHODS - set(allowed)), include_in_schema=False)(refuse)
    return app


def _log_refused(logger: Logger, event: Mapping[str, Any], refused: Unauthorized | LimitReached) -> None:
    """Adds to the request's log line by whom it was sent, as far as that is known. A wrong key is not logged."""
    address = str((event["requestContext"].get("identity") or {}).get("sourceIp"))
    logger.append_keys(address=address if _is_address(address) else "", key_id=refused.key_id, reason=str(refused))


def _is_address(text: str) -> bool:
    """Whether it is an IP address and nothing else: emulators give what a caller wrote. A zone can be any text."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def read_json(body: str) -> Any:
    """A request's body as Python values. Raises BodyTooLarge, MalformedBody, InvalidRequest."""
    if len(body) > MAX_BODY_CHARACTERS:
        raise BodyTooLarge(f"the body has {len(body)} characters: the most is {MAX_BODY_CHARACTERS}")
    # The gateway replaces each byte that is not UTF-8 by this character: the original text is lost.
    if "\N{REPLACEMENT CHARACTER}" in body:
        raise MalformedBody(_NOT_UTF8)
    # A parser may ignore a byte order mark: https://www.rfc-editor.org/rfc/rfc8259#section-8.1
    body = body.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    try:
        # Unlike json.loads it refuses NaN, lone surrogates and nesting without end.
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBody(str(error)) from None
    if not isinstance(value, dict):
        # Of a list, the framework would take the last entry and drop the others.
        raise InvalidRequest({"body": "must be a JSON object"})
    return value
