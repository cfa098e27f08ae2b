"""Decisions of callers on steps: an edit is checked against the type of the step's value."""

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from jobchain.approvals import Decided, Decision
from jobchain.aws.jobs import JobStore
from jobchain.chains.approving import ApprovalStep, EditDoesNotFit
from jobchain.chains.chain import Chain, StepContext
from jobchain.errors import InvalidRequest, StepDoesNotWait
from jobchain_api.auth import Caller
from jobchain_api.requests import DecideStep
from jobchain_api.usable import usable


def decision_of(
    jobs: JobStore, chains: Mapping[str, Chain], caller: Caller, event_id: str, step: str, request: DecideStep
) -> Decided:
    """What the caller decides. Raises InvalidRequest for an edit that does not fit; JobNotFound, StepDoesNotWait."""
    decided = Decided(request.decision, by=request.by, key_id=caller.key_id, comment=request.comment)
    if request.decision is not Decision.EDIT:
        return decided
    value = _edited(jobs, chains, caller, event_id, step, request.value)
    return Decided(request.decision, value, by=request.by, key_id=caller.key_id, comment=request.comment)


def _edited(
    jobs: JobStore, chains: Mapping[str, Chain], caller: Caller, event_id: str, name: str, value: JsonValue
) -> JsonValue:
    details = jobs.details(caller.tenant, event_id, attempts=False)
    chain = usable(chains.get(details.job.job_name))
    if chain is None:
        raise StepDoesNotWait("this deployment does not have the job's chain, so that an edit can't be checked")
    step = next((each for each in chain.steps if each.name == name), None)
    if not isinstance(step, ApprovalStep):
        raise StepDoesNotWait(f"the step {name} does not wait for a decision: the chain {chain.name} has none like it")
    outputs = {each.name: each.output for each in details.job.steps}
    try:
        payload = chain.payload.model_validate(details.payload)
    except ValidationError:
        raise StepDoesNotWait("this deployment's chain takes another payload: an edit can't be checked") from None
    try:
        return step.edited(value, StepContext(payload, outputs))
    except EditDoesNotFit as error:
        raise InvalidRequest({"value": str(error)}) from None
