"""The prompts of a job's calls, made again from what the job has stored."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from jobchain.aws.jobs import JobDetails
from jobchain.chains.chain import Chain, Outputs, Step, StepContext
from jobchain.chains.overriding import overridden
from jobchain.chains.planning import stored_step
from jobchain.chains.step_keys import read_key
from jobchain_api.created_views import LazyView

if TYPE_CHECKING:
    from jobchain.chains.definition import Definition

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

    The instructions are those of the version of the chain that the step was run with. The input is not stored: it is
    made again, from the payload and the outputs, by the chain as it is now.
    """

    step: str
    chain_version: str | None = Field(
        description="The version of the chain that the instructions are of. Null if that is not stored: then they are "
        "those of the chain as it is now, or the job's own."
    )
    instructions: str | None
    input: str | None = Field(description="What the instructions are about: texts of the payload and earlier outputs.")
    same_as_sent: bool | None = Field(
        description="Whether it is what was sent for the output: false if the chain has changed so that the input is "
        "another. Null for a step without an output, for one that an earlier version ran, and without an input."
    )
    problem: str | None = Field(description="Why the input is not here, and maybe not the instructions.")


class _Called(NamedTuple):
    """A step that called the model: its stored name, the version that it was run with, and a hash of what was sent."""

    name: str
    chain_version: str
    sent: str | None


def prompt_views(details: JobDetails, chain: Chain | None, step: str | None = None) -> list[PromptView]:
    """The prompts of the steps that called the model, or only that of `step`, in the order of the steps."""
    left = MAX_PROMPTS_BYTES
    views = []
    for view in _views(details, chain, [called for called in _called(details) if step in (None, called.name)]):
        left -= len(f"{view.instructions}{view.input}".encode())
        views.append(view if left >= 0 or step else _missing(view.step, _TOO_LONG))
    return views


def _called(details: JobDetails) -> list[_Called]:
    """The steps that called the model for this job, each once: the completed ones, then those that only failed."""
    completed = [_Called(step.name, step.chain_version, step.request_hash) for step in details.job.steps if step.model]
    failed = [_Called(attempt.step, attempt.chain_version, None) for attempt in reversed(details.attempts)]
    found: dict[str, _Called] = {}
    for call in (*completed, *failed):
        found.setdefault(call.name, call)
    return list(found.values())


def _views(details: JobDetails, chain: Chain | None, called: list[_Called]) -> Iterator[PromptView]:
    outputs = {step.name: step.output for step in details.job.steps}
    payload, problem = _payload(details, chain)
    chain = overridden(chain, details.job.overrides, details.prompts) if chain else None
    for call in called:
        # A prompt of the job's own is in no version.
        own = read_key(call.name).step in details.prompts
        instructions = None if own else _instructions(call, details.definitions, outputs)
        if chain is None or payload is None:
            view = _missing(call.name, problem, instructions)
        else:
            view = _view(chain, payload, outputs, call, instructions)
        yield view if instructions is None else view.model_copy(update={"chain_version": call.chain_version})


def _payload(details: JobDetails, chain: Chain | None) -> tuple[BaseModel | None, str]:
    """The payload as the chain reads it; None with the reason why it can't."""
    if chain is None:
        return None, _NO_CHAIN
    try:
        return chain.payload.model_validate(details.payload), ""
    except ValidationError:
        return None, _NO_PAYLOAD


def _instructions(call: _Called, definitions: "Mapping[str, Definition]", outputs: Outputs) -> str | None:
    """Those of the version that the step was run with; None where that is not known."""
    definition = definitions.get(call.chain_version)
    return definition.prompt(call.name, outputs) if definition else None


def _view(chain: Chain, payload: BaseModel, outputs: Outputs, call: _Called, instructions: str | None) -> PromptView:
    try:
        step = stored_step(chain, payload, outputs, call.name)
        if not isinstance(step, Step):
            return _missing(call.name, _NO_STEP, instructions)
        step.prepare()
        request = step.request(StepContext(payload, outputs))
    except Exception as error:  # noqa: BLE001  # the chain's own code, on outputs that another version may have stored
        return _missing(call.name, f"this deployment's chain can't make it ({type(error).__name__})", instructions)
    if instructions is not None:
        request = replace(request, instructions=instructions)
    return PromptView(
        step=call.name,
        chain_version=None,
        instructions=request.instructions,
        input=request.input,
        same_as_sent=None if call.sent is None else request.digest == call.sent,
        problem=None,
    )


def _missing(name: str, problem: str, instructions: str | None = None) -> PromptView:
    return PromptView(
        step=name, chain_version=None, instructions=instructions, input=None, same_as_sent=None, problem=problem
    )
