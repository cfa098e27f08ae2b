"""The events of jobs: what they are called, who gets them, and their bodies, which have no text of the job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from jobchain.text import dump

JOB_URLS = "jobs"
"""The id of the endpoint for the URLs that jobs name themselves: they share one secret."""

TEST = "webhook.test"
"""The type of an event that is about no job."""


class EventType(StrEnum):
    """What happened to a job."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    WAITING = "job.waiting"


@dataclass(frozen=True, slots=True)
class Receiver:
    """An endpoint as it is stamped on a job: its id, the events that it wants, and the URL if the job names that.

    Without events it wants all. After a rollback there may be some that only a later version knows.
    """

    endpoint_id: str
    events: tuple[str, ...] = ()
    url: str | None = None

    def wants(self, event: EventType) -> bool:
        return not self.events or event in self.events


@dataclass(frozen=True, slots=True)
class Notification:
    """Who is told of a job's end, and what all of its events say. Times are texts as jobs have them."""

    receivers: tuple[Receiver, ...]
    event_id: str
    job_name: str
    created_at: str
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def wanted_by(self, event: EventType) -> list[Receiver]:
        """Those who want the event."""
        return [receiver for receiver in self.receivers if receiver.wants(event)]

    def body(self, event: EventType, at: str, error: Mapping[str, str | None] | None = None) -> str:
        """The body of the event of an end, `at` this time. `error` has the type and the step of a failure."""
        failure = {"error": dict(error)} if error else {}
        return self._body(event, at, event.removeprefix("job."), {"finished_at": at, **failure})

    def waiting_body(self, at: str, reason: str, until: str | None) -> str:
        """The body of the event that a job began to wait `at` this time, `until` another if that is known."""
        return self._body(EventType.WAITING, at, "pending", {"waiting_for": {"reason": reason, "until": until}})

    def _body(self, event: EventType, at: str, status: str, more: Mapping[str, object]) -> str:
        data = {
            "event_id": self.event_id,
            "status": status,
            "job_name": self.job_name,
            **({"title": self.title} if self.title else {}),
            "metadata": dict(self.metadata),
            "created_at": self.created_at,
            **more,
        }
        return dump({"type": event, "timestamp": at, "data": data})


def body_of_test(endpoint_id: str, at: str) -> tuple[str, str]:
    """The type and the body of an event that tells an endpoint nothing but that it is reached."""
    return TEST, dump({"type": TEST, "timestamp": at, "data": {"endpoint_id": endpoint_id}})
