"""What goes to the API and what comes from it. A field that this version does not know is kept in `raw`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, Self, TypeVar
from uuid import uuid4

T = TypeVar("T")


class BadArgument(ValueError):
    """An argument that no request can be made of; says which, and what to give instead."""


def new_key() -> str:
    """A new, random idempotency key."""
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class ListFilter:
    """Which jobs a list has: those that fulfill each condition that is given.

    `title` is a part of the title, in any case. A job is listed that was created at `created_after` or later, and
    before `created_before`; a time without a zone is a local one. `metadata` are entries that it has. Jobs of replays
    are listed only with `replays`, or if the `replay` that they are a part of is given: then no others are. With
    `replays="only"` the jobs of all replays are listed, and no others.
    """

    status: str | None = None
    chain: str | None = None
    title: str | None = None
    metadata: Mapping[str, str] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    replays: bool | Literal["only"] = False
    replay: str | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query parameters that ask for these jobs."""
        named = {
            "status": self.status,
            "job_name": self.chain,
            "title": self.title,
            "created_after": _utc(self.created_after),
            "created_before": _utc(self.created_before),
            "replays": str(self.replays).lower() if self.replays else None,
            "replay": self.replay,
        }
        entries = {f"metadata.{name}": value for name, value in (self.metadata or {}).items()}
        return {name: value for name, value in named.items() if value} | entries


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


FINAL = frozenset({"completed", "failed", "cancelled"})
"""The statuses that a job stays in."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for one job.

    `content` is a text or a chain's payload. A text without a `chain` is for the API's default chain; with one it goes
    into the one text that the chain's payload needs. `options` are further fields of the request, such as `title` and
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
    """Tokens; those read from and written to a cache are part of the input, reasoning ones of the output."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None) -> Self:
        names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cache_write_tokens")
        return cls(*(int((raw or {}).get(name) or 0) for name in names))


@dataclass(frozen=True, slots=True)
class Estimate:
    """The part of usage and cost that the model's server did not tell: an upper bound. `calls` is 0 if it told all."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None) -> Self:
        if not raw:
            return cls()
        return cls(raw["calls"], raw["input_tokens"], raw["output_tokens"], raw["cost_usd"])


@dataclass(frozen=True, slots=True)
class Spending:
    """What calls of the model used and cost: `cost_usd` is 0 for free models, None if a price is not known."""

    usage: Usage
    calls: int
    retries: int
    cost_usd: float | None
    estimated: Estimate

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        usage, estimated = Usage.of(raw["usage"]), Estimate.of(raw.get("estimated"))
        return cls(usage, raw.get("calls") or 0, raw.get("retries") or 0, raw["cost_usd"], estimated)


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """Why a pending job does not run yet: `reason` is a word such as `retry`, `detail` says more.

    `until` is when it continues, without a request; None if that is not known. A wait that is `retryable` ends at
    `retry`; a retry of others is refused.
    """

    reason: str
    since: datetime
    until: datetime | None
    detail: str
    retryable: bool = False

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            raw["reason"],
            datetime.fromisoformat(raw["since"]),
            _moment(raw.get("until")),
            raw["detail"],
            raw.get("retryable", False),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model, whose answer became the output of `step`.

    `effort` is how much the model was told to reason, None for its default, and `request_id` the provider's id of the
    call. With `estimated`, usage and cost are an upper bound.
    """

    step: str
    started_at: datetime
    finished_at: datetime
    model: str
    tier: str
    effort: str | None
    request_id: str | None
    usage: Usage
    cost_usd: float | None
    estimated: bool
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(**_call(raw))

    @property
    def seconds(self) -> float:
        """How long the call took."""
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Attempt(Call):
    """One failed call of the model.

    `outcome` is the type of the fault, `cause` says why, in words for the author of the chain, and `answer` is the
    model's text if there is one.
    """

    outcome: str
    cause: str | None
    answer: str | None = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(**_call(raw), outcome=raw["outcome"], cause=raw.get("cause"), answer=raw.get("answer"))


def _call(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "step": raw["step"],
        "started_at": datetime.fromisoformat(raw["started_at"]),
        "finished_at": datetime.fromisoformat(raw["finished_at"]),
        "model": raw["model"],
        "tier": raw["tier"],
        "effort": raw.get("effort"),
        "request_id": raw.get("request_id"),
        "usage": Usage.of(raw.get("usage")),
        "cost_usd": raw.get("cost_usd"),
        "estimated": raw.get("estimated", False),
        "raw": raw,
    }


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model was asked for a step.

    The instructions are those of the version `chain_version`, or of the chain as it is now where that is None; the
    input is made again. `same_as_sent` is False if the chain has changed since so that the input is another, None if
    that is not known. `problem` says why the input is None, and maybe the instructions.
    """

    step: str
    instructions: str | None = field(repr=False)
    input: str | None = field(repr=False)
    same_as_sent: bool | None
    problem: str | None
    chain_version: str | None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            step=raw["step"],
            instructions=raw["instructions"],
            input=raw["input"],
            same_as_sent=raw.get("same_as_sent"),
            problem=raw.get("problem"),
            chain_version=raw.get("chain_version"),
        )


@dataclass(frozen=True, slots=True)
class Approval:
    """A step that a person decides. It waits while `decision` is None; `value` is that of an edit.

    `shown` is what the person is shown. Without a decision until `until`, `on_deadline` is decided: then
    `at_deadline` is True. `by` is the name of who has decided, and `key_id` the API key with which it was done.
    """

    title: str
    shown: Any
    since: datetime
    until: datetime
    on_deadline: str
    decision: str | None
    value: Any
    by: str | None
    key_id: str | None
    comment: str | None
    decided_at: datetime | None
    at_deadline: bool

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            raw["title"],
            raw["shown"],
            datetime.fromisoformat(raw["since"]),
            datetime.fromisoformat(raw["until"]),
            raw["on_deadline"],
            raw.get("decision"),
            raw.get("value"),
            raw.get("by"),
            raw.get("key_id"),
            raw.get("comment"),
            _moment(raw.get("decided_at")),
            raw.get("at_deadline", False),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a job. What is not known yet is None; `cost_usd` also where a price is not known.

    `failed_tries` is how often it failed and was tried again. A step that is not completed has model, usage, calls and
    cost of its failed calls, and the times of the last one, if the job was read with its attempts. A `copied` step was
    run by the job that was forked: it has no times, and has cost nothing here. `chain_version` is the version of the
    chain that it was run with. `approval` is set for a step that a person decides, once it waits or was decided.
    """

    name: str
    status: str
    model: str | None
    prompt_version: str | None
    chain_version: str | None
    started_at: datetime | None
    finished_at: datetime | None
    usage: Usage
    calls: int | None
    retries: int | None
    cost_usd: float | None
    estimated: Estimate
    failed_tries: int
    tier: str | None
    request_id: str | None
    copied: bool
    approval: Approval | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            name=raw["name"],
            status=raw["status"],
            model=raw.get("model"),
            prompt_version=raw.get("prompt_version"),
            chain_version=raw.get("chain_version"),
            started_at=_moment(raw.get("started_at")),
            finished_at=_moment(raw.get("finished_at")),
            usage=Usage.of(raw.get("usage")),
            calls=raw.get("calls"),
            retries=raw.get("retries"),
            cost_usd=raw.get("cost_usd"),
            estimated=Estimate.of(raw.get("estimated")),
            failed_tries=raw.get("failed_tries") or 0,
            tier=raw.get("tier"),
            request_id=raw.get("request_id"),
            copied=raw.get("copied", False),
            approval=Approval.of(raw["approval"]) if raw.get("approval") else None,
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
class ForkedFrom:
    """The job that was forked, and the step from which the fork has run the chain again: None for all steps.

    `replay` is the id of the replay that the fork is a part of, None for any other fork.
    """

    event_id: str
    from_step: str | None
    replay: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was read.

    `title` is what its caller calls it. From a list it has no steps, no result and no metadata. `result` holds what has
    finished so far. `cost_usd` is None where a price is not known, and `estimated` the part of usage and cost that is
    an upper bound. `calls` are those of the model, `retries` those of them that repeated one. `waiting_for` says why a
    pending job does not run yet; it is None for any other, and `forked_from` for a job that is no fork. These are None
    if they were not asked for: `failed_attempts`, the newest failed calls, and `answered_calls`, those whose answers
    became outputs, the oldest first; `input`, the payload; `prompts`, what the model was asked.
    `model` and `effort` are those that the job itself named, and `changed_prompts` the steps with a prompt of its own.
    `result_view` is how to show the parts of the result. `chain_version` is the version of the chain that it was run
    with last, None before that. `etag` names this state: see `Jobchain.get`.
    """

    event_id: str
    job_name: str
    title: str | None
    status: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime | None
    steps: tuple[Step, ...]
    result: Mapping[str, Any]
    result_view: tuple[Mapping[str, Any], ...]
    usage: Usage
    cost_usd: float | None
    estimated: Estimate
    error: Failure | None
    waiting_for: WaitingFor | None
    forked_from: ForkedFrom | None
    model: str | None
    effort: str | None
    changed_prompts: tuple[str, ...]
    failed_attempts: tuple[Attempt, ...] | None
    answered_calls: tuple[Call, ...] | None
    input: Mapping[str, Any] | None = field(repr=False)
    prompts: tuple[Prompt, ...] | None = field(repr=False)
    metadata: Mapping[str, str]
    chain_version: str | None
    tier: str | None
    max_cost_usd: float | None
    calls: int | None
    retries: int | None
    etag: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], etag: str | None = None) -> Self:
        waiting, fork = raw.get("waiting_for"), raw.get("forked_from")
        return cls(
            event_id=raw["event_id"],
            job_name=raw["job_name"],
            title=raw.get("title"),
            status=raw["status"],
            attempts=raw["attempts"],
            created_at=datetime.fromisoformat(raw["created_at"]),
            started_at=_moment(raw.get("started_at")),
            finished_at=_moment(raw.get("finished_at")),
            updated_at=_moment(raw.get("updated_at")),
            steps=tuple(Step.of(step) for step in raw.get("steps", ())),
            result=raw.get("result") or {},
            result_view=tuple(raw.get("result_view") or ()),
            usage=Usage.of(raw.get("usage")),
            cost_usd=raw.get("cost_usd"),
            estimated=Estimate.of(raw.get("estimated")),
            error=failure_of(raw),
            waiting_for=WaitingFor.of(waiting) if waiting else None,
            forked_from=ForkedFrom(fork["event_id"], fork["from_step"], fork.get("replay")) if fork else None,
            model=raw.get("model"),
            effort=raw.get("effort"),
            changed_prompts=tuple(raw.get("changed_prompts") or ()),
            failed_attempts=_all(Attempt.of, raw.get("failed_attempts")),
            answered_calls=_all(Call.of, raw.get("answered_calls")),
            input=raw.get("input"),
            prompts=_all(Prompt.of, raw.get("prompts")),
            metadata=raw.get("metadata") or {},
            chain_version=raw.get("chain_version"),
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
    """The answer to a request that was accepted; `replayed` if its idempotency key had made the job before.

    `look_at` is when the job has probably ended, by the client's clock; None if the API does not tell.
    """

    event_id: str
    status: str
    created_at: datetime
    replayed: bool
    look_at: float | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any], *, replayed: bool, look_at: float | None = None) -> Self:
        return cls(raw["event_id"], raw["status"], datetime.fromisoformat(raw["created_at"]), replayed, look_at)


_OVERRIDES = ("model", "effort", "prompt")


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that jobs can run. `payload_schema` is the JSON Schema of its payload.

    `overrides` is what a job may set in place of the chain: `model`, `effort`, and in a fork the `prompt` of a step. An
    API that does not tell it is taken to allow all.
    """

    name: str
    description: str
    steps: tuple[str, ...]
    payload_schema: Mapping[str, Any]
    overrides: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        steps = tuple(step["name"] for step in raw["steps"])
        allowed = tuple(raw.get("overrides", _OVERRIDES))
        return cls(raw["name"], raw["description"], steps, raw["payload_schema"], allowed, raw)

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the texts that a payload must have."""
        fields = self.payload_schema.get("properties", {})
        return tuple(
            name for name in self.payload_schema.get("required", ()) if fields.get(name, {}).get("type") == "string"
        )


@dataclass(frozen=True, slots=True)
class UnusableChain:
    """A chain of the deployment that can't be used, and why. New jobs of it are refused; those that exist wait."""

    name: str
    reason: str
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(raw["name"], raw["reason"], raw)


class Chains(list[Chain]):
    """The chains that jobs can run, and those of the deployment that can't be used."""

    unusable: tuple[UnusableChain, ...] = ()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        found = cls(Chain.of(chain) for chain in raw["chains"])
        found.unusable = tuple(UnusableChain.of(chain) for chain in raw.get("unusable", ()))
        return found


@dataclass(frozen=True, slots=True)
class Stats:
    """The caller's job counts by status, and the usage of the day (UTC) so far. `queue` is None but for operators.

    `by_model`, `by_key` and `by_chain` are the day's usage by the model that was asked, by the id of the API key that
    created the job ("" for a job without one), and by its chain. Job counts leave replays out, usage and cost do not:
    `replays` is that part of the day.
    """

    jobs: Mapping[str, int]
    date: str
    created: int
    usage: Usage
    cost_usd: float | None
    estimated: Estimate
    by_model: Mapping[str, Spending]
    by_key: Mapping[str, Spending]
    by_chain: Mapping[str, Spending]
    replays: "Replays | None"
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
            estimated=Estimate.of(today.get("estimated")),
            by_model={model: Spending.of(spent) for model, spent in today.get("by_model", {}).items()},
            by_key={key_id: Spending.of(spent) for key_id, spent in today.get("by_key", {}).items()},
            by_chain={chain: Spending.of(spent) for chain, spent in today.get("by_chain", {}).items()},
            replays=_replays(today),
            queue=raw["queue"],
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """How many jobs ended how, and what was used."""

    completed: int
    failed: int
    cancelled: int
    spending: Spending

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(raw["completed"], raw["failed"], raw["cancelled"], Spending.of(raw))


@dataclass(frozen=True, slots=True)
class Replays:
    """How many jobs of replays were created, how many ended how, and what they used."""

    created: int
    whole: UsageGroup


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """The usage of one day (UTC): how many jobs were created, how many ended how, and what was used.

    `groups` are the same by chain, key or model, as it was asked for; None if it was not. The name is empty for jobs
    without a key, and for usage that was recorded before it was told by chain. The counts of jobs leave replays out,
    usage and cost do not: `replays` is that part, None from an API that does not tell it.
    """

    date: date
    created: int
    whole: UsageGroup
    groups: Mapping[str, UsageGroup] | None
    replays: Replays | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        groups = raw.get("groups")
        found = None if groups is None else {name: UsageGroup.of(group) for name, group in groups.items()}
        return cls(date.fromisoformat(raw["date"]), raw["created"], UsageGroup.of(raw), found, _replays(raw), raw)


def _replays(raw: Mapping[str, Any]) -> Replays | None:
    found = raw.get("replays")
    return Replays(found["created"], UsageGroup.of(found)) if found else None


def failure_of(raw: Mapping[str, Any]) -> Failure | None:
    """The `error` of a job or of an event, if it has one."""
    error = raw.get("error")
    return Failure(error["type"], error["message"], error.get("step")) if error else None


def _all(of: Callable[[Mapping[str, Any]], T], raw: Iterable[Mapping[str, Any]] | None) -> tuple[T, ...] | None:
    return None if raw is None else tuple(map(of, raw))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
