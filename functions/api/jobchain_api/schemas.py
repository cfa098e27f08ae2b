"""The bodies of requests and responses, as the OpenAPI document shows them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from jobchain.chains import CHAINS, DEFAULT_CHAIN
from jobchain.chains.chain import Chain
from jobchain.chains.fields import Sent, Text
from jobchain.chains.step_keys import SplitKey, read_key
from jobchain.domain import FinishedStep, Job, Spending, Status, Tier
from jobchain.model_check import ModelCheck
from jobchain.text import INVISIBLE

if TYPE_CHECKING:
    from jobchain_api.service import Stats

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
MAX_METADATA = 16


def _few(metadata: object) -> object:
    # Before they are looked at: an error for each of 400,000 entries takes seconds.
    if isinstance(metadata, dict) and len(metadata) > MAX_METADATA:
        raise ValueError(f"has {len(metadata)} entries: give at most {MAX_METADATA}")
    return metadata


MAX_FLEX_SECONDS = 12 * 3600


def _amount(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of US dollars, such as 0.01")  # pydantic wants this one
    return value


def _in_millionths(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"), ROUND_DOWN).normalize()


Dollars = Annotated[
    Decimal,
    Field(ge=Decimal("0.000001"), le=10_000),
    BeforeValidator(_amount),
    AfterValidator(_in_millionths),
    WithJsonSchema({"type": "number", "minimum": 0.000001, "maximum": 10_000}),
]

# The texts that `Text` takes: something visible, and no NUL.
_TEXT_PATTERN = rf"^[^\u0000]*[^{INVISIBLE}][^\u0000]*$"


def _describe_forms(schema: dict[str, Any]) -> None:
    """Shows the two forms of a request, the first for each chain with its own payload."""
    nothing = {"type": "null"}
    short = {"input_text": {"type": "string"}, "job_name": nothing, "payload": nothing}
    forms = [{"title": "Short form", "required": ["input_text"], "properties": short}]
    for chain in CHAINS.values():
        payload = chain.payload.model_json_schema()
        for of_text in payload["properties"].values():
            of_text["pattern"] = _TEXT_PATTERN
        named = {"job_name": {"const": chain.name}, "payload": payload, "input_text": nothing}
        forms.append({"title": chain.name, "required": ["job_name", "payload"], "properties": named})
    schema["oneOf"] = forms
    schema["properties"]["input_text"]["anyOf"][0]["pattern"] = _TEXT_PATTERN
    schema["examples"] = [{"input_text": "Passwords must have at least 12 characters. Store them hashed."}]


class _Later(BaseModel):
    """Base of what `POST /jobs` does without: built when it is first used, so that no start of the function waits."""

    model_config = ConfigDict(defer_build=True)


class CreateJob(Sent):
    """A request for a job: either `job_name` with its `payload`, or `input_text` for the default chain."""

    model_config = ConfigDict(json_schema_extra=_describe_forms)

    job_name: str | None = Field(default=None, description="The chain to run.")
    payload: dict[str, SkipValidation[JsonValue]] | None = Field(default=None, description="What the chain works on.")
    input_text: Text | None = Field(default=None, description="A guideline, for the chain `guideline_checklist`.")
    metadata: Annotated[dict[MetadataKey, MetadataValue], BeforeValidator(_few)] = Field(
        default={}, max_length=MAX_METADATA, description="The caller's own notes, given back with the job."
    )

    max_cost_usd: Dollars | None = Field(
        default=None, description="The job fails before a model call that could make it cost more, in US dollars."
    )

    tier: Tier = Field(
        default=Tier.STANDARD,
        description="`flex` costs half, and may wait until the model is free.",
    )
    flex_seconds: int = Field(
        default=3600,
        ge=60,
        le=MAX_FLEX_SECONDS,
        description="After so long a job of the tier `flex` goes on as a standard one.",
    )

    @model_validator(mode="after")
    def _one_form(self) -> "CreateJob":
        named = self.job_name is not None or self.payload is not None
        if named and self.input_text is not None:
            raise ValueError("give either input_text, or job_name and payload, not both")
        if not named and self.input_text is None:
            raise ValueError("give input_text, or job_name and payload")
        if named and (self.job_name is None or self.payload is None):
            raise ValueError("job_name and payload go together: give both")
        return self

    @property
    def chain_name(self) -> str:
        """The chain that the request asks for."""
        return self.job_name or DEFAULT_CHAIN.name

    @property
    def chain_payload(self) -> JsonValue:
        """The payload, not yet checked against the chain's own schema."""
        return {"guidelines": self.input_text} if self.payload is None else self.payload


class BatchEntry(CreateJob):
    """A request for one of many jobs."""

    model_config = ConfigDict(defer_build=True)

    idempotency_key: str | None = Field(
        default=None, description="Like the header `Idempotency-Key` of `POST /jobs`, for this job alone."
    )


MAX_BATCH = 100


def _describe_entries(schema: dict[str, Any]) -> None:
    """Shows what an entry should be, and that it may be anything: one that does not fit is refused by itself."""
    entry = BatchEntry.model_json_schema(ref_template="#/components/schemas/{model}")
    del entry["$defs"]
    anything = {"title": "Anything else", "description": "Is refused, which harms no other entry."}
    schema["properties"]["jobs"]["items"] = {"anyOf": [entry, anything]}
    schema["examples"] = [{"jobs": [{"input_text": "Store passwords hashed.", "idempotency_key": "a-1"}]}]


class CreateJobs(Sent):
    """A request for many jobs. Each entry is taken or refused by itself."""

    model_config = ConfigDict(defer_build=True, json_schema_extra=_describe_entries)

    jobs: list[SkipValidation[JsonValue]] = Field(
        min_length=1,
        max_length=MAX_BATCH,
        description="Each like the body of `POST /jobs`, and with an `idempotency_key` of its own where it needs one.",
    )


class JobCreated(BaseModel):
    """The answer to a request that was accepted."""

    event_id: str
    status: Status
    created_at: str


class BatchAccepted(JobCreated):
    """What became of a batch's entry that was accepted; `replayed` where its key has made the job before."""

    model_config = ConfigDict(defer_build=True)

    replayed: bool


class ProblemView(_Later):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: dict[str, str] | None = Field(default=None, description="Where: why.")
    limit: str | None = Field(default=None, description="Which of the key's limits is reached.")


class BatchView(_Later):
    """What became of each entry of a batch, in order."""

    results: list[BatchAccepted | ProblemView]


class UsageView(_Later):
    """Tokens; cached ones are part of the input, reasoning ones of the output."""

    model_config = ConfigDict(from_attributes=True)

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


class StepView(_Later):
    """One step of a job. What is not known yet is null."""

    name: str
    status: Status
    model: str | None = None
    prompt_version: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    usage: UsageView | None = None
    calls: int | None = None
    retries: int | None = None
    cost_usd: float | None = None


class ErrorView(_Later):
    """Why a job failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str
    message: str
    step: str | None


class ListedJob(_Later):
    """A job as lists show it: without its steps, its result and its metadata."""

    event_id: str
    job_name: str
    status: Status
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    usage: UsageView
    calls: int = Field(description="Calls of the model, those too that failed.")
    retries: int = Field(description="Those of the calls that repeated an earlier one.")
    cost_usd: float | None
    max_cost_usd: float | None
    tier: Tier
    error: ErrorView | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """What the caller may see of `job`."""
        return cls(**_listed(job))


class JobView(ListedJob):
    """A job as callers see it."""

    steps: list[StepView]
    result: dict[str, JsonValue]
    metadata: dict[str, str]

    @classmethod
    def of(cls, job: Job) -> Self:
        """What the caller may see of `job`."""
        return cls(
            **_listed(job),
            steps=_steps(job),
            result=_result(job),
            metadata=dict(job.metadata),
        )


class JobList(_Later):
    """A page of a list, the newest job first."""

    jobs: list[ListedJob]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page. Null: this is the last.")


class StepInfo(_Later):
    """A step of a chain. It runs once those that it needs have; the others may run at the same time."""

    name: str
    needs: list[str]


class ChainView(_Later):
    """A chain that `job_name` can name."""

    name: str
    description: str
    steps: list[StepInfo]
    payload_schema: dict[str, JsonValue] = Field(description="The JSON Schema of `payload`.")

    @classmethod
    def of(cls, chain: Chain) -> "ChainView":
        """What callers need to know of `chain`."""
        return cls(
            name=chain.name,
            description=chain.description,
            steps=[StepInfo(name=step.name, needs=list(step.needs)) for step in chain.steps],
            payload_schema=chain.payload.model_json_schema(),
        )


class ChainList(_Later):
    """The registered chains."""

    chains: list[ChainView]


class StatusCounts(_Later):
    """How many jobs stand how: `pending` and `processing` now, the others those that ended today (UTC)."""

    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int


class TodayView(_Later):
    """What this day (UTC) came to so far."""

    date: str
    created: int
    usage: UsageView
    calls: int
    retries: int
    cost_usd: float | None


class QueueView(_Later):
    """About how many messages the queue has; those of all tenants."""

    waiting: int
    in_flight: int
    delayed: int
    dead_letters: int


class StatsView(_Later):
    """How the caller's jobs stand."""

    jobs: StatusCounts
    today: TodayView
    queue: QueueView | None = Field(description="Null for a key that is not an operator's.")

    @classmethod
    def of(cls, stats: "Stats") -> "StatsView":
        """What the caller may see of `stats`."""
        today = stats.today
        counts = {status: stats.unfinished.get(status, 0) or today.ended[status] for status in Status}
        queue = None
        if stats.queue and stats.dead_letters:
            queue = QueueView(**asdict(stats.queue), dead_letters=sum(asdict(stats.dead_letters).values()))
        return cls(
            jobs=StatusCounts(**{status.value: count for status, count in counts.items()}),
            today=TodayView(
                date=today.date,
                created=today.created,
                usage=UsageView.model_validate(today.spending.usage),
                calls=today.spending.calls,
                retries=today.spending.retries,
                cost_usd=dollars(today.spending),
            ),
            queue=queue,
        )


class ModelView(_Later):
    """What the last look at the model's server found."""

    name: str
    known: bool = Field(description="False: the server has no such model, and every job fails.")
    shutdown_date: date | None = Field(description="Null: no end is announced.")
    days_left: int | None

    @classmethod
    def of(cls, check: ModelCheck, today: date) -> "ModelView":
        """The check as it reads today."""
        return cls(
            name=check.model,
            known=check.known,
            shutdown_date=check.shutdown_date,
            days_left=check.days_left(today),
        )


class HealthView(_Later):
    """Whether what the API stands on answers."""

    status: Literal["ok"] = "ok"
    table: Literal["ok"] = "ok"
    queue: Literal["ok"] = "ok"
    model: ModelView | None = Field(default=None, description="Null: nobody has looked yet.")


# A problem stays small, whatever the body.
MAX_ERRORS = 20
MAX_PLACE = 200

# What pydantic says more drily, by the type of its error.
_WORDS = {
    "missing": "is missing: give it",
    "extra_forbidden": "is no field of ours: remove it",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_type": "must be a string",
}


def explain(errors: Iterable[Mapping[str, Any]], *prefix: str) -> dict[str, str]:
    """The first of pydantic's `errors` as where: why. The place is a path from the body, `body` for the body itself."""
    return {_where((*prefix, *error["loc"])): _why(error) for error in islice(errors, MAX_ERRORS)}


def _where(location: tuple[str | int, ...]) -> str:
    place = location[1:] if location and location[0] in ("body", "query", "header") else location
    return ".".join(map(str, place))[:MAX_PLACE] or "body"


def _why(error: Mapping[str, Any]) -> str:
    return _WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def _listed(job: Job) -> dict[str, Any]:
    return {
        "event_id": job.event_id,
        "job_name": job.job_name,
        "status": job.status,
        "attempts": job.attempts,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
        "usage": UsageView.model_validate(job.spending.usage),
        "calls": job.spending.calls,
        "retries": job.spending.retries,
        "cost_usd": dollars(job.spending),
        "max_cost_usd": None if job.max_cost_usd is None else float(job.max_cost_usd),
        "tier": job.tier,
        "error": ErrorView.model_validate(job.error) if job.error else None,
    }


def _result(job: Job) -> dict[str, JsonValue]:
    """What has finished so far, as the chain shows it; as it is stored where the chain is gone."""
    outputs = {step.name: step.output for step in job.steps}
    return CHAINS[job.job_name].result(outputs) if job.job_name in CHAINS else outputs


def _steps(job: Job) -> list[StepView]:
    """The steps in the chain's order: those that are finished, parts of long texts too, and those still to come."""
    steps = CHAINS[job.job_name].steps if job.job_name in CHAINS else ()
    done = {step.name for step in job.steps}
    to_come = [step for step in steps if step.name not in done]
    failed = read_key(job.error.step or "").step if job.error else ""
    # What has to be done next shares the job's fate; what comes after it waits.
    current = [step.name for step in to_come if step.name == failed] or [
        step.name for step in to_come if done.issuperset(step.needs)
    ]
    if job.status in (Status.FAILED, Status.CANCELLED):
        current = current[:1]
    waiting = Status.PENDING if job.status is Status.COMPLETED else job.status
    views = [_finished(step) for step in job.steps if not isinstance(read_key(step.name), SplitKey)]
    views += [StepView(name=step.name, status=waiting if step.name in current else Status.PENDING) for step in to_come]
    places = {step.name: place for place, step in enumerate(steps)}
    return sorted(views, key=lambda view: places.get(read_key(view.name).step, -1))


def _finished(step: FinishedStep) -> StepView:
    return StepView(
        name=step.name,
        status=Status.COMPLETED,
        # None for a step that asked no model, as it puts together what the parts of a long text gave.
        model=step.model or None,
        prompt_version=step.prompt_version or None,
        started_at=step.started_at,
        finished_at=step.finished_at,
        usage=UsageView.model_validate(step.spending.usage),
        calls=step.spending.calls,
        retries=step.spending.retries,
        cost_usd=dollars(step.spending),
    )


def dollars(spending: Spending) -> float | None:
    """A cost as callers see it; None where part of it is not known."""
    return None if spending.cost_usd is None else float(spending.cost_usd)
