"""What the OpenAPI document says of each route in addition to the route's code: plain data that names views."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

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
    StepDoesNotWait,
    TooManyEndpoints,
    Unauthorized,
    Unavailable,
    WebhooksOff,
)
from jobchain_api.created_views import BatchView, JobCreated, ProblemView
from jobchain_api.delivery_views import DeliveryList, DeliveryView, DeliveryWithBody
from jobchain_api.event_views import EventPage
from jobchain_api.problems import (
    CONTENT_TYPE,
    INTERNAL_ERROR,
    KINDS,
    SEND_JSON,
    UNSUPPORTED_CONTENT_TYPE,
    Kind,
    problem,
)
from jobchain_api.system_views import ChainList, HealthView, StatsView
from jobchain_api.usage_views import UsageRangeView
from jobchain_api.views import JobList, JobView
from jobchain_api.webhook_views import EndpointCreated, EndpointList, EndpointView, SecretView
from local.openapi.agents import RESULT, with_errors_of_the_protocol
from local.openapi.examples import (
    CHAIN,
    CREATED,
    DECIDED,
    DELIVERY,
    DETAILS,
    ENDPOINT,
    EVENT,
    EVENTS,
    HEALTH,
    JOB,
    LISTED,
    MEMBERS,
    PENDING,
    REQUEST_ID,
    SECRET,
    STATS,
    TEST_EVENT,
    USAGE_OF_DAYS,
    WAITING,
)

_LOCATION = {"description": "The job's URL, relative to this one.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds to wait before the next request.", "schema": {"type": "integer", "minimum": 0}}
_ENDS_IN = {
    "description": "Seconds after which the job has probably ended: read it then.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 60},
}
_NEXT_EVENT_IN = {
    **_ENDS_IN,
    "description": "Seconds after which there is probably another event. Absent if there is one now, and if the job "
    "has ended.",
}
_ENDS_IN_ALL = {**_ENDS_IN, "description": "Seconds after which all of these jobs have probably ended."}
_ETAG = {"description": "Identifies this answer: send it as `If-None-Match`.", "schema": {"type": "string"}}
_REPLAYED = {"description": "An earlier request created this job.", "schema": {"const": "true"}}
_HEADERS_OF_PROBLEMS = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}
    },
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": _RETRY_AFTER},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": _RETRY_AFTER},
}


def _answer(
    description: str,
    model: Any,
    example: Any,
    headers: Mapping[str, Any] | None = None,
    links: Mapping[str, Any] | None = None,
    **examples: Any,
) -> dict[str, Any]:
    """An answer; `examples` are further ones, by their names."""
    shown = {name: {"value": value} for name, value in {"example": example, **examples}.items()}
    content = {"application/json": {"model": model, "examples": shown}}
    answer: dict[str, Any] = {"description": description, "headers": dict(headers or {}), "content": content}
    return {**answer, "links": dict(links)} if links else answer


def _links_of(event_id: str) -> dict[str, Any]:
    """The requests that can follow, for the job whose id is at the JSON pointer `event_id` of an answer."""
    next_steps = {
        "read": ("getJob", "Read the job."),
        "events": ("listEvents", "List what has happened to the job."),
        "cancel": ("cancelJob", "Cancel the job."),
        "retry": (
            "retryJob",
            "Run the job again, if it has failed or was cancelled; or at once, if its wait is `retryable`.",
        ),
        "erase": ("deleteJob", "Delete the job, if it is final."),
    }
    parameters = {"event_id": f"$response.body#{event_id}"}
    return {
        name: {"operationId": operation, "parameters": parameters, "description": description}
        for name, (operation, description) in next_steps.items()
    }


def _problems(*errors: type[JobchainError], guarded: bool = True) -> dict[int, Any]:
    """Every problem that a route can answer with, by status; `guarded`: the route requires authentication."""
    always = (Unauthorized, LimitReached, Unavailable) if guarded else (Unavailable,)
    examples: dict[HTTPStatus, dict[str, Any]] = {}
    for error in (*errors, *always):
        body = problem(KINDS[error], DETAILS[error], REQUEST_ID, **MEMBERS.get(error, {}))
        examples.setdefault(KINDS[error].status, {})[KINDS[error].name] = {"value": body}
    others: dict[Kind, str] = {INTERNAL_ERROR: "the server failed: report the request_id"}
    if MalformedBody in errors:
        others[UNSUPPORTED_CONTENT_TYPE] = f"there is no Content-Type: {SEND_JSON}"
    for kind, detail in others.items():
        examples[kind.status] = {kind.name: {"value": problem(kind, detail, REQUEST_ID)}}
    return {
        status.value: {
            "description": "; ".join(f"`{name}`" for name in found),
            "headers": _HEADERS_OF_PROBLEMS.get(status, {}),
            "content": {CONTENT_TYPE: {"model": ProblemView, "examples": found}},
        }
        for status, found in examples.items()
    }


_LINKS = _links_of("/event_id")
_NEXT_PAGE = {
    "nextPage": {
        "operationId": "listJobs",
        "parameters": {"cursor": "$response.body#/next_cursor"},
        "description": "The next page of the list: send the same filters with it.",
    }
}
_FOLLOWING = {
    "followingEvents": {
        "operationId": "listEvents",
        "parameters": {"event_id": "$request.path.event_id", "after": "$response.body#/next_after"},
        "description": "The events that follow.",
    }
}
_IF_CHANGED = {
    "readIfChanged": {
        "operationId": "getJob",
        "parameters": {"event_id": "$response.body#/event_id", "If-None-Match": "$response.header.ETag"},
        "description": "Read the job again if it has changed.",
    }
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of an earlier answer: if it is still current, the answer is a 304 without a body.",
    "schema": {"type": "string"},
}
WANTED_METADATA = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "style": "form",
    "explode": True,
    "description": "Filter by entries of the metadata: `metadata.<key>=<value>`, up to 16, all of which a job has.",
    "schema": {
        "type": "object",
        "propertyNames": {"pattern": r"^metadata\.[^\x00]{1,64}$"},
        "additionalProperties": {"type": "string", "maxLength": 512},
        "maxProperties": 16,
    },
}
_NOT_MODIFIED = {304: {"description": "The earlier answer is still current.", "headers": {"ETag": _ETAG}}}
_BODY = (MalformedBody, BodyTooLarge, InvalidRequest)

_CREATE_JOB: dict[str, Any] = {
    "summary": "Create a job",
    "description": "Stores the job and sends it to a worker. A request with an `Idempotency-Key` is safe to repeat.",
    "operation_id": "createJob",
    "tags": ["jobs"],
    "responses": {
        201: _answer(
            "The job is accepted.", JobCreated, CREATED, {"Location": _LOCATION, "Retry-After": _ENDS_IN}, _LINKS
        ),
        200: _answer(
            "An earlier request with this `Idempotency-Key` created the job.",
            JobCreated,
            CREATED,
            {"Location": _LOCATION, "Retry-After": _ENDS_IN, "Idempotent-Replayed": _REPLAYED},
            _LINKS,
        ),
        **_problems(ForeignOrigin, *_BODY, IdempotencyConflict, LimitReached),
    },
}
_CREATE_JOBS: dict[str, Any] = {
    "summary": "Create up to 100 jobs",
    "description": "Each entry is accepted or refused on its own: the results are in the order of the entries.",
    "operation_id": "createJobs",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "The result of each entry.",
            BatchView,
            {
                "results": [
                    {**CREATED, "replayed": False},
                    problem(
                        KINDS[InvalidRequest],
                        DETAILS[InvalidRequest],
                        REQUEST_ID,
                        errors={"input_text": "must be a string"},
                    ),
                ]
            },
            {"Retry-After": _ENDS_IN_ALL},
            _links_of("/results/0/event_id"),
        ),
        **_problems(ForeignOrigin, *_BODY),
    },
}
_LIST_JOBS: dict[str, Any] = {
    "summary": "List jobs",
    "description": "The newest first, those of all filters. A page may hold fewer jobs than `limit`, or none; the last "
    "one has no `next_cursor`.",
    "operation_id": "listJobs",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "A page of jobs.",
            JobList,
            {"jobs": [LISTED], "next_cursor": None},
            {"ETag": _ETAG},
            {**_NEXT_PAGE, **_links_of("/jobs/0/event_id")},
        ),
        **_NOT_MODIFIED,
        **_problems(InvalidRequest),
    },
}
_GET_JOB: dict[str, Any] = {
    "summary": "Read a job",
    "description": "Its status, each step, and the result so far; on request the payload, the prompts and the calls.",
    "operation_id": "getJob",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "The job.",
            JobView,
            JOB,
            {"ETag": _ETAG, "Retry-After": _ENDS_IN},
            {**_IF_CHANGED, **_LINKS},
            waiting=WAITING,
        ),
        **_NOT_MODIFIED,
        **_problems(JobNotFound, InvalidRequest),
    },
}
_LIST_EVENTS: dict[str, Any] = {
    "summary": "List the events of a job",
    "description": "What has happened to the job since the position `after`: its start, its steps, its failed calls, "
    "what it waits for and its end. `next_after` is the position to continue from, at any later time.",
    "operation_id": "listEvents",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "A page of events.",
            EventPage,
            EVENTS,
            {"ETag": _ETAG, "Retry-After": _NEXT_EVENT_IN},
            _FOLLOWING,
        ),
        **_NOT_MODIFIED,
        **_problems(JobNotFound, InvalidRequest),
    },
}
_CANCEL_JOB: dict[str, Any] = {
    "summary": "Cancel a job",
    "description": "The job is cancelled at once, or before its next step if a worker is running it.",
    "operation_id": "cancelJob",
    "tags": ["jobs"],
    "responses": {
        200: _answer("The job.", JobView, {**PENDING, "status": "cancelled"}, links=_LINKS),
        **_problems(ForeignOrigin, JobNotFound, JobIsFinal),
    },
}
_RETRY_JOB: dict[str, Any] = {
    "summary": "Run a failed or cancelled job again, or a waiting one at once",
    "description": "The job continues after its last completed step.",
    "operation_id": "retryJob",
    "tags": ["jobs"],
    "responses": {
        200: _answer("The job.", JobView, PENDING, links=_LINKS),
        **_problems(ForeignOrigin, JobNotFound, JobIsFinal, JobIsNotFinal, LimitReached),
    },
}
_FORK_JOB: dict[str, Any] = {
    "summary": "Run a job again from a step, as a new job",
    "description": "The new job begins with copies of the outputs of all steps that do not need `from_step`, at no "
    "cost, and runs that step and those that need it. A request with an `Idempotency-Key` is safe to repeat.",
    "operation_id": "forkJob",
    "tags": ["jobs"],
    "responses": {
        201: _answer(
            "The fork is accepted.", JobCreated, CREATED, {"Location": _LOCATION, "Retry-After": _ENDS_IN}, _LINKS
        ),
        200: _answer(
            "An earlier request with this `Idempotency-Key` created the fork.",
            JobCreated,
            CREATED,
            {"Location": _LOCATION, "Retry-After": _ENDS_IN, "Idempotent-Replayed": _REPLAYED},
            _LINKS,
        ),
        **_problems(ForeignOrigin, *_BODY, JobNotFound, JobCannotBeForked, IdempotencyConflict, LimitReached),
    },
}
_DECIDE_STEP: dict[str, Any] = {
    "summary": "Decide a step that waits for a person",
    "description": "The job continues with the step's value, or fails as `approval_rejected`. The same decision again "
    "changes nothing.",
    "operation_id": "decideStep",
    "tags": ["jobs"],
    "responses": {
        200: _answer("The job.", JobView, DECIDED, links=_LINKS),
        **_problems(ForeignOrigin, *_BODY, JobNotFound, StepDoesNotWait, DecidedAlready, DecisionTooLate),
    },
}
_DELETE_JOB: dict[str, Any] = {
    "summary": "Delete a job",
    "description": "Deletes a final job and all that it stored.",
    "operation_id": "deleteJob",
    "tags": ["jobs"],
    "responses": {204: {"description": "The job is deleted."}, **_problems(ForeignOrigin, JobNotFound, JobIsNotFinal)},
}
_LIST_CHAINS: dict[str, Any] = {
    "summary": "List the chains",
    "description": "The values of `job_name`, with the JSON Schema of each chain's payload.",
    "operation_id": "listChains",
    "tags": ["system"],
    "responses": {
        200: _answer("The chains.", ChainList, {"chains": [CHAIN], "unusable": []}, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(),
    },
}
_GET_STATS: dict[str, Any] = {
    "summary": "Read job counts and daily usage",
    "description": "The caller's jobs; for operators also the depth of the queues, which all tenants share.",
    "operation_id": "getStats",
    "tags": ["system"],
    "responses": {
        200: _answer("The statistics.", StatsView, STATS, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(),
    },
}
_GET_USAGE: dict[str, Any] = {
    "summary": "Read daily usage",
    "description": "The caller's jobs, tokens and cost day by day (UTC), kept for 400 days. It may be a moment old.",
    "operation_id": "getUsage",
    "tags": ["system"],
    "responses": {
        200: _answer("The usage.", UsageRangeView, USAGE_OF_DAYS, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(InvalidRequest),
    },
}
_LIST_ENDPOINTS: dict[str, Any] = {
    "summary": "List the endpoints of webhooks",
    "description": "The oldest first, without their secrets.",
    "operation_id": "listEndpoints",
    "tags": ["webhooks"],
    "responses": {200: _answer("The endpoints.", EndpointList, {"endpoints": [ENDPOINT]}), **_problems(WebhooksOff)},
}
_CREATE_ENDPOINT: dict[str, Any] = {
    "summary": "Create an endpoint of webhooks",
    "description": "It gets events of jobs that are created from a minute later on. The answer alone has its secret.",
    "operation_id": "createEndpoint",
    "tags": ["webhooks"],
    "responses": {
        201: _answer("The endpoint.", EndpointCreated, {**ENDPOINT, "secret": SECRET}),
        **_problems(ForeignOrigin, *_BODY, TooManyEndpoints, WebhooksOff),
    },
}
_ROTATE_SECRET: dict[str, Any] = {
    "summary": "Replace the secret of an endpoint",
    "description": "The one before it is valid for 24 hours more: each event has a signature of both.",
    "operation_id": "rotateSecret",
    "tags": ["webhooks"],
    "responses": {
        200: _answer("The new secret.", SecretView, {"secret": SECRET}),
        **_problems(ForeignOrigin, EndpointNotFound, WebhooksOff),
    },
}
_ENABLE_ENDPOINT: dict[str, Any] = {
    "summary": "Let a disabled endpoint get events again",
    "description": "Those of jobs that are created from a minute later on. An answer with the status 410 disables an "
    "endpoint.",
    "operation_id": "enableEndpoint",
    "tags": ["webhooks"],
    "responses": {
        200: _answer("The endpoint.", EndpointView, ENDPOINT),
        **_problems(ForeignOrigin, EndpointNotFound, WebhooksOff),
    },
}
_TEST_ENDPOINT: dict[str, Any] = {
    "summary": "Send a test event to an endpoint",
    "description": "An event of the type `webhook.test`, which is sent at once, whatever events the endpoint wants. "
    "Read the delivery for what became of it.",
    "operation_id": "testEndpoint",
    "tags": ["webhooks"],
    "responses": {
        201: _answer("The delivery.", DeliveryView, TEST_EVENT),
        **_problems(ForeignOrigin, EndpointNotFound, EndpointDisabled, WebhooksOff),
    },
}
_LIST_DELIVERIES: dict[str, Any] = {
    "summary": "List deliveries of webhooks",
    "description": "The newest first. Those that were made are kept for 7 days, others for 30. A filter looks through "
    "1,000 deliveries a request: a page may hold few or none, and not be the last.",
    "operation_id": "listDeliveries",
    "tags": ["webhooks"],
    "responses": {
        200: _answer("The page.", DeliveryList, {"deliveries": [DELIVERY], "next_cursor": None}, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(InvalidRequest, WebhooksOff),
    },
}
_GET_DELIVERY: dict[str, Any] = {
    "summary": "Read a delivery with its event",
    "operation_id": "getDelivery",
    "tags": ["webhooks"],
    "responses": {
        200: _answer("The delivery.", DeliveryWithBody, {**DELIVERY, "body": EVENT}, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(DeliveryNotFound, WebhooksOff),
    },
}
_REDELIVER: dict[str, Any] = {
    "summary": "Try a delivery now",
    "description": "One that was made or given up gets all of its tries again, with the same `webhook-id`; one that "
    "waits for its next try keeps its schedule.",
    "operation_id": "redeliver",
    "tags": ["webhooks"],
    "responses": {
        200: _answer("The delivery.", DeliveryView, {**DELIVERY, "tries": 0, "next_at": None}),
        **_problems(ForeignOrigin, DeliveryNotFound, EndpointNotFound, EndpointDisabled, WebhooksOff),
    },
}
_DELETE_ENDPOINT: dict[str, Any] = {
    "summary": "Delete an endpoint of webhooks",
    "description": "Events that wait for another try are given up.",
    "operation_id": "deleteEndpoint",
    "tags": ["webhooks"],
    "responses": {
        204: {"description": "The endpoint is deleted."},
        **_problems(ForeignOrigin, EndpointNotFound, WebhooksOff),
    },
}
_GET_HEALTH: dict[str, Any] = {
    "summary": "Read the health of the deployment",
    "description": "Requires no authentication, and is checked at most once in five seconds. The table is written and "
    "read. `breaker`, the sweeper's last run and `model`, the worker's last check of it, are as they are stored.",
    "operation_id": "getHealth",
    "tags": ["system"],
    "responses": {
        200: _answer("The table and the queue answer.", HealthView, HEALTH),
        **_problems(guarded=False),
    },
}


_POST_MCP: dict[str, Any] = {
    "summary": "Answer an agent",
    "description": "The Model Context Protocol, versions 2026-07-28, 2025-11-25, 2025-06-18 and 2025-03-26, without "
    "sessions: one JSON-RPC message in, one out. Each chain is a tool; `get-job` and `cancel-job` are two more.",
    "operation_id": "answerAgent",
    "tags": ["agents"],
    "responses": {
        200: RESULT,
        202: {"description": "A notification is accepted."},
        **with_errors_of_the_protocol(_problems(ForeignOrigin, *_BODY)),
    },
}

_GET_CONTRACT: dict[str, Any] = {
    "summary": "Read this document",
    "description": "Requires no authentication. `/docs` and `/redoc` show it as pages.",
    "operation_id": "getContract",
    "tags": ["system"],
    "responses": {
        200: {
            "description": "OpenAPI 3.1.",
            "headers": {"ETag": _ETAG},
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        **_NOT_MODIFIED,
    },
}

OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/jobs"): _CREATE_JOB,
    ("POST", "/jobs/batch"): _CREATE_JOBS,
    ("GET", "/jobs"): _LIST_JOBS,
    ("GET", "/jobs/<event_id>"): _GET_JOB,
    ("GET", "/jobs/<event_id>/events"): _LIST_EVENTS,
    ("POST", "/jobs/<event_id>/cancel"): _CANCEL_JOB,
    ("POST", "/jobs/<event_id>/retry"): _RETRY_JOB,
    ("POST", "/jobs/<event_id>/fork"): _FORK_JOB,
    ("POST", "/jobs/<event_id>/steps/<step>/decision"): _DECIDE_STEP,
    ("DELETE", "/jobs/<event_id>"): _DELETE_JOB,
    ("GET", "/chains"): _LIST_CHAINS,
    ("GET", "/stats"): _GET_STATS,
    ("GET", "/usage"): _GET_USAGE,
    ("GET", "/webhooks"): _LIST_ENDPOINTS,
    ("POST", "/webhooks"): _CREATE_ENDPOINT,
    ("DELETE", "/webhooks/<endpoint_id>"): _DELETE_ENDPOINT,
    ("POST", "/webhooks/<endpoint_id>/rotate"): _ROTATE_SECRET,
    ("POST", "/webhooks/<endpoint_id>/enable"): _ENABLE_ENDPOINT,
    ("POST", "/webhooks/<endpoint_id>/test"): _TEST_ENDPOINT,
    ("GET", "/deliveries"): _LIST_DELIVERIES,
    ("GET", "/deliveries/<webhook_id>"): _GET_DELIVERY,
    ("POST", "/deliveries/<webhook_id>/redeliver"): _REDELIVER,
    ("GET", "/health"): _GET_HEALTH,
    ("POST", "/mcp"): _POST_MCP,
    ("GET", "/openapi.json"): _GET_CONTRACT,
}
"""What is said of each route, as options of the framework's decorators."""
