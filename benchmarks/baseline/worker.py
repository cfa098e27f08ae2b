"""The Celery side: `celery --app benchmarks.baseline.worker worker`, with its defaults: a process for each core."""

from functools import cache
from typing import Any
from uuid import UUID

import openai
from celery import Task
from pydantic import BaseModel, JsonValue

from benchmarks.baseline.broker import RUN_JOB, app
from benchmarks.baseline.store import Store
from jobchain.chains import CHAINS
from jobchain.chains.chain import Step, StepContext

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

MODEL = "gpt-6-luna"


@cache
def store() -> Store:
    """Made in the process that first needs it: connections don't survive a fork."""
    return Store(most=1)


@cache
def client() -> openai.OpenAI:
    """As above. It reads OPENAI_API_KEY and OPENAI_BASE_URL, and tries a failed call twice again."""
    return openai.OpenAI()


class JobTask(Task):
    """A task whose failure, once it is tried no more, is the job's."""

    def on_failure(self, exc: Exception, _id: str, args: tuple[str], *_: object) -> None:
        """Called by Celery; `args` are the task's."""
        store().end(UUID(args[0]), "failed", str(exc))


@app.task(
    name=RUN_JOB,
    base=JobTask,
    autoretry_for=(openai.APIConnectionError, openai.RateLimitError),
    retry_backoff=True,
    max_retries=5,
)
def run_job(job_id: str) -> None:
    """Takes the job's steps one by one, and keeps each when it ends."""
    identity = UUID(job_id)
    payload = GUIDELINE_CHECKLIST.payload.model_validate({"guidelines": store().start(identity)})
    outputs: dict[str, JsonValue] = {}
    for step in GUIDELINE_CHECKLIST.calls:
        outputs[step.name] = ask(step, StepContext(payload, outputs))
        store().save_step(identity, step.name, outputs[step.name])
    store().end(identity, "completed")


@cache
def schema(answer: type[BaseModel]) -> dict[str, Any]:
    """An answer's JSON Schema, made once."""
    return answer.model_json_schema()


def ask(step: Step, context: StepContext[Any]) -> JsonValue:
    """The step's output, by one call of the model."""
    request = step.request(context)
    form: Any = {
        "type": "json_schema",
        "name": request.answer.__name__,
        "schema": schema(request.answer),
        "strict": True,
    }
    response = client().responses.create(
        model=MODEL,
        instructions=request.instructions,
        input=request.input,
        text={"format": form},
        store=False,
    )
    return step.read_answer(step.answer.model_validate_json(response.output_text), context)
