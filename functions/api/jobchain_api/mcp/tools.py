"""The tools: one for each chain, one that reads a job and one that cancels it."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from jobchain.chains.chain import Chain
from jobchain.domain import Job, Status
from jobchain_api.system_views import ChainList, ChainView
from jobchain_api.views import JobView

# No chain's name has a hyphen.
GET_JOB = "get-job"
CANCEL_JOB = "cancel-job"

MOST_WAIT_SECONDS = 15
"""The longest that a call of `get-job` waits: the function and the gateway end after less than 30 seconds."""

_JOB: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "event_id": {"type": "string"},
        "chain": {"type": "string"},
        "status": {"enum": [status.value for status in Status]},
        "progress": {"type": "string"},
        "result": {"type": "object", "description": "What the chain has made so far; all of it once it is completed."},
        "error": {"type": "string", "description": "Why the job failed."},
        "waiting_for": {"type": "string", "description": "Why the job does not run yet."},
        "cost_usd": {"type": "number"},
        "retry_after_seconds": {"type": "integer", "description": "When the job has probably ended: read it then."},
    },
    "required": ["event_id", "chain", "status", "progress", "result"],
}
_EVENT_ID: dict[str, JsonValue] = {"type": "string", "description": "The event_id that the chain's tool has answered."}
_JOB_TOOLS: list[JsonValue] = [
    {
        "name": GET_JOB,
        "title": "Read a job",
        "description": "The status of a job, and its result once it is completed. Call it again, after "
        "retry_after_seconds, until the status is completed, failed or cancelled. wait_seconds makes it wait for that.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "event_id": _EVENT_ID,
                "wait_seconds": {"type": "integer", "minimum": 0, "maximum": MOST_WAIT_SECONDS, "default": 0},
            },
            "required": ["event_id"],
            "additionalProperties": False,
        },
        "outputSchema": _JOB,
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    },
    {
        "name": CANCEL_JOB,
        "title": "Cancel a job",
        "description": "Cancels a job at once, or before its next step. Completed steps stay paid.",
        "inputSchema": {
            "type": "object",
            "properties": {"event_id": _EVENT_ID},
            "required": ["event_id"],
            "additionalProperties": False,
        },
        "outputSchema": _JOB,
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": True,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    },
]


def tool_list(chains: Mapping[str, Chain]) -> list[JsonValue]:
    """The tools, in the order of the chains. A chain that can't be used is left out."""
    return [*map(_tool_of, ChainList.of(chains).chains), *_JOB_TOOLS]


def _tool_of(chain: ChainView) -> JsonValue:
    return {
        "name": chain.name,
        "description": f"{chain.description} It runs as a job, which takes a while and costs money.",
        "inputSchema": chain.payload_schema,
        "outputSchema": _JOB,
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": False,
            "idempotentHint": False,
            "openWorldHint": False,
        },
    }


def job_result(job: Job, view: JobView, retry_after: int) -> dict[str, JsonValue]:
    """A job, shown as `view`, as the result of a call. `retry_after`: seconds after which it has probably ended."""
    content: dict[str, Any] = {
        "event_id": job.event_id,
        "chain": job.job_name,
        "status": job.status.value,
        "progress": progress(view),
        "result": view.result,
    }
    if job.error:
        content["error"] = f"{job.error.type}: {job.error.message}"
    if job.waiting_for:
        content["waiting_for"] = f"{job.waiting_for.reason.value}: {job.waiting_for.detail}"
    if view.cost_usd is not None:
        content["cost_usd"] = view.cost_usd
    if not job.status.final:
        content["retry_after_seconds"] = retry_after
    return {
        # For clients that read no structured content.
        "content": [{"type": "text", "text": json.dumps(content, ensure_ascii=False)}],
        "structuredContent": content,
        "isError": job.status is Status.FAILED,
    }


def progress(view: JobView) -> str:
    """How far the job is, in words."""
    done = [step.name for step in view.steps if step.status is Status.COMPLETED]
    return f"{view.status.value}, {len(done)} of {len(view.steps)} steps completed"


def refused(reason: str) -> dict[str, JsonValue]:
    """The result of a call that is refused for a reason that its model can fix."""
    return {"content": [{"type": "text", "text": reason}], "isError": True}
