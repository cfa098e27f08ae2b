"""Makes signed requests of jobs' ends, as the deployment's webhooks are, and sends them to an address."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import httpx2

from jobchain.webhooks.events import EventType, Notification
from jobchain.webhooks.signatures import signed_headers
from jobchain_client import Job

SECONDS = 10.0
"""How long the receiver may take: as long as for a webhook of the deployment."""


@dataclass(frozen=True, slots=True)
class Event:
    """The end of a job as a webhook tells it. The same end has the same `webhook_id`, also in another run."""

    webhook_id: str
    type: str
    event_id: str
    title: str | None
    body: bytes

    @classmethod
    def of(cls, job: Job) -> Self:
        """The event of a job that has ended."""
        raw = job.raw
        notification = Notification((), job.event_id, job.job_name, raw["created_at"], job.title, job.metadata)
        error = {"type": job.error.type, "step": job.error.step} if job.error else None
        kind, at = EventType(f"job.{job.status}"), raw["finished_at"]
        named = hashlib.sha256(f"{job.event_id} {kind} {at}".encode()).hexdigest()
        return cls(f"evt_{named[:32]}", kind, job.event_id, job.title, notification.body(kind, at, error).encode())


@dataclass(frozen=True, slots=True)
class Try:
    """What became of a request: the status of the answer, or why there was none."""

    status: int | None
    why: str
    seconds: float

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Forwarder:
    """Sends events to one address, signed with one secret. It follows no redirect, and uses no proxy."""

    def __init__(
        self,
        address: str,
        secret: str,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._secret = secret
        self._clock = clock
        self._http = httpx2.Client(follow_redirects=False, trust_env=False, timeout=SECONDS, transport=transport)

    def send(self, event: Event) -> Try:
        """Sends the event once; the answer's status is all that is read of it."""
        started = self._clock()
        try:
            with self._http.stream("POST", self._address, content=event.body, headers=self._headers(event)) as answer:
                return Try(answer.status_code, "", self._clock() - started)
        except httpx2.TimeoutException:
            return Try(None, f"no answer within {SECONDS:g} s", self._clock() - started)
        except httpx2.RequestError as error:
            return Try(None, f"no answer: {str(error) or type(error).__name__}", self._clock() - started)

    def _headers(self, event: Event) -> Mapping[str, str]:
        signed = signed_headers(event.webhook_id, datetime.now(UTC), event.body, [self._secret])
        return {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Jobchain-Webhooks/1", **signed}

    def close(self) -> None:
        self._http.close()
