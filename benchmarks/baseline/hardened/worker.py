"""The workers: `celery --app benchmarks.baseline.hardened.worker worker --pool threads --concurrency 50`."""

import logging
import random
import threading
import time
from contextlib import suppress
from functools import cache
from uuid import UUID

import psycopg
from pydantic import JsonValue

from benchmarks.baseline.hardened.broker import RUN_JOB, app
from benchmarks.baseline.hardened.store import Claim, LostLeaseError, Store
from benchmarks.baseline.hardened.terms import LEASE_SECONDS, MOST_TRIES
from benchmarks.baseline.model import TRANSIENT, ask
from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext

CONNECTIONS = 8
"""To the database, of a process: a job needs one for a few milliseconds of its seconds."""


GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]
_log = logging.getLogger(__name__)


class Worker:
    """What a process has: its connections, the claims that it holds, and the heartbeat that extends their leases."""

    def __init__(self) -> None:
        self.store = Store(most=CONNECTIONS)
        self._held: dict[UUID, Claim] = {}
        threading.Thread(target=self._beat, daemon=True).start()

    def run(self, job_id: UUID) -> None:
        """Runs the job, if it can be claimed; whatever happens is in its row then."""
        claim = self.store.claim(job_id)
        if claim is None:
            return
        self._held[job_id] = claim
        try:
            # One that lost its lease stops: another worker has the job, and nothing of this one's is kept.
            with suppress(LostLeaseError):
                self._try(claim)
        finally:
            self._held.pop(job_id, None)

    def _try(self, claim: Claim) -> None:
        if claim.tries > MOST_TRIES:
            self.store.fail(claim, f"no step was completed in {MOST_TRIES} tries")
            return
        try:
            self._take_steps(claim)
        except TRANSIENT:
            # Not Celery's `retry`: a message with a countdown stays in a worker, beyond its visibility timeout.
            self.store.release(claim, after=2**claim.tries * random.uniform(0.8, 1.2))  # noqa: S311  # no secret
        except LostLeaseError:
            raise
        except Exception as error:
            self.store.fail(claim, str(error))
            raise

    def _take_steps(self, claim: Claim) -> None:
        payload = GUIDELINE_CHECKLIST.payload.model_validate({"guidelines": claim.text})
        outputs: dict[str, JsonValue] = dict(claim.outputs)
        left = [step for step in GUIDELINE_CHECKLIST.calls if step.name not in outputs]
        for step in left:
            outputs[step.name], usage = ask(step, StepContext(payload, outputs))
            self.store.save_step(claim, step.name, outputs[step.name], usage, last=step is left[-1])

    def _beat(self) -> None:
        while True:
            time.sleep(LEASE_SECONDS / 3)
            try:
                if held := list(self._held.values()):
                    self.store.extend(held)
            except psycopg.Error:
                # Two more beats are left until a lease expires.
                _log.exception("the leases were not extended")


_lock = threading.Lock()


@cache
def _worker() -> Worker:
    return Worker()


def worker() -> Worker:
    """Made in the process, and once, by the thread that first needs it."""
    with _lock:
        return _worker()


@app.task(name=RUN_JOB)
def run_job(job_id: str) -> None:
    """What a message asks for."""
    worker().run(UUID(job_id))
