"""A job and an error as callers get them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from jobchain.chains.chain import Chain
from jobchain.chains.step_keys import SplitKey, read_key
from jobchain.domain import FinishedStep, Job, Status, Tier
from jobchain.spending import Spending


class LazyView(BaseModel):
    """Base of the views that `POST /jobs` does not use: built at their first use, not when the function starts."""

    model_config = ConfigDict(defer_build=True)


class JobCreated(BaseModel):
    """The answer to an accepted request."""

    event_id: str
    status: Status
    created_at: str


class BatchAccepted(JobCreated):
    """An accepted entry of a batch; `replayed` if an earlier request with its key created the job."""

    model_config = ConfigDict(defer_build=True)

    replayed: bool


class ProblemView(LazyView):
    """An error, as RFC 9457 defines it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: dict[str, str] | None = Field(default=None, description="The reason for each invalid field.")
    limit: str | None = Field(default=None, description="The limit of the key that is reached.")


class BatchView(LazyView):
    """The result of each entry of a batch, in order."""

    results: list[BatchAccepted | ProblemView]


class UsageView(LazyView):
    """Tokens; cached ones are part of the input, reasoning ones of the output."""

    model_config = ConfigDict(from_attributes=True)

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


class StepView(LazyView):
    """One step of a job. A value that is not known yet is null."""

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


class ErrorView(LazyView):
    """Why a job failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str
    message: str
    step: str | None


class ListedJob(LazyView):
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
    calls: int = Field(description="Calls of the model, including those that failed.")
    retries: int = Field(description="Calls of the model that repeated an earlier one.")
    cost_usd: float | None
    max_cost_usd: float | None
    tier: Tier
    error: ErrorView | None


class JobView(ListedJob):
    """A job as its owner sees it."""

    steps: list[StepView]
    result: dict[str, JsonValue]
    metadata: dict[str, str]


class JobList(LazyView):
    """A page of a list, the newest job first."""

    jobs: list[ListedJob]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page. Null: this is the last.")


def listed_job(job: Job) -> ListedJob:
    """`job` as an entry of a list."""
    return ListedJob(**_listed(job))


def job_view(job: Job, chains: Mapping[str, Chain]) -> JobView:
    """`job` with its steps and its result. `chains` may lack its chain, if that was removed since."""
    chain = chains.get(job.job_name)
    return JobView(**_listed(job), steps=_steps(job, chain), result=_result(job, chain), metadata=dict(job.metadata))


def dollars(spending: Spending) -> float | None:
    """A cost as callers see it; None if part of it is unknown."""
    return None if spending.cost_usd is None else float(spending.cost_usd)


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


def _result(job: Job, chain: Chain | None) -> dict[str, JsonValue]:
    """The outputs so far, as the chain shows them; as they are stored if the chain was removed."""
    outputs = {step.name: step.output for step in job.steps}
    return chain.result(outputs) if chain else outputs


def _steps(job: Job, chain: Chain | None) -> list[StepView]:
    """The steps in the chain's order: the completed ones, including parts of long texts, and the remaining ones."""
    steps = chain.steps if chain else ()
    done = {step.name for step in job.steps}
    remaining = [step for step in steps if step.name not in done]
    failed = read_key(job.error.step or "").step if job.error else ""
    # The steps of the next wave have the job's status; later ones are pending.
    current = [step.name for step in remaining if step.name == failed] or [
        step.name for step in remaining if done.issuperset(step.needs)
    ]
    if job.status in (Status.FAILED, Status.CANCELLED):
        current = current[:1]
    status = Status.PENDING if job.status is Status.COMPLETED else job.status
    views = [_finished(step) for step in job.steps if not isinstance(read_key(step.name), SplitKey)]
    views += [StepView(name=step.name, status=status if step.name in current else Status.PENDING) for step in remaining]
    places = {step.name: place for place, step in enumerate(steps)}
    return sorted(views, key=lambda view: places.get(read_key(view.name).step, -1))


def _finished(step: FinishedStep) -> StepView:
    return StepView(
        name=step.name,
        status=Status.COMPLETED,
        # None for a merge step that calls no model.
        model=step.model or None,
        prompt_version=step.prompt_version or None,
        started_at=step.started_at,
        finished_at=step.finished_at,
        usage=UsageView.model_validate(step.spending.usage),
        calls=step.spending.calls,
        retries=step.spending.retries,
        cost_usd=dollars(step.spending),
    )
