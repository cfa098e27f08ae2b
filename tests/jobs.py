"""Jobs as the API answers them, for tests of what reads them."""

from typing import Any

from jobchain_client import Job

USAGE = {"input_tokens": 812, "cached_tokens": 0, "output_tokens": 140, "reasoning_tokens": 0}


def raw_job(event_id: str = "0b6c2f4e-7d1a-4b53-9a0f-3f1c5b8e2d47", **fields: Any) -> dict[str, Any]:
    """A job that has completed, but for what is given."""
    return {
        "event_id": event_id,
        "job_name": "guideline_checklist",
        "status": "completed",
        "attempts": 1,
        "created_at": "2026-11-22T10:00:00.000Z",
        "started_at": "2026-11-22T10:00:00.210Z",
        "finished_at": "2026-11-22T10:00:04.870Z",
        "updated_at": "2026-11-22T10:00:04.870Z",
        "steps": [raw_step("summary"), raw_step("checklist"), raw_step("diagram")],
        "result": {"summary": "Short.", "checklist": ["One", "Two"], "diagram": "flowchart TD"},
        "result_view": [
            {"name": "summary", "form": "text"},
            {"name": "checklist", "form": "checklist"},
            {"name": "diagram", "form": "diagram"},
        ],
        "usage": USAGE,
        "cost_usd": 0.0001512,
        "error": None,
        "metadata": {},
        **fields,
    }


def raw_step(name: str, status: str = "completed") -> dict[str, Any]:
    """A step that took two seconds, or one that has not ended."""
    if status != "completed":
        return {"name": name, "status": status}
    return {
        "name": name,
        "status": status,
        "model": "gpt-6-luna",
        "prompt_version": "5d0c",
        "started_at": "2026-11-22T10:00:00.000Z",
        "finished_at": "2026-11-22T10:00:02.000Z",
        "usage": USAGE,
        "cost_usd": 0.0000504,
    }


def raw_attempt(step: str, **fields: Any) -> dict[str, Any]:
    """A call that was refused for a while."""
    return {
        "step": step,
        "started_at": "2026-11-22T10:00:00.000Z",
        "finished_at": "2026-11-22T10:00:01.500Z",
        "model": "gpt-6-luna",
        "tier": "standard",
        "outcome": "model_unavailable",
        "cause": "The server is overloaded.",
        "answer": None,
        "request_id": "req_5f1c",
        "usage": USAGE,
        "cost_usd": 0,
        "estimated": False,
        **fields,
    }


def raw_event(number: int, type_: str = "step.completed", **fields: Any) -> dict[str, Any]:
    """An event of a job's first claim: a step that took two seconds, but for what is given."""
    nothing = ("request_id", "outcome", "cause", "waiting_for", "error")
    step = {"step": "summary", "started_at": "2026-11-22T10:00:00.000Z", "model": "gpt-6-luna", "tier": "standard"}
    spending = {"usage": USAGE, "calls": 1, "retries": 0, "cost_usd": 0.0000504}
    if type_ != "step.completed":
        step, spending = dict.fromkeys(step), None  # type: ignore[assignment]
    return {
        "id": f"1f3a9c02-1-{number}",
        "type": type_,
        "at": "2026-11-22T10:00:02.000Z",
        "attempt": 1,
        **step,
        "spending": spending,
        **dict.fromkeys(nothing),
        **fields,
    }


def raw_events(*events: dict[str, Any], status: str = "processing", more: bool = False) -> dict[str, Any]:
    """A page of events, whose `next_after` names the last of them."""
    return {"events": events, "next_after": f"after-{events[-1]['id']}", "has_more": more, "status": status}


def job_of(**fields: Any) -> Job:
    """The same as the client reads it."""
    return Job.of(raw_job(**fields))
