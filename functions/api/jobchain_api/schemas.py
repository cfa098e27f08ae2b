"""The bodies of requests and responses, as the OpenAPI document shows them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from jobchain.chains import CHAINS, DEFAULT_CHAIN
from jobchain.chains.chain import Text
from jobchain.model import FinishedStep, Job, Spending, Status

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class CreateJob(BaseModel):
    """A request for a job: either `job_name` with its `payload`, or `input_text` for the default chain."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "oneOf": [{"required": ["job_name", "payload"]}, {"required": ["input_text"]}],
            "examples": [{"input_text": "Passwords must have at least 12 characters. …"}],
        },
    )

    job_name: str | None = Field(default=None, description="The chain to run.")
    payload: dict[str, JsonValue] | None = Field(default=None, description="What the chain works on.")
    input_text: Text | None = Field(default=None, description="A guideline, for the chain `guideline_checklist`.")
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default={}, max_length=16, description="The caller's own notes, given back with the job."
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


class JobCreated(BaseModel):
    """The answer to a request that was accepted."""

    event_id: str
    status: Status
    created_at: str


class UsageView(BaseModel):
    """Tokens; cached ones are part of the input, reasoning ones of the output."""

    model_config = ConfigDict(from_attributes=True)

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


class StepView(BaseModel):
    """One step of a job. What is not known yet is null."""

    name: str
    status: Status
    model: str | None = None
    prompt_version: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    usage: UsageView | None = None
    cost_usd: float | None = None


class ErrorView(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str
    message: str
    step: str | None


class JobView(BaseModel):
    """A job as callers see it."""

    event_id: str
    job_name: str
    status: Status
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    steps: list[StepView]
    result: dict[str, JsonValue]
    usage: UsageView
    cost_usd: float | None
    error: ErrorView | None
    metadata: dict[str, str]

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """What the caller may see of `job`."""
        return cls(
            event_id=job.event_id,
            job_name=job.job_name,
            status=job.status,
            attempts=job.attempts,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            updated_at=job.updated_at,
            steps=_steps(job),
            result={step.name: step.output for step in job.steps},
            usage=UsageView.model_validate(job.spending.usage),
            cost_usd=_dollars(job.spending),
            error=ErrorView.model_validate(job.error) if job.error else None,
            metadata=dict(job.metadata),
        )


class HealthView(BaseModel):
    """Whether what the API stands on answers."""

    status: Literal["ok"] = "ok"
    table: Literal["ok"] = "ok"
    queue: Literal["ok"] = "ok"


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
    place = location[1:] if location[0] == "body" else location
    return ".".join(map(str, place))[:MAX_PLACE] or "body"


def _why(error: Mapping[str, Any]) -> str:
    return _WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def _steps(job: Job) -> list[StepView]:
    """The steps that are finished, then those of the chain that are still to come."""
    finished = [_finished(step) for step in job.steps]
    done = {step.name for step in finished}
    steps = CHAINS[job.job_name].steps if job.job_name in CHAINS else ()
    to_come = [StepView(name=step.name, status=Status.PENDING) for step in steps if step.name not in done]
    if to_come and job.status is not Status.COMPLETED:
        # The next step shares the job's fate; those after it wait for it.
        to_come[0].status = job.status
    return finished + to_come


def _finished(step: FinishedStep) -> StepView:
    return StepView(
        name=step.name,
        status=Status.COMPLETED,
        model=step.model,
        prompt_version=step.prompt_version,
        started_at=step.started_at,
        finished_at=step.finished_at,
        usage=UsageView.model_validate(step.spending.usage),
        cost_usd=_dollars(step.spending),
    )


def _dollars(spending: Spending) -> float | None:
    return None if spending.cost_usd is None else float(spending.cost_usd)
