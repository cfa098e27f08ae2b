"""The Celery side: `celery --app benchmarks.baseline.worker worker`, with its defaults: a process for each core."""

from functools import cache
from uuid import UUID

from celery import Task
from pydantic import JsonValue

from benchmarks.baseline.broker import RUN_JOB, app
from benchmarks.baseline.model import TRANSIENT, ask
from benchmarks.baseline.store import Store
from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]


@cache
def store() -> Store:
    """Made in the process that first needs it: connections don't survive a fork."""
    return Store(most=1)


class JobTask(Task):
    """A task whose failure, once it is tried no more, is the job's."""

    def on_failure(self, exc: Exception, _id: str, args: tuple[str], *_: object) -> None:
        """Called by Celery; `args` are the task's."""
        store().end(UUID(args[0]), "failed", str(exc))


@app.task(name=RUN_JOB, base=JobTask, autoretry_for=TRANSIENT, retry_backoff=True, max_retries=5)
def run_job(job_id: str) -> None:
    """Takes the job's steps one by one, and keeps each when it ends."""
    identity = UUID(job_id)
    payload = GUIDELINE_CHECKLIST.payload.model_validate({"guidelines": store().start(identity)})
    outputs: dict[str, JsonValue] = {}
    for step in GUIDELINE_CHECKLIST.calls:
        outputs[step.name], _ = ask(step, StepContext(payload, outputs))
        store().save_step(identity, step.name, outputs[step.name])
    store().end(identity, "completed")
