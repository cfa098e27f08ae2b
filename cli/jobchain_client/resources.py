"""What goes to the API and what comes from it. A field that this version does not know is kept in `raw`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import uuid4


class BadArgument(ValueError):
    """An argument that no request can be made of; says which, and what to give instead."""


def new_key() -> str:
    """A new, random idempotency key."""
    return str(uuid4())


FINAL = frozenset({"completed", "failed", "cancelled"})
"""The statuses that a job stays in."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for one job.

    `content` is a text or a chain's payload. A text without a `chain` is for the API's default chain; with one it goes
    into the one text that the chain's payload needs. `options` are further fields of the request, such as
    `max_cost_usd`; one that is None is left out. The `idempotency_key` makes the request safe to repeat; without one
    it is a new UUID, so that the same Submission is always the same job.
    """

    content: str | Mapping[str, Any]
    chain: str | None = None
    metadata: Mapping[str, str] | None = None
    idempotency_key: str = field(default_factory=new_key)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chain is None and not isinstance(self.content, str):
            raise BadArgument("a payload needs the chain that it is for: give chain=")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens; cached ones are part of the input, reasoning ones of the output."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None) -> Self:
        names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
        return cls(*(int((raw or {}).get(name) or 0) for name in names))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a job. What is not known yet is None; `cost_usd` also where a price is not known."""

    name: str
    status: str
    model: str | None
    prompt_version: str | None
    started_at: datetime | None
    finished_at: datetime | None
    usage: Usage
    calls: int | None
    retries: int | None
    cost_usd: float | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            name=raw["name"],
            status=raw["status"],
            model=raw.get("model"),
            prompt_version=raw.get("prompt_version"),
            started_at=_moment(raw.get("started_at")),
            finished_at=_moment(raw.get("finished_at")),
            usage=Usage.of(raw.get("usage")),
            calls=raw.get("calls"),
            retries=raw.get("retries"),
            cost_usd=raw.get("cost_usd"),
            raw=raw,
        )

    @property
    def seconds(self) -> float | None:
        """How long the step took; None before it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed; docs/reference/http-api.md lists the types. `step` is the one that failed, if it was one."""

    type: str
    message: str
    step: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was read.

    From a list it has no steps, no result and no metadata. `result` holds what has finished so far. `cost_usd` is None
    where a price is not known. `calls` are those of the model, `retries` those of them that repeated one. `etag` names
    this state: see `Jobchain.get`.
    """

    event_id: str
    job_name: str
    status: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime | None
    steps: tuple[Step, ...]
    result: Mapping[str, Any]
    usage: Usage
    cost_usd: float | None
    error: Failure | None
    metadata: Mapping[str, str]
    tier: str | None
    max_cost_usd: float | None
    calls: int | None
    retries: int | None
    etag: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], etag: str | None = None) -> Self:
        error = raw.get("error")
        return cls(
            event_id=raw["event_id"],
            job_name=raw["job_name"],
            status=raw["status"],
            attempts=raw["attempts"],
            created_at=datetime.fromisoformat(raw["created_at"]),
            started_at=_moment(raw.get("started_at")),
            finished_at=_moment(raw.get("finished_at")),
            updated_at=_moment(raw.get("updated_at")),
            steps=tuple(Step.of(step) for step in raw.get("steps", ())),
            result=raw.get("result") or {},
            usage=Usage.of(raw.get("usage")),
            cost_usd=raw.get("cost_usd"),
            error=Failure(error["type"], error["message"], error.get("step")) if error else None,
            metadata=raw.get("metadata") or {},
            tier=raw.get("tier"),
            max_cost_usd=raw.get("max_cost_usd"),
            calls=raw.get("calls"),
            retries=raw.get("retries"),
            etag=etag,
            raw=raw,
        )

    @property
    def final(self) -> bool:
        """Whether the job has ended. Only a retry changes it then."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class Created:
    """The answer to a request that was accepted; `replayed` if its idempotency key had made the job before."""

    event_id: str
    status: str
    created_at: datetime
    replayed: bool

    @classmethod
    def of(cls, raw: Mapping[str, Any], *, replayed: bool) -> Self:
        return cls(raw["event_id"], raw["status"], datetime.fromisoformat(raw["created_at"]), replayed)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that jobs can run. `payload_schema` is the JSON Schema of its payload."""

    name: str
    description: str
    steps: tuple[str, ...]
    payload_schema: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        steps = tuple(step["name"] for step in raw["steps"])
        return cls(raw["name"], raw["description"], steps, raw["payload_schema"], raw)

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the texts that a payload must have."""
        fields = self.payload_schema.get("properties", {})
        return tuple(
            name for name in self.payload_schema.get("required", ()) if fields.get(name, {}).get("type") == "string"
        )


@dataclass(frozen=True, slots=True)
class Stats:
    """How the caller's jobs stand, and what the day (UTC) came to so far. `queue` is None but for operators."""

    jobs: Mapping[str, int]
    date: str
    created: int
    usage: Usage
    cost_usd: float | None
    queue: Mapping[str, int] | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        today = raw["today"]
        return cls(
            jobs=raw["jobs"],
            date=today["date"],
            created=today["created"],
            usage=Usage.of(today["usage"]),
            cost_usd=today["cost_usd"],
            queue=raw["queue"],
            raw=raw,
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
