"""A job's events as callers get them."""

from typing import Any

from pydantic import Field

from jobchain.aws.history import HistoryPage
from jobchain.domain import Attempt, FinishedStep, JobError, Status, Tier, WaitingFor
from jobchain.job_events import EventType, JobEvent
from jobchain_api.call_views import SpendingView
from jobchain_api.created_views import LazyView
from jobchain_api.views import ErrorView, WaitingView


class EventView(LazyView):
    """Something that happened to a job. What an event of its type does not have is null."""

    id: str = Field(description="Unique, and the same in each answer.")
    type: EventType = Field(
        description="`step.copied`: the job is a fork, and began with the output. `call.failed`: a call of the model. "
        "`job.waiting`, and how the job ended, are told while the job is in that state."
    )
    at: str
    attempt: int = Field(description="Which claim of the job this belongs to: 0 before the first.")
    step: str | None
    started_at: str | None = Field(description="When the step or the call began. Its end is `at`.")
    model: str | None
    tier: Tier | None
    request_id: str | None = Field(description="The provider's id of the call, of a step that of its last one.")
    spending: SpendingView | None = Field(description="What the call cost, or all calls of the step together.")
    outcome: str | None = Field(description="The type of the fault of a call.")
    cause: str | None = Field(description="Why the call failed, in words for the author of the chain.")
    waiting_for: WaitingView | None
    error: ErrorView | None


class EventPage(LazyView):
    """A page of a job's events."""

    events: list[EventView]
    next_after: str = Field(description="Send it as `after`, now or later, for the events that follow.")
    has_more: bool = Field(description="Whether there are further events now.")
    status: Status = Field(description="The job's status. Once it is final and `has_more` is false, the job has ended.")


def event_page(page: HistoryPage) -> EventPage:
    """A page as callers see it."""
    return EventPage(
        events=[_event(event, page.position.uid) for event in page.events],
        next_after=str(page.position),
        has_more=page.more,
        status=page.job.status,
    )


def _event(event: JobEvent, uid: str) -> EventView:
    fields: dict[str, Any] = dict.fromkeys(EventView.model_fields)
    about = {"id": f"{uid}-{event.name}", "type": event.type, "at": event.at, "attempt": event.claim}
    return EventView(**{**fields, **about, **_detail(event)})


def _detail(event: JobEvent) -> dict[str, Any]:
    match detail := event.detail:
        case FinishedStep(copied=True):
            return {"step": detail.name, "model": detail.model or None}
        case FinishedStep():
            called = {"model": detail.model, "tier": detail.tier, "request_id": detail.request_id}
            return {
                "step": detail.name,
                "started_at": detail.started_at,
                "spending": SpendingView.of(detail.total),
                **(called if detail.model else {}),
            }
        case Attempt():
            return {
                "step": detail.step,
                "started_at": detail.started_at,
                "model": detail.model,
                "tier": detail.tier,
                "request_id": detail.request_id,
                "spending": SpendingView.of(detail.spending),
                "outcome": detail.outcome,
                "cause": detail.cause,
            }
        case WaitingFor():
            return {"waiting_for": WaitingView.model_validate(detail)}
        case JobError():
            return {"step": detail.step, "error": ErrorView.model_validate(detail)}
        case None:
            return {}
