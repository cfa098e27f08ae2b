"""What a person can do about a job that failed, by the type of its error.

The dashboard says the same, in the same words: static/queue/advice.js.
"""

import shlex
from collections.abc import Iterator, Mapping

from jobchain_cli.words import in_one_line
from jobchain_client import Job

UNKNOWN = "An operator can look it up in the runbook."

ADVICE: Mapping[str, str] = {
    "approval_rejected": "A person has rejected a step, or it was not approved in time: the step says who, and why. "
    "Retry the job to be asked again, or run it again from an earlier step.",
    "budget_exceeded": "Nothing is broken: the next call could cost more than the job's or the key's budget "
    "allows. Run the job again from this step with a higher cost limit, or a shorter text.",
    "budget_unknown": "The model has no price in prices.json, so a cost limit can't be kept. Run the job without "
    "one, or have the price added.",
    "content_filtered": "The provider's filter stopped this text or its answer. Change the text, or use another model.",
    "deadline_exceeded": "The message says what the job waited for last. When that is over, retry the job: it "
    "continues after its last completed step.",
    "model_failed": "The provider could not finish the answer and does not say why. Retry the job. If it fails "
    "again, give the request id of its failed calls to the provider.",
    "model_forbidden": "The account may not use the model that this job names. Name another one, or have the "
    "account allowed to use it.",
    "model_not_found": "The provider has no model of the name that this job asks for. Correct the name: a model "
    "may also have been shut down.",
    "model_refused": "The model declined to work on this text. Its answer, with the failed call, may say why. "
    "Change the text or the prompt.",
    "model_request_refused": "The provider does not accept the request: the failed call has the cause. Most often "
    "the deployment's settings name a model or an API that does not fit.",
    "text_too_long": "The text does not fit into the model's context or into the account's tokens per minute. "
    "Shorten it, or use another model. An operator can lower MaxInputTokens, so that long texts are split.",
    "unknown_chain": "No version of the deployment that was running had this chain. Deploy it, and create the job "
    "again.",
    "unknown_version": "A deployment changed the chain while the job ran, and its answers do not fit any more. "
    "Deploy a version that fits, run the job again from a step, or create it again.",
    "unusable_answer": "Each answer was not what the step has to give. Compare the answers of the failed calls "
    "with their causes: often the prompt does not say what the checks ask for, or the model is too weak. Change "
    "one of them, and run again from this step.",
    "worker_lost": "Workers crashed while they ran this job, and the reason is in the worker's log: most often "
    "memory. Shorten the text, or give the worker more memory. Then retry.",
}
"""By the types of errors of jobs."""

_CALLS = "jobchain show {id} --calls"
_RETRY = "jobchain retry {id}"
_MODEL = "jobchain fork {id} --from {step} --model NAME"
_PROMPT = "jobchain fork {id} --from {step} --prompt FILE"

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "approval_rejected": (_RETRY, "jobchain fork {id} --from STEP"),
    "budget_exceeded": ("jobchain fork {id} --from {step} --max-cost USD",),
    "content_filtered": (_MODEL,),
    "deadline_exceeded": (_RETRY,),
    "model_failed": (_RETRY, _CALLS),
    "model_forbidden": (_MODEL,),
    "model_not_found": (_MODEL,),
    "model_refused": (_CALLS, _PROMPT),
    "model_request_refused": (_CALLS,),
    "text_too_long": (_MODEL,),
    "unknown_version": ("jobchain fork {id} --from STEP",),
    "unusable_answer": (_CALLS, _PROMPT, _MODEL),
    "worker_lost": (_RETRY,),
}


def advice_lines(job: Job) -> Iterator[str]:
    """What to do about a failed job, and the commands for it; nothing for any other."""
    if job.status != "failed" or not job.error:
        return
    yield f"What to do: {ADVICE.get(job.error.type, UNKNOWN)}"
    names = {"id": job.event_id, "step": (job.error.step or "").partition(".")[0]}
    for command in _COMMANDS.get(job.error.type, ()):
        if names["step"] or "{step}" not in command:
            filled = {name: shlex.quote(in_one_line(value)) for name, value in names.items()}
            yield f"  {command.format(**filled)}"
