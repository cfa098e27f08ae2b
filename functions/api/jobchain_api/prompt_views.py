"""The prompts of a job's calls, made again from what the job has stored."""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, Field, ValidationError

from jobchain.aws.jobs import JobDetails
from jobchain.chains.chain import Chain, Outputs, Step, StepContext
from jobchain.chains.overriding import overridden
from jobchain.chains.planning import stored_step
from jobchain_api.created_views import LazyView

# An answer of a function has 6 MB at most, and a job's result is a part of it:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_PROMPTS_BYTES = 2_000_000
"""The most bytes of prompts in one answer: those of the last steps are left out."""

_NO_CHAIN = "this deployment does not have the job's chain"
_NO_PAYLOAD = "this deployment's chain takes another payload than when the job was created"
_NO_STEP = "this deployment's chain has no such step"
_TOO_LONG = "the prompts of the steps before it are too long for one answer: ask for this step alone, with step="


class PromptView(LazyView):
    """What the model was asked for a step. A call after an unfit answer was asked the same, and the complaint about it.

    It is not stored: it is made again, from the payload and the outputs, by the chain as it is now.
    """

    step: str
    instructions: str | None
    input: str | None = Field(description="What the instructions are about: texts of the payload and earlier outputs.")
    same_as_sent: bool | None = Field(
        description="Whether it is what was sent for the output: false if the chain has changed since. Null for a step "
        "without an output, and for one that an earlier version ran."
    )
    problem: str | None = Field(description="Why the prompt is not here.")


def prompt_views(details: JobDetails, chain: Chain | None, step: str | None = None) -> list[PromptView]:
    """The prompts of the steps that called the model, or only that of `step`, in the order of the steps."""
    left = MAX_PROMPTS_BYTES
    views = []
    for view in _views(details, chain, [name for name in _called(details) if step in (None, name)]):
        left -= len(f"{view.instructions}{view.input}".encode())
        views.append(view if left >= 0 or step else _missing(view.step, _TOO_LONG))
    return views


def _called(details: JobDetails) -> list[str]:
    """The stored names of the steps that called the model for this job, each once."""
    completed = [step.name for step in details.job.steps if step.model]
    return list(dict.fromkeys([*completed, *(attempt.step for attempt in details.attempts)]))


def _views(details: JobDetails, chain: Chain | None, names: Iterable[str]) -> Iterator[PromptView]:
    if chain is None:
        yield from (_missing(name, _NO_CHAIN) for name in names)
        return
    try:
        payload = chain.payload.model_validate(details.payload)
    except ValidationError:
        yield from (_missing(name, _NO_PAYLOAD) for name in names)
        return
    chain = overridden(chain, details.job.overrides, details.prompts)
    sent = {step.name: step.request_hash for step in details.job.steps}
    outputs = {step.name: step.output for step in details.job.steps}
    for name in names:
        yield _view(chain, payload, outputs, name, sent.get(name))


def _view(chain: Chain, payload: BaseModel, outputs: Outputs, name: str, sent: str | None) -> PromptView:
    try:
        step = stored_step(chain, payload, outputs, name)
        if not isinstance(step, Step):
            return _missing(name, _NO_STEP)
        step.prepare()
        request = step.request(StepContext(payload, outputs))
    except Exception as error:  # noqa: BLE001  # the chain's own code, on outputs that another version may have stored
        return _missing(name, f"this deployment's chain can't make it ({type(error).__name__})")
    return PromptView(
        step=name,
        instructions=request.instructions,
        input=request.input,
        same_as_sent=None if sent is None else request.digest == sent,
        problem=None,
    )


def _missing(name: str, problem: str) -> PromptView:
    return PromptView(step=name, instructions=None, input=None, same_as_sent=None, problem=problem)
