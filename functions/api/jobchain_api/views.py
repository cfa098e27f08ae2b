"""Jobs as callers get them."""

from collections.abc import Mapping, Set
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, Field, JsonValue

from jobchain.aws.jobs import JobDetails
from jobchain.chains.chain import Chain
from jobchain.domain import Job, Status, Tier, WaitReason, isoformat
from jobchain_api.call_views import (
    AttemptView,
    CallView,
    EstimateView,
    StepView,
    UsageView,
    answered_call_views,
    attempt_views,
    spent,
    step_views,
)
from jobchain_api.created_views import LazyView
from jobchain_api.prompt_views import PromptView, prompt_views
from jobchain_api.result_views import PartView, part_views
from jobchain_api.usable import usable


class ErrorView(LazyView):
    """Why a job failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str
    message: str
    step: str | None


class WaitingView(LazyView):
    """Why a pending job does not run yet."""

    model_config = ConfigDict(from_attributes=True)

    reason: WaitReason = Field(
        description="`queue`: it waits for a worker. `retry`: a call failed and is repeated later. `rate_limit`: the "
        "limits of the model's account are used up. `account`: the model's server refuses the account, its key or the "
        "model. `budget`: the key's budget of the day is used up. `deployment`: the worker's version does not have "
        "the chain, or has one that the job's payload or outputs do not fit. `approval`: a person decides on a step, "
        "which has `approval` in `steps`."
    )
    since: str
    until: str | None = Field(description="When the job continues.")
    detail: str
    retryable: bool = Field(description="Whether a retry makes the job continue at once. A retry of others is a 409.")


class ForkedFromView(LazyView):
    """The job that was forked, and the step from which the fork has run the chain again."""

    model_config = ConfigDict(from_attributes=True)

    event_id: str
    from_step: str | None = Field(description="Null: the fork has run all steps again.")
    replay: str | None = Field(description="The id of the replay that the fork is a part of. Null for any other fork.")


class ListedJob(LazyView):
    """A job as lists show it: without its steps, its result and its metadata."""

    event_id: str
    job_name: str
    title: str | None
    status: Status
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    usage: UsageView
    calls: int = Field(description="Calls of the model, including those that failed.")
    retries: int = Field(description="Calls of the model that repeated an earlier one.")
    cost_usd: float | None = Field(description="0 for a free model. Null: the price of a model is not known.")
    estimated: EstimateView
    max_cost_usd: float | None
    tier: Tier
    error: ErrorView | None
    waiting_for: WaitingView | None = Field(description="Why the job is pending. Null for a job that is not.")
    forked_from: ForkedFromView | None = Field(description="Null for a job that is no fork.")
    model: str | None = Field(description="The model that the job itself named. Null: its chain names the models.")
    effort: str | None = Field(description="The effort that the job itself named. Null: its chain says it.")
    changed_prompts: list[str] = Field(description="The steps whose prompt this fork has changed.")


class JobView(ListedJob):
    """A job as its owner sees it."""

    steps: list[StepView]
    result: dict[str, JsonValue]
    result_view: list[PartView] = Field(
        description="How to show the parts of the result. Empty if the deployment no longer has the chain."
    )
    metadata: dict[str, str]
    chain_version: str | None = Field(
        description="The version of its chain that the job was run with last: a hash of graph, prompts, schemas, "
        "models and their options. Null before a worker has run it."
    )
    deadline_seconds: int | None = Field(description="How long the job is tried.")
    deadline_at: str | None = Field(description="Until when the job is tried; a retry sets a new one.")
    failed_attempts: list[AttemptView] | None = Field(
        description="The newest failed calls of the model, up to 1,000, the oldest first. Null without "
        "`include=attempts`."
    )
    answered_calls: list[CallView] | None = Field(
        description="The calls of the model whose answers became outputs, the oldest first. Together with "
        "`failed_attempts` they are the job's calls. Null without `include=attempts`."
    )
    input: JsonValue = Field(description="The payload as it is stored. Null without `include=input`.")
    prompts: list[PromptView] | None = Field(description="What the model was asked. Null without `include=prompts`.")


class JobList(LazyView):
    """A page of a list, the newest job first."""

    jobs: list[ListedJob]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page. Null: this is the last.")


def listed_job(job: Job) -> ListedJob:
    """`job` as an entry of a list."""
    return ListedJob(**_listed(job))


def job_view(
    job: Job,
    chains: Mapping[str, Chain],
    details: JobDetails | None = None,
    include: Set[str] = frozenset(),
    step: str | None = None,
) -> JobView:
    """`job` with its steps and its result. `chains` may lack its chain, if that was removed since or can't be used.

    `details` are those of the job, None if the caller did not ask for any. `include` are the parts to add, see
    `INCLUDABLE`; of the prompts only that of `step`, if one is given.
    """
    chain = usable(chains.get(job.job_name))
    attempts = details.attempts if details and "attempts" in include else None
    return JobView(
        **_listed(job),
        steps=step_views(job, chain, attempts or ()),
        result=_result(job, chain),
        result_view=part_views(chain) if chain else [],
        metadata=dict(job.metadata),
        chain_version=job.chain_version or None,
        deadline_seconds=None if job.deadline is None else int(job.deadline.total_seconds()),
        deadline_at=None if job.deadline_at is None else isoformat(datetime.fromtimestamp(job.deadline_at, UTC)),
        failed_attempts=None if attempts is None else attempt_views(attempts),
        answered_calls=None if attempts is None else answered_call_views(job),
        input=details.payload if details and "input" in include else None,
        prompts=prompt_views(details, chain, step) if details and "prompts" in include else None,
    )


def _listed(job: Job) -> dict[str, Any]:
    return {
        "event_id": job.event_id,
        "job_name": job.job_name,
        "title": job.title,
        "status": job.status,
        "attempts": job.attempts,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
        **spent(job.spending),
        "max_cost_usd": None if job.max_cost_usd is None else float(job.max_cost_usd),
        "tier": job.tier,
        "error": ErrorView.model_validate(job.error) if job.error else None,
        "forked_from": ForkedFromView.model_validate(job.forked_from) if job.forked_from else None,
        "model": job.overrides.model,
        "effort": job.overrides.effort,
        "changed_prompts": [*job.overrides.prompts],
        "waiting_for": WaitingView.model_validate(job.waiting_for) if job.waiting_for else None,
    }


def _result(job: Job, chain: Chain | None) -> dict[str, JsonValue]:
    """The outputs so far, as the chain shows them; as they are stored if the chain was removed."""
    outputs = {step.name: step.output for step in job.steps}
    return chain.result(outputs) if chain else outputs
