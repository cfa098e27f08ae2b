"""Jobs as tasks: what a client of the current version polls in place of a tool.

https://github.com/modelcontextprotocol/ext-tasks
"""

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from jobchain.chains.chain import Chain
from jobchain.domain import Job, Status
from jobchain_api.mcp.tools import job_result, progress
from jobchain_api.views import JobView, job_view

# A job that has failed is a completed task, whose result says so: `failed` is for faults of the protocol.
_STATUS = {
    Status.PENDING: "working",
    Status.PROCESSING: "working",
    Status.COMPLETED: "completed",
    Status.FAILED: "completed",
    Status.CANCELLED: "cancelled",
}


def task(job: Job, chains: Mapping[str, Chain], retry_after: int) -> dict[str, JsonValue]:
    """The task of a job, with its result if it has ended. `retry_after`: in how many seconds it has probably ended."""
    view = job_view(job, chains)
    created = datetime.fromisoformat(job.created_at)
    found: dict[str, JsonValue] = {
        "taskId": job.event_id,
        "status": _STATUS[job.status],
        "statusMessage": _message(job, view),
        "createdAt": job.created_at,
        "lastUpdatedAt": job.updated_at,
        "ttlMs": max(0, round((job.expires_at - created.timestamp()) * 1000)) if job.expires_at else None,
    }
    if not job.status.final:
        found["pollIntervalMs"] = max(1, retry_after) * 1000
    if _STATUS[job.status] == "completed":
        found["result"] = {"resultType": "complete", **job_result(job, view, 0)}
    return found


def _message(job: Job, view: JobView) -> str:
    waiting = job.waiting_for
    return progress(view) + (f"; waiting for {waiting.reason.value}: {waiting.detail}" if waiting else "")
