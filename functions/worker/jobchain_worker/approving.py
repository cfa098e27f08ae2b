"""What a worker does with a step that a person decides."""

from datetime import datetime, timedelta

from pydantic import JsonValue

from jobchain.approvals import Approval
from jobchain.aws.parking import latest_decision_time
from jobchain.chains.approving import ApprovalStep
from jobchain.chains.chain import StepContext
from jobchain.domain import Claim, FinishedStep, isoformat
from jobchain.spending import NOTHING_SPENT
from jobchain_worker.job_run import JobRun, StepCompleted, StepParked


async def ask_a_person(run: JobRun, step: ApprovalStep, now: datetime) -> StepCompleted | StepParked:
    """The approved value, or what a person has to decide. A rejection has ended the job, and a retry asks again."""
    if step.name in run.approved:
        return computed(run.approved[step.name])
    step.prepare()
    shown = await run.texts.run(step.output, StepContext(run.payload, dict(run.outputs)))
    options = step.options
    until = latest_decision_time(now, timedelta(seconds=options.deadline_seconds), run.claim.expires_at)
    return StepParked(Approval(step.name, step.title, shown, isoformat(now), isoformat(until), options.on_deadline))


def approved_steps(claim: Claim) -> tuple[FinishedStep, ...]:
    """The approved steps that no worker has stored yet, as completed ones: of which version they are is not known."""
    stored = {step.name for step in claim.steps}
    return tuple(
        FinishedStep(each.step, each.value, "", "", each.since, each.since, NOTHING_SPENT)
        for each in claim.approvals
        if each.is_approved and each.step not in stored
    )


def computed(output: JsonValue) -> StepCompleted:
    """The outcome of a step without a model call."""
    return StepCompleted(output, model="", prompt_version="", spending=NOTHING_SPENT)
