"""The examples of the OpenAPI document: bodies, and the detail of each problem."""

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

EVENT_ID = "0b6c2f4e-7d1a-4b53-9a0f-3f1c5b8e2d47"
REQUEST_ID = "7f0a1c52-93d4-4a6e-8f0b-2f6f1d0c9e11"

USAGE: dict[str, Any] = {
    "input_tokens": 812,
    "cached_tokens": 0,
    "cache_write_tokens": 0,
    "output_tokens": 140,
    "reasoning_tokens": 0,
}
NOT_ESTIMATED: dict[str, Any] = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0}
CREATED: dict[str, Any] = {"event_id": EVENT_ID, "status": "pending", "created_at": "2026-11-22T10:00:00.000Z"}
LISTED: dict[str, Any] = {
    "event_id": EVENT_ID,
    "job_name": "guideline_checklist",
    "title": "password-policy.md",
    "status": "completed",
    "attempts": 1,
    "created_at": "2026-11-22T10:00:00.000Z",
    "started_at": "2026-11-22T10:00:00.210Z",
    "finished_at": "2026-11-22T10:00:04.870Z",
    "updated_at": "2026-11-22T10:00:04.870Z",
    "usage": USAGE,
    "calls": 1,
    "retries": 0,
    "cost_usd": 0.0001512,
    "estimated": NOT_ESTIMATED,
    "max_cost_usd": None,
    "tier": "standard",
    "error": None,
    "waiting_for": None,
    "forked_from": None,
}
STEP: dict[str, Any] = {
    "name": "summary",
    "status": "completed",
    "failed_tries": 0,
    "model": "gpt-6-luna",
    "prompt_version": "5d0c7a91be23",
    "chain_version": "a8b002a0",
    "started_at": "2026-11-22T10:00:00.230Z",
    "finished_at": "2026-11-22T10:00:01.940Z",
    "usage": USAGE,
    "calls": 1,
    "retries": 0,
    "cost_usd": 0.0001512,
    "estimated": NOT_ESTIMATED,
    "tier": "standard",
    "request_id": "req_5f1c0a9e7b3d",
    "copied": False,
}
JOB: dict[str, Any] = {
    **LISTED,
    "steps": [STEP],
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
    "result_view": [{"name": "summary", "form": "text"}, {"name": "diagram", "form": "diagram"}],
    "metadata": {"source": "handbook"},
    "chain_version": "a8b002a0",
    "deadline_seconds": 86_400,
    "deadline_at": "2026-11-23T10:00:00.000Z",
    "failed_attempts": None,
    "answered_calls": None,
    "input": None,
    "prompts": None,
}
PENDING: dict[str, Any] = {
    **JOB,
    **dict.fromkeys(("started_at", "finished_at", "cost_usd", "chain_version")),
    "status": "pending",
    "attempts": 0,
    "steps": [{**dict.fromkeys(STEP), "name": "summary", "status": "pending", "failed_tries": 0, "copied": False}],
    "result": {},
    "usage": dict.fromkeys(USAGE, 0),
    "calls": 0,
    "retries": 0,
    "cost_usd": 0,
    "updated_at": CREATED["created_at"],
    "waiting_for": {
        "reason": "queue",
        "since": CREATED["created_at"],
        "until": None,
        "detail": "the job waits for a worker",
        "retryable": False,
    },
}
WAITING: dict[str, Any] = {
    **PENDING,
    "attempts": 1,
    "chain_version": "a8b002a0",
    "started_at": "2026-11-22T10:00:00.210Z",
    "updated_at": "2026-11-22T10:00:01.140Z",
    "calls": 1,
    "waiting_for": {
        "reason": "retry",
        "since": "2026-11-22T10:00:01.120Z",
        "until": "2026-11-22T10:00:11.120Z",
        "detail": "try 1: the model's server answered 503",
        "retryable": True,
    },
    "steps": [
        {
            **STEP,
            "status": "pending",
            "failed_tries": 1,
            "prompt_version": None,
            "chain_version": None,
            "finished_at": "2026-11-22T10:00:01.110Z",
            "usage": dict.fromkeys(USAGE, 0),
            "cost_usd": 0,
        }
    ],
    "failed_attempts": [
        {
            "step": "summary",
            "started_at": STEP["started_at"],
            "finished_at": "2026-11-22T10:00:01.110Z",
            "model": "gpt-6-luna",
            "tier": "standard",
            "effort": "low",
            "outcome": "model_unavailable",
            "cause": "The server is overloaded.",
            "answer": None,
            "request_id": STEP["request_id"],
            "usage": dict.fromkeys(USAGE, 0),
            "cost_usd": 0,
            "estimated": False,
        }
    ],
    "answered_calls": [],
    "input": {"guidelines": "Passwords must have at least 12 characters. …"},
    "prompts": [
        {
            "step": "summary",
            "chain_version": "a8b002a0",
            "instructions": "Summarize the guideline.",
            "input": "<<<guideline 1f2e3d>>>\nPasswords must have at least 12 characters. …\n<<<end 1f2e3d>>>",
            "same_as_sent": None,
            "problem": None,
        }
    ],
}
_EVENT: dict[str, Any] = {
    "id": "1f3a9c02-0-0",
    "type": "job.created",
    "at": "2026-11-22T10:00:00.000Z",
    "attempt": 0,
    "step": None,
    "started_at": None,
    "model": None,
    "tier": None,
    "request_id": None,
    "spending": None,
    "outcome": None,
    "cause": None,
    "waiting_for": None,
    "error": None,
}
EVENTS: dict[str, Any] = {
    "events": [
        _EVENT,
        {**_EVENT, "id": "1f3a9c02-1-0", "type": "job.started", "at": "2026-11-22T10:00:00.210Z", "attempt": 1},
        {
            **_EVENT,
            "id": "1f3a9c02-1-1",
            "type": "step.completed",
            "at": STEP["finished_at"],
            "attempt": 1,
            "step": "summary",
            **{name: STEP[name] for name in ("started_at", "model", "tier", "request_id")},
            "spending": {name: STEP[name] for name in ("usage", "calls", "retries", "cost_usd", "estimated")},
        },
    ],
    "next_after": "1f3a9c02~0.0_1.1~",
    "has_more": False,
    "status": "processing",
}
_APPROVAL: dict[str, Any] = {
    "title": "Review the letter",
    "shown": "Dear customer, your refund is on its way.",
    "since": "2026-11-22T10:00:02.000Z",
    "until": "2026-11-29T10:00:02.000Z",
    "on_deadline": "reject",
    "decision": "approve",
    "value": None,
    "by": "Mia",
    "key_id": "3f9c1d20a4e5",
    "comment": None,
    "decided_at": "2026-11-22T11:30:00.000Z",
    "at_deadline": False,
}
DECIDED: dict[str, Any] = {
    **PENDING,
    "job_name": "refunds",
    "attempts": 1,
    "started_at": "2026-11-22T10:00:00.210Z",
    "steps": [
        {**dict.fromkeys(STEP), "name": "review", "status": "pending", "failed_tries": 0, "copied": False}
        | {"approval": _APPROVAL}
    ],
}
CHAIN: dict[str, Any] = {
    "name": "guideline_checklist",
    "description": "Summarizes a guideline, makes a checklist of it and a diagram of that.",
    "steps": [
        {"name": "summary", "needs": []},
        {"name": "checklist", "needs": ["summary"]},
        {"name": "diagram", "needs": ["checklist", "summary"]},
    ],
    "payload_schema": {"type": "object", "properties": {"guidelines": {"type": "string"}}, "required": ["guidelines"]},
    "result": [{"name": "summary", "form": "text"}],
}
SPENDING: dict[str, Any] = {
    "usage": USAGE,
    "calls": 131,
    "retries": 2,
    "cost_usd": 0.0061,
    "estimated": {"calls": 1, "input_tokens": 310, "output_tokens": 64, "cost_usd": 0.0004},
}
_REPLAYS: dict[str, Any] = {
    "created": 5,
    "completed": 5,
    "failed": 0,
    "cancelled": 0,
    "calls": 15,
    "retries": 0,
    "cost_usd": 0.0034,
    "usage": {**USAGE, "input_tokens": 24100, "output_tokens": 2050},
    "estimated": NOT_ESTIMATED,
}
STATS: dict[str, Any] = {
    "jobs": {"pending": 3, "processing": 1, "completed": 40, "failed": 1, "cancelled": 0},
    "today": {
        "date": "2026-11-22",
        "created": 45,
        **SPENDING,
        "by_model": {"gpt-6-luna": SPENDING},
        "by_key": {"3f9c1d20a4e5": SPENDING},
        "by_chain": {"guideline_checklist": SPENDING},
        "replays": _REPLAYS,
    },
    "queue": {"waiting": 2, "in_flight": 1, "delayed": 1, "dead_letters": 0},
}

_ENDED: dict[str, Any] = {"completed": 40, "failed": 1, "cancelled": 0}
USAGE_OF_DAYS: dict[str, Any] = {
    "from": "2026-11-22",
    "to": "2026-11-22",
    "by": "chain",
    "days": [
        {
            "date": "2026-11-22",
            "created": 45,
            **_ENDED,
            **SPENDING,
            "groups": {"guideline_checklist": {**_ENDED, **SPENDING}},
            "replays": _REPLAYS,
        }
    ],
    "total": {**_ENDED, **SPENDING},
    "replays": _REPLAYS,
    "next_from": None,
}
HEALTH: dict[str, Any] = {
    "status": "ok",
    "table": "ok",
    "queue": "ok",
    "breaker": "closed",
    "last_sweep_seconds": 24,
    "oldest_due_seconds": 0,
    "model": {"name": "gpt-6-luna", "known": True, "shutdown_date": "2028-03-01", "days_left": 465},
}
ENDPOINT: dict[str, Any] = {
    "endpoint_id": "ep_5f2a9c1d7e30",
    "url": "https://hooks.example.com/jobchain",
    "events": ["job.failed"],
    "chains": [],
    "created_at": "2026-11-29T10:00:00.000Z",
    "disabled_at": None,
    "disabled_because": None,
}
DELIVERY: dict[str, Any] = {
    "webhook_id": "evt_019ad00c5f8f3b1e5a7c9d2e4f607182",
    "endpoint_id": "ep_5f2a9c1d7e30",
    "url": None,
    "type": "job.failed",
    "event_id": EVENT_ID,
    "state": "waiting",
    "tries": 2,
    "created_at": "2026-11-29T10:00:00.000Z",
    "last_at": "2026-11-29T10:00:05.120Z",
    "last_status": 503,
    "last_message": "try later",
    "next_at": "2026-11-29T10:05:01.000Z",
}
EVENT: dict[str, Any] = {
    "type": "job.failed",
    "timestamp": "2026-11-29T10:00:00.000Z",
    "data": {
        "event_id": EVENT_ID,
        "status": "failed",
        "job_name": "guideline_checklist",
        "metadata": {},
        "created_at": "2026-11-29T09:59:30.000Z",
        "finished_at": "2026-11-29T10:00:00.000Z",
        "error": {"type": "model_refused", "step": "summary"},
    },
}
TEST_EVENT: dict[str, Any] = {
    **dict.fromkeys(DELIVERY),
    **{name: DELIVERY[name] for name in ("webhook_id", "endpoint_id", "state", "created_at")},
    "type": "webhook.test",
    "tries": 0,
}
# That of the reference libraries' tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

DETAILS: dict[type[JobchainError], str] = {
    MalformedBody: "expected value at line 1 column 2",
    Unauthorized: "send an API key, in the header `Authorization: Bearer <key>`",
    ForeignOrigin: "a deployment without API keys accepts changes only from pages of its own origin and from programs",
    JobNotFound: f"there is no job {EVENT_ID}",
    StepDoesNotWait: "the step reviw does not wait for a decision: decide review, which does",
    DecidedAlready: "the step review was decided already (reject): it stays as it is",
    DecisionTooLate: "the step review could be decided until 2026-11-29T10:00:02.000Z: now it is decided as its "
    "chain says, reject",
    JobIsFinal: f"job {EVENT_ID} is completed already",
    JobCannotBeForked: f"of job {EVENT_ID}, summary is not completed: fork it from there, or wait",
    JobIsNotFinal: f"job {EVENT_ID} is processing: cancel it first",
    BodyTooLarge: "the payload is 262200 bytes of UTF-8: the most is 262144",
    InvalidRequest: "input_text: must be a string",
    IdempotencyConflict: "the idempotency key was used for another job before: use a new key",
    LimitReached: "the key's limit jobs_per_minute (60) is reached: try again later, or ask for a higher one",
    Unavailable: "the table does not answer",
    EndpointNotFound: "there is no endpoint ep_5f2a9c1d7e30",
    TooManyEndpoints: "there are 10 endpoints, which is the most: delete one first",
    EndpointDisabled: "the endpoint ep_5f2a9c1d7e30 is disabled, as it answered 410 Gone: enable it first",
    DeliveryNotFound: "there is no such delivery: use a webhook_id of GET /deliveries",
    WebhooksOff: "this deployment sends no webhooks: deploy it with the parameter Webhooks=on",
}
"""An example of the detail of each error's problem."""

MEMBERS: dict[type[JobchainError], Any] = {
    InvalidRequest: {"errors": {"input_text": "must be a string"}},
    LimitReached: {"limit": "jobs_per_minute"},
}
"""The extension members of a problem, for the errors that have some."""
