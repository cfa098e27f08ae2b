"""Makes forks: jobs that begin with copies of another job's outputs, and run the rest again."""

import hashlib
import json
from collections.abc import Mapping, Set
from datetime import timedelta

from pydantic import BaseModel, JsonValue

from jobchain.aws.jobs import JobDetails
from jobchain.chains.chain import Chain, CodeStep, Outputs, Step, StepContext
from jobchain.chains.definition import definition_of
from jobchain.chains.fitting import misfit
from jobchain.chains.planning import stored_step
from jobchain.chains.step_keys import read_key
from jobchain.domain import FinishedStep, Job, NewJob
from jobchain.errors import InvalidRequest, JobCannotBeForked
from jobchain.forks import ForkedFrom
from jobchain.overrides import MAX_PROMPTS_BYTES, Overrides
from jobchain_api.auth import Caller
from jobchain_api.job_factory import check_overrides, checked_payload
from jobchain_api.requests import ForkJob
from jobchain_api.usable import usable, why_unusable


def fork_fingerprint(source: str, request: ForkJob) -> str:
    """Tells the replay of a request for a fork from another one; a title does not."""
    options = request.model_dump(mode="json", exclude={"title"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(["fork", source, options], sort_keys=True).encode()).hexdigest()


def fork_of(
    details: JobDetails,
    chains: Mapping[str, Chain],
    caller: Caller,
    request: ForkJob,
    event_id: str,
    default: timedelta,
) -> NewJob:
    """The job that the request asks for, of the id `event_id`. `default` is the deadline of jobs that name none.

    What it does not say is as in the job that is forked; key and budget of the day are the caller's.
    Raises InvalidRequest, PayloadTooLarge, JobCannotBeForked.
    """
    source = details.job
    chain = usable(chains.get(source.job_name))
    if chain is None and source.job_name in chains:
        raise JobCannotBeForked(f"{why_unusable(source.job_name)}. Fork the job once it can")
    if chain is None:
        raise JobCannotBeForked("this deployment does not have the job's chain: create a new job of another one")
    again = _again(chain, request.from_step, source)
    # An output of a step that the chain no longer has is left out: the fork is run with the chain as it is now.
    kept = {step.name for step in chain.steps} - again
    copies = tuple(step for step in source.steps if read_key(step.name).step in kept)
    payload = _payload(chain, details, request, copies)
    overrides, prompts = _overrides(chain, details, request)
    _check_fit(chain, payload, details, copies)
    deadline = source.deadline or default
    return NewJob(
        event_id=event_id,
        tenant=caller.tenant,
        job_name=chain.name,
        payload=payload,
        fingerprint=fork_fingerprint(source.event_id, request),
        title=request.title if request.title is not None else source.title,
        metadata=source.metadata if request.metadata is None else request.metadata,
        max_cost_usd=source.max_cost_usd if request.max_cost_usd is None else request.max_cost_usd,
        tier=source.tier,
        flex_for=source.flex_for,
        key_id=caller.key_id,
        daily_budget=caller.limits.daily_budget,
        deadline=deadline,
        own_deadline=deadline != default,
        forked_from=ForkedFrom(source.event_id, request.from_step, request.replay),
        copies=copies,
        source_created_at=source.created_at,
        overrides=overrides,
        prompts=prompts,
        webhook_url=request.webhook_url,
    )


def _overrides(chain: Chain, details: JobDetails, request: ForkJob) -> tuple[Overrides, Mapping[str, str]]:
    """What the fork sets in place of its chain, and its own prompts by their steps; else as in the job.

    Raises InvalidRequest, JobCannotBeForked.
    """
    if request.prompt is not None and request.from_step is None:
        raise InvalidRequest({"prompt": "goes with from_step: name the step whose prompt it is"})
    given = (request.from_step,) if request.prompt is not None and request.from_step is not None else ()
    own = Overrides(request.model, request.effort, given)
    check_overrides(chain, own.given)
    if request.prompt is not None and request.from_step not in {step.name for step in chain.calls}:
        raise InvalidRequest(
            {"prompt": f"the step {request.from_step} calls no model, and has no prompt: leave it out"}
        )
    prompts = {**details.prompts, **dict.fromkeys(given, request.prompt or "")}
    if sum(len(text.encode()) for text in prompts.values()) > MAX_PROMPTS_BYTES:
        most = f"all prompts of the job have more than {MAX_PROMPTS_BYTES} bytes with those of the job that is forked"
        raise InvalidRequest({"prompt": f"{most}: shorten it"})
    before = details.job.overrides
    if before.unknown:
        raise JobCannotBeForked(f"the job sets what this deployment does not know: {', '.join(before.unknown)}")
    found = Overrides(own.model or before.model, own.effort or before.effort, tuple(prompts))
    if refused := [name for name in found.given if name not in chain.overrides]:
        now = f"the chain {chain.name} allows jobs no {' and no '.join(refused)} of their own any more"
        raise JobCannotBeForked(f"{now}, and this job has it: create a new job")
    return found, prompts


def _again(chain: Chain, from_step: str | None, source: Job) -> Set[str]:
    """The steps that the fork runs: that one, and all that need it; all of them without one.

    Raises InvalidRequest, JobCannotBeForked.
    """
    needs = {step.name: {*step.needs} for step in chain.steps}
    if from_step is None:
        return needs.keys()
    if from_step not in needs:
        raise InvalidRequest({"from_step": f"unknown step: use one of {', '.join(needs)}"})
    before, again = {*needs[from_step]}, {from_step}
    for _ in needs:
        before |= {need for name in before for need in needs[name]}
        again |= {name for name, own in needs.items() if not own.isdisjoint(again)}
    completed = {step.name for step in source.steps}
    if missing := [name for name in needs if name in before - completed]:
        which = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not completed"
        raise JobCannotBeForked(f"of job {source.event_id}, {which}: fork it from there, or wait")
    return again


def _payload(chain: Chain, details: JobDetails, request: ForkJob, copies: tuple[FinishedStep, ...]) -> JsonValue:
    """The fork's payload: no copied output may depend on what differs from that of the job."""
    if request.payload is None:
        _accepted(chain, details.payload)
        return details.payload
    payload = checked_payload(chain, request.payload)
    if payload == details.payload or not copies:
        return payload
    old, new = _accepted(chain, details.payload), chain.payload.model_validate(payload)
    outputs = {step.name: step.output for step in details.job.steps}
    changed = [step.name for step in copies if _differs(chain, old, new, outputs, step.name)]
    if changed:
        steps = dict.fromkeys(read_key(name).step for name in changed)
        why = f"changes what these steps work on, whose outputs would be copied: {', '.join(steps)}"
        raise InvalidRequest({"payload": f"{why}. Fork from the first of them, or leave that part as it is"})
    return payload


def _check_fit(chain: Chain, payload: JsonValue, details: JobDetails, copies: tuple[FinishedStep, ...]) -> None:
    """Raises JobCannotBeForked where this deployment's chain can't continue with the copied outputs."""
    if not copies:
        return
    try:
        # Which model the deployment asks does not matter here.
        now = definition_of(chain, "")
    except Exception as error:  # of the chain's own types, whose message may hold anything
        fault = f"the chain {chain.name} has a type of which no schema can be made ({type(error).__name__})"
        again = "and it is not known whether the copied outputs fit: fork without from_step, or create a new job"
        raise JobCannotBeForked(f"{fault}, {again}") from error
    if why := misfit(chain, chain.payload.model_validate(payload), copies, now, details.definitions):
        raise JobCannotBeForked(f"the chain has changed since, {why}: fork from an earlier step, or create a new job")


def _accepted(chain: Chain, payload: JsonValue) -> BaseModel:
    """The payload of the job that is forked. Raises JobCannotBeForked."""
    try:
        return chain.payload.model_validate(payload)
    except Exception:  # noqa: BLE001  # ValidationError, or what the chain's own code raises
        why = "this deployment's chain takes another payload than when the job was created"
        raise JobCannotBeForked(f"{why}: create a new job") from None


def _differs(chain: Chain, old: BaseModel, new: BaseModel, outputs: Outputs, name: str) -> bool:
    """Whether a step works on something else with another payload: then a copy of its output would be wrong."""
    try:
        before, after = (stored_step(chain, payload, outputs, name) for payload in (old, new))
        if isinstance(before, CodeStep) and isinstance(after, CodeStep):
            before.prepare()
            return before.compute(StepContext(old, outputs)) != after.compute(StepContext(new, outputs))
        if isinstance(before, Step) and isinstance(after, Step):
            before.prepare()
            then, now = StepContext(old, {}), StepContext(new, {})
            if any(value.typed(then) != value.typed(now) for value in before.payload_values):
                return True  # an answer is read with it too
            first, second = before.request(StepContext(old, outputs)), after.request(StepContext(new, outputs))
            return (first.instructions, first.input) != (second.instructions, second.input)
        # A step that merges outputs has no function that is equal to itself made again: its needs tell.
        return before is None or after is None or getattr(before, "text", "") != getattr(after, "text", "")
    except Exception:  # noqa: BLE001  # the chain's own code, on outputs that another version may have stored
        return True
