"""The events of a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from jobchain_client.resources import FINAL, Failure, Spending, WaitingFor, failure_of


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job at a time `at`; `type` is a word such as `step.completed`.

    `id` is unique, and the same each time that the event is told. `attempt` says which claim of the job it belongs to.
    What an event of its type does not have is None: docs/reference/http-api.md. `spending` is that of the call, or of
    all calls of the step.
    `after` is where to continue from. The events of the same page that came before this one may be told again then.
    """

    id: str
    type: str
    at: datetime
    attempt: int
    step: str | None
    started_at: datetime | None
    model: str | None
    tier: str | None
    request_id: str | None
    spending: Spending | None
    outcome: str | None
    cause: str | None
    waiting_for: WaitingFor | None
    error: Failure | None
    after: str | None = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def seconds(self) -> float | None:
        """How long the step or the call took; None for any other event."""
        return (self.at - self.started_at).total_seconds() if self.started_at else None

    @classmethod
    def of(cls, raw: Mapping[str, Any], after: str | None) -> Self:
        started, spending, waiting = raw.get("started_at"), raw.get("spending"), raw.get("waiting_for")
        return cls(
            id=raw["id"],
            type=raw["type"],
            at=datetime.fromisoformat(raw["at"]),
            attempt=raw["attempt"],
            step=raw.get("step"),
            started_at=datetime.fromisoformat(started) if started else None,
            model=raw.get("model"),
            tier=raw.get("tier"),
            request_id=raw.get("request_id"),
            spending=Spending.of(spending) if spending else None,
            outcome=raw.get("outcome"),
            cause=raw.get("cause"),
            waiting_for=WaitingFor.of(waiting) if waiting else None,
            error=failure_of(raw),
            after=after,
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, and where the next one begins; `ended` if there is nothing more to come."""

    events: Sequence[Event]
    next_after: str
    has_more: bool
    ended: bool

    @classmethod
    def of(cls, raw: Mapping[str, Any], after: str | None) -> Self:
        found, following, more = raw["events"], raw["next_after"], raw["has_more"]
        # The position after the page is that of its last event alone.
        events = [Event.of(event, following if event is found[-1] else after) for event in found]
        return cls(events, following, more, raw["status"] in FINAL and not more)
