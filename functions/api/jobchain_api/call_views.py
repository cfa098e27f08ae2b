"""A job's calls of the model as callers get them: by step, and one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from jobchain.chains.chain import Chain
from jobchain.chains.step_keys import SplitKey, TriesKey, is_tries, read_key
from jobchain.domain import Attempt, FinishedStep, Job, Status, Tier
from jobchain.spending import Spending, summed
from jobchain_api.approval_views import ApprovalView
from jobchain_api.created_views import LazyView

# An answer of a function has 6 MB at most, and a job's result is a part of it:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_ANSWERS_BYTES = 1_000_000
"""The most bytes of raw answers in one list of failed calls: those of the oldest calls are left out."""


class UsageView(LazyView):
    """Tokens; those read from and written to a cache are part of the input, reasoning ones of the output."""

    model_config = ConfigDict(from_attributes=True)

    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int


class EstimateView(LazyView):
    """The part of usage and cost that no server told, such as that of a call that timed out: an upper bound."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class SpendingView(LazyView):
    """What calls of the model used and cost."""

    usage: UsageView
    calls: int
    retries: int
    cost_usd: float | None
    estimated: EstimateView

    @classmethod
    def of(cls, spending: Spending) -> "SpendingView":
        """`spending`, as callers see it."""
        return cls(**spent(spending))


class StepView(LazyView):
    """One step of a job. A value that is not known yet is null.

    Of a step that is not completed, model, usage, calls and cost are those of its failed calls, and the times those of
    the last one; they are there with `include=attempts`.
    """

    name: str
    status: Status
    failed_tries: int = Field(default=0, description="How often the step failed for a while and was tried again.")
    parts: int | None = Field(
        default=None, description="Into how many parts a long text was split for the step. Null if it was not."
    )
    model: str | None = None
    prompt_version: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    usage: UsageView | None = None
    calls: int | None = None
    retries: int | None = None
    cost_usd: float | None = None
    estimated: EstimateView | None = None
    tier: Tier | None = None
    request_id: str | None = Field(default=None, description="The provider's id of the last call.")
    chain_version: str | None = Field(
        default=None, description="The version of the chain that the step was run with. Null if that was not stored."
    )
    approval: ApprovalView | None = Field(
        default=None, description="What a person decides, or has decided, of the step. Null for any other step."
    )
    copied: bool = Field(
        default=False, description="Whether the job that was forked has run it: then it has no times and no cost here."
    )


class CallView(LazyView):
    """One call of the model, whose answer became the step's output."""

    step: str
    started_at: str
    finished_at: str
    model: str
    tier: Tier
    effort: str | None = Field(description="How much the model was told to reason. Null: as it does by default.")
    request_id: str | None = Field(description="The provider's id of the call.")
    usage: UsageView
    cost_usd: float | None
    estimated: bool = Field(description="Whether usage and cost are an upper bound, as the server did not tell them.")


class AttemptView(CallView):
    """One failed call of the model."""

    outcome: str = Field(description="The type of the fault.")
    cause: str | None = Field(description="Why the call failed, in words for the author of the chain.")
    answer: str | None = Field(description="The model's text, cut after 20,000 characters. Null if there is none.")


def spent(spending: Spending) -> dict[str, Any]:
    """The fields of a view that say what calls used and cost."""
    return {
        "usage": UsageView.model_validate(spending.usage),
        "calls": spending.calls,
        "retries": spending.retries,
        "cost_usd": _dollars(spending),
        "estimated": _estimated(spending),
    }


def attempt_views(attempts: Sequence[Attempt]) -> list[AttemptView]:
    """The failed calls, in order."""
    left = MAX_ANSWERS_BYTES
    views = []
    for attempt in reversed(attempts):
        left -= len((attempt.answer or "").encode())
        views.append(_attempt(attempt, attempt.answer if left >= 0 else None))
    return views[::-1]


def answered_call_views(job: Job) -> list[CallView]:
    """The calls whose answers became outputs, the oldest first."""
    calls = [
        CallView(step=step.name, started_at=step.called_at or step.started_at, **_call(step))
        for step in job.steps
        if step.model and not step.copied
    ]
    return sorted(calls, key=lambda call: call.started_at)


def _attempt(attempt: Attempt, answer: str | None) -> AttemptView:
    return AttemptView(
        step=attempt.step,
        started_at=attempt.started_at,
        outcome=attempt.outcome,
        cause=attempt.cause,
        answer=answer,
        **_call(attempt),
    )


def _call(call: Attempt | FinishedStep) -> dict[str, Any]:
    return {
        "finished_at": call.finished_at,
        "model": call.model,
        "tier": call.tier,
        "effort": call.effort,
        "request_id": call.request_id,
        "usage": UsageView.model_validate(call.spending.usage),
        "cost_usd": _dollars(call.spending),
        "estimated": call.spending.estimated.calls > 0,
    }


def step_views(job: Job, chain: Chain | None, attempts: Sequence[Attempt]) -> list[StepView]:
    """The steps in the chain's order: the completed ones, including parts of long texts, and the remaining ones.

    `attempts` are the job's failed calls.
    """
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
    tries = _failed_tries(job.tries)
    parts = _parts(job)
    views = [_completed(step, tries, parts) for step in job.steps if not isinstance(read_key(step.name), SplitKey)]
    for step in remaining:
        calls = [call for call in attempts if call.step not in done and read_key(call.step).step == step.name]
        now = status if step.name in current else Status.PENDING
        most = max((count for name, count in tries.items() if read_key(name).step == step.name), default=0)
        views.append(
            StepView(name=step.name, status=now, failed_tries=most, parts=parts.get(step.name), **_failed_calls(calls))
        )
    # The newest: a job that is retried after a rejection asks again.
    approvals = {each.step: each for each in job.approvals}
    for view in views:
        if view.name in approvals:
            view.approval = ApprovalView.of(approvals[view.name])
    places = {step.name: place for place, step in enumerate(steps)}
    return sorted(views, key=lambda view: places.get(read_key(view.name).step, -1))


def _failed_tries(tries: Mapping[str, int]) -> dict[str, int]:
    """The failed tries of each stored step, of both tiers."""
    sums: dict[str, int] = {}
    for stored, count in tries.items():
        if not is_tries(stored):
            continue
        step = TriesKey.read(stored).step
        sums[step] = sums.get(step, 0) + count
    return sums


def _parts(job: Job) -> dict[str, int]:
    """The number of parts of each step whose text was split into several."""
    splits = {key.step: step.output for step in job.steps if isinstance(key := read_key(step.name), SplitKey)}
    return {step: len(bounds) for step, bounds in splits.items() if isinstance(bounds, list) and len(bounds) > 1}


def _completed(step: FinishedStep, tries: Mapping[str, int], parts: Mapping[str, int]) -> StepView:
    times: dict[str, Any] = {} if step.copied else {"started_at": step.started_at, "finished_at": step.finished_at}
    return StepView(
        name=step.name,
        status=Status.COMPLETED,
        failed_tries=tries.get(step.name, 0),
        parts=parts.get(step.name),
        # None for a merge step that calls no model.
        model=step.model or None,
        prompt_version=step.prompt_version or None,
        tier=step.tier if step.model else None,
        request_id=step.request_id,
        copied=step.copied,
        chain_version=step.chain_version or None,
        **times,
        **spent(step.total),
    )


def _failed_calls(calls: Sequence[Attempt]) -> dict[str, Any]:
    """The fields of a step that is not completed, by its failed calls."""
    if not calls:
        return {}
    last = calls[-1]
    return {
        "model": last.model,
        "started_at": last.started_at,
        "finished_at": last.finished_at,
        "tier": last.tier,
        "request_id": last.request_id,
        **spent(summed(call.spending for call in calls)),
    }


def _dollars(spending: Spending) -> float | None:
    """A cost as callers see it; None if part of it is unknown."""
    return None if spending.cost_usd is None else float(spending.cost_usd)


def _estimated(spending: Spending) -> EstimateView:
    estimated = spending.estimated
    unknown = estimated.calls and spending.unpriced_calls
    return EstimateView(
        calls=estimated.calls,
        input_tokens=estimated.input_tokens,
        output_tokens=estimated.output_tokens,
        cost_usd=None if unknown else float(estimated.cost_usd),
    )
