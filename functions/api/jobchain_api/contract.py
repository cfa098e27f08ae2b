"""What the OpenAPI document says of each route, besides what its code says itself.

All of it is plain data that names models: nothing is built before somebody asks for the document.
"""

import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from jobchain.errors import (
    BodyTooLarge,
    ForeignOrigin,
    IdempotencyConflict,
    InvalidRequest,
    JobchainError,
    JobIsFinal,
    JobIsNotFinal,
    JobNotFound,
    LimitReached,
    MalformedBody,
    Unauthorized,
    Unavailable,
)
from jobchain_api.problems import CONTENT_TYPE, INTERNAL_ERROR, KINDS, OTHER_CONTENT_TYPE, SEND_JSON, Kind, problem
from jobchain_api.schemas import (
    BatchView,
    ChainList,
    HealthView,
    JobCreated,
    JobList,
    JobView,
    ProblemView,
    StatsView,
)

VERSION = "1.0.0"

_ID = "0b6c2f4e-7d1a-4b53-9a0f-3f1c5b8e2d47"
_REQUEST_ID = "7f0a1c52-93d4-4a6e-8f0b-2f6f1d0c9e11"

_TEXT = "Passwords must have at least 12 characters. Store them hashed."
_USAGE = {"input_tokens": 812, "cached_tokens": 0, "output_tokens": 140, "reasoning_tokens": 0}
_CREATED = {"event_id": _ID, "status": "pending", "created_at": "2026-11-22T10:00:00.000Z"}
_LISTED = {
    "event_id": _ID,
    "job_name": "guideline_checklist",
    "status": "completed",
    "attempts": 1,
    "created_at": "2026-11-22T10:00:00.000Z",
    "started_at": "2026-11-22T10:00:00.210Z",
    "finished_at": "2026-11-22T10:00:04.870Z",
    "updated_at": "2026-11-22T10:00:04.870Z",
    "usage": _USAGE,
    "calls": 1,
    "retries": 0,
    "cost_usd": 0.0001512,
    "max_cost_usd": None,
    "tier": "standard",
    "error": None,
}
_STEP = {
    "name": "summary",
    "status": "completed",
    "model": "gpt-6-luna",
    "prompt_version": "5d0c7a91be23",
    "started_at": "2026-11-22T10:00:00.230Z",
    "finished_at": "2026-11-22T10:00:01.940Z",
    "usage": _USAGE,
    "calls": 1,
    "retries": 0,
    "cost_usd": 0.0001512,
}
_JOB = {
    **_LISTED,
    "steps": [_STEP],
    "result": {
        "summary": "Passwords must be long, and stored hashed.",
        "checklist": ["Ask for at least 12 characters."],
        "checklist_items": [
            {
                "text": "Ask for at least 12 characters.",
                "category": "Length",
                "priority": "must",
                "source": "Passwords must have at least 12 characters.",
                "source_found": True,
            }
        ],
        "diagram": 'flowchart TD\n    n1["Ask for at least 12 characters"]\n',
    },
    "metadata": {"source": "handbook"},
}
_PENDING = {
    **_JOB,
    **dict.fromkeys(("started_at", "finished_at", "cost_usd")),
    "status": "pending",
    "attempts": 0,
    "steps": [{**dict.fromkeys(_STEP), "name": "summary", "status": "pending"}],
    "result": {},
    "usage": dict.fromkeys(_USAGE, 0),
    "calls": 0,
    "retries": 0,
    "cost_usd": 0,
    "updated_at": _CREATED["created_at"],
}
_CHAIN = {
    "name": "guideline_checklist",
    "description": "Summarizes a guideline, makes a checklist of it and a diagram of that.",
    "steps": [
        {"name": "summary", "needs": []},
        {"name": "checklist", "needs": ["summary"]},
        {"name": "diagram", "needs": ["checklist"]},
    ],
    "payload_schema": {"type": "object", "properties": {"guidelines": {"type": "string"}}, "required": ["guidelines"]},
}
_STATS = {
    "jobs": {"pending": 3, "processing": 1, "completed": 40, "failed": 1, "cancelled": 0},
    "today": {"date": "2026-11-22", "created": 45, "usage": _USAGE, "calls": 131, "retries": 2, "cost_usd": 0.0061},
    "queue": {"waiting": 2, "in_flight": 1, "delayed": 1, "dead_letters": 0},
}

# An example of each problem's detail.
_DETAILS: dict[type[JobchainError], str] = {
    MalformedBody: "expected value at line 1 column 2",
    Unauthorized: "send an API key, in the header `Authorization: Bearer <key>`",
    ForeignOrigin: "a deployment without API keys takes changes from pages of its own origin and from programs only",
    JobNotFound: f"there is no job {_ID}",
    JobIsFinal: f"job {_ID} is completed already",
    JobIsNotFinal: f"job {_ID} is processing: cancel it first",
    BodyTooLarge: "the payload is 262200 bytes of UTF-8: the most is 262144",
    InvalidRequest: "input_text: must be a string",
    IdempotencyConflict: "this Idempotency-Key came with another body before: use a new key",
    LimitReached: "the key's limit jobs_per_minute (60) is reached: try again later, or ask for a higher one",
    Unavailable: "the table does not answer",
}
_MEMBERS: dict[type[JobchainError], Any] = {
    InvalidRequest: {"errors": {"input_text": "must be a string"}},
    LimitReached: {"limit": "jobs_per_minute"},
}

_LOCATION = {"description": "Where the job is read, relative to this URL.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds to wait before asking again.", "schema": {"type": "integer", "minimum": 0}}
_ETAG = {"description": "Names this very answer: send it as `If-None-Match`.", "schema": {"type": "string"}}
_REPLAYED = {"description": "An earlier request has made this job.", "schema": {"const": "true"}}
_HEADERS_OF_PROBLEMS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"description": "How to come in.", "schema": {"type": "string"}}},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": _RETRY_AFTER},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": _RETRY_AFTER},
}


def _answer(
    description: str,
    model: Any,
    example: Any,
    headers: Mapping[str, Any] | None = None,
    links: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    content = {"application/json": {"model": model, "examples": {"example": {"value": example}}}}
    answer: dict[str, Any] = {"description": description, "headers": dict(headers or {}), "content": content}
    return {**answer, "links": dict(links)} if links else answer


def _links_of(event_id: str) -> dict[str, Any]:
    """What can be done next with the job whose id stands at the place `event_id` of an answer."""
    next_steps = {
        "read": ("getJob", "Read the job."),
        "cancel": ("cancelJob", "Stop the job."),
        "retry": ("retryJob", "Run the job again, once it has failed or is cancelled."),
        "erase": ("deleteJob", "Erase the job, once it has ended."),
    }
    parameters = {"event_id": f"$response.body#{event_id}"}
    return {
        name: {"operationId": operation, "parameters": parameters, "description": description}
        for name, (operation, description) in next_steps.items()
    }


def _problems(*errors: type[JobchainError], guarded: bool = True) -> dict[int, Any]:
    """Every error that a route can answer with, by status."""
    always = (Unauthorized, Unavailable) if guarded else (Unavailable,)
    examples: dict[HTTPStatus, dict[str, Any]] = {}
    for error in (*errors, *always):
        body = problem(KINDS[error], _DETAILS[error], _REQUEST_ID, **_MEMBERS.get(error, {}))
        examples.setdefault(KINDS[error].status, {})[KINDS[error].name] = {"value": body}
    others: dict[Kind, str] = {INTERNAL_ERROR: "this is our fault: report the request_id"}
    if MalformedBody in errors:
        others[OTHER_CONTENT_TYPE] = f"there is no Content-Type: {SEND_JSON}"
    for kind, detail in others.items():
        examples[kind.status] = {kind.name: {"value": problem(kind, detail, _REQUEST_ID)}}
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
        "description": "The next page of the same list: send the same filters along.",
    }
}
_IF_CHANGED = {
    "readIfChanged": {
        "operationId": "getJob",
        "parameters": {"event_id": "$response.body#/event_id", "If-None-Match": "$response.header.ETag"},
        "description": "Read the job again, if it has changed.",
    }
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of an earlier answer: where it is still the current one, this is a 304 without a body.",
    "schema": {"type": "string"},
}
_NOT_MODIFIED = {304: {"description": "What you have is current.", "headers": {"ETag": _ETAG}}}
_BODY = (MalformedBody, BodyTooLarge, InvalidRequest)

CREATE_JOB: dict[str, Any] = {
    "summary": "Create a job",
    "description": "Stores the job and sends it to a worker. Repeat a request with its `Idempotency-Key` as you like.",
    "operation_id": "createJob",
    "tags": ["jobs"],
    "responses": {
        201: _answer(
            "The job is accepted.", JobCreated, _CREATED, {"Location": _LOCATION, "Retry-After": _RETRY_AFTER}, _LINKS
        ),
        200: _answer(
            "The `Idempotency-Key` has made this job before.",
            JobCreated,
            _CREATED,
            {"Location": _LOCATION, "Retry-After": _RETRY_AFTER, "Idempotent-Replayed": _REPLAYED},
            _LINKS,
        ),
        **_problems(ForeignOrigin, *_BODY, IdempotencyConflict, LimitReached),
    },
}
CREATE_JOBS: dict[str, Any] = {
    "summary": "Create up to 100 jobs",
    "description": "Each entry is accepted or refused by itself: the results are in the order of the entries.",
    "operation_id": "createJobs",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "What became of each entry.",
            BatchView,
            {
                "results": [
                    {**_CREATED, "replayed": False},
                    problem(
                        KINDS[InvalidRequest],
                        _DETAILS[InvalidRequest],
                        _REQUEST_ID,
                        errors={"input_text": "must be a string"},
                    ),
                ]
            },
            links=_links_of("/results/0/event_id"),
        ),
        **_problems(ForeignOrigin, *_BODY),
    },
}
LIST_JOBS: dict[str, Any] = {
    "summary": "List jobs",
    "description": "The newest first. A page may hold fewer jobs than `limit`; the last one has no `next_cursor`.",
    "operation_id": "listJobs",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "A page of jobs.",
            JobList,
            {"jobs": [_LISTED], "next_cursor": None},
            {"ETag": _ETAG},
            {**_NEXT_PAGE, **_links_of("/jobs/0/event_id")},
        ),
        **_NOT_MODIFIED,
        **_problems(InvalidRequest),
    },
}
GET_JOB: dict[str, Any] = {
    "summary": "Read a job",
    "description": "Its status, each step, and the result so far.",
    "operation_id": "getJob",
    "tags": ["jobs"],
    "responses": {
        200: _answer(
            "The job.", JobView, _JOB, {"ETag": _ETAG, "Retry-After": _RETRY_AFTER}, {**_IF_CHANGED, **_LINKS}
        ),
        **_NOT_MODIFIED,
        **_problems(JobNotFound),
    },
}
CANCEL_JOB: dict[str, Any] = {
    "summary": "Cancel a job",
    "description": "It ends at once, or before its next step where a worker has it.",
    "operation_id": "cancelJob",
    "tags": ["jobs"],
    "responses": {
        200: _answer("The job.", JobView, {**_PENDING, "status": "cancelled"}, links=_LINKS),
        **_problems(ForeignOrigin, JobNotFound, JobIsFinal),
    },
}
RETRY_JOB: dict[str, Any] = {
    "summary": "Run a failed or cancelled job again",
    "description": "It goes on after its last finished step.",
    "operation_id": "retryJob",
    "tags": ["jobs"],
    "responses": {
        200: _answer("The job.", JobView, _PENDING, links=_LINKS),
        **_problems(ForeignOrigin, JobNotFound, JobIsFinal, JobIsNotFinal, LimitReached),
    },
}
DELETE_JOB: dict[str, Any] = {
    "summary": "Erase a job",
    "description": "A job that has ended, and all that it stored.",
    "operation_id": "deleteJob",
    "tags": ["jobs"],
    "responses": {204: {"description": "It is erased."}, **_problems(ForeignOrigin, JobNotFound, JobIsNotFinal)},
}
LIST_CHAINS: dict[str, Any] = {
    "summary": "List the chains",
    "description": "What `job_name` can name, with the JSON Schema of each chain's payload.",
    "operation_id": "listChains",
    "tags": ["system"],
    "responses": {
        200: _answer("The chains.", ChainList, {"chains": [_CHAIN]}, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(),
    },
}
GET_STATS: dict[str, Any] = {
    "summary": "How the jobs stand",
    "description": "Your own jobs; the queues' depth, which is that of all tenants, for operators only.",
    "operation_id": "getStats",
    "tags": ["system"],
    "responses": {
        200: _answer("The numbers.", StatsView, _STATS, {"ETag": _ETAG}),
        **_NOT_MODIFIED,
        **_problems(),
    },
}
_HEALTH = {
    "status": "ok",
    "table": "ok",
    "queue": "ok",
    "model": {"name": "gpt-6-luna", "known": True, "shutdown_date": "2028-03-01", "days_left": 465},
}
GET_HEALTH: dict[str, Any] = {
    "summary": "Is everything reachable",
    "description": "Needs no key. `model` is what the worker's last look at the model's server found.",
    "operation_id": "getHealth",
    "tags": ["system"],
    "responses": {
        200: _answer("All is well.", HealthView, _HEALTH),
        **_problems(guarded=False),
    },
}


GET_CONTRACT: dict[str, Any] = {
    "summary": "This document",
    "description": "Needs no key. `/docs` and `/redoc` show it to people.",
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


def document(app: APIGatewayRestResolver, open_paths: Collection[str]) -> str:
    """The OpenAPI document of the app's routes, as JSON text; those of `open_paths` need no key."""
    # The models of a whole OpenAPI document take long to build, and no other request needs them.
    from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer, Server  # noqa: PLC0415

    schema = app.get_openapi_schema(
        title="Jobchain",
        version=VERSION,
        description=(
            "GPT chains as background jobs: post a text, read its summary, checklist and diagram.\n\n"
            "A path that does not exist is a 404 (`path-not-found`), a method that a path does not have a 405 "
            "(`method-not-allowed`, with `Allow`). Every error is `application/problem+json`."
        ),
        tags=["jobs", "system"],
        servers=[Server(url=".", description="Where this document is.")],
        security_schemes={"key": HTTPBearer(description="An API key, where the deployment asks for one.")},
        security=[{"key": []}],
    )
    content = _with_whole_numbers(schema.model_dump(by_alias=True, exclude_none=True, mode="json"))
    for path in open_paths:
        for operation in content["paths"][path].values():
            operation["security"] = []
    for methods in content["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
                parameter["name"] = _HEADERS.get(parameter["name"], parameter["name"])
            if "304" in operation["responses"]:
                operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
    for unused in ("HTTPValidationError", "ResponseValidationError", "ValidationError"):
        del content["components"]["schemas"][unused]
    content["paths"] = dict(sorted(content["paths"].items()))
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


# Headers have no case, but readers have.
_HEADERS = {"idempotency-key": "Idempotency-Key"}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that can be left out: it can't be null then."""
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
