"""One worker's run of a claimed job."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import JsonValue

from jobchain.chains.chain import Chain
from jobchain.chains.fields import Payload
from jobchain.chains.step_keys import TriesKey
from jobchain.domain import Claim, JobError, Tier
from jobchain.spending import Spending
from jobchain_worker.text_threads import JobThread


@dataclass
class JobRun:
    """What a worker knows of the job that it runs: the claim, the outputs so far, and the spending so far."""

    claim: Claim
    chain: Chain
    payload: Payload
    deadline: datetime
    """The invocation deadline, at which the lease ends too."""
    texts: JobThread
    outputs: dict[str, JsonValue]
    spending: Spending
    cancel_requested: bool
    """Whether a caller had asked to cancel the job when the last step was stored."""
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a step is stored: two transactions at the same time would conflict at the job's item."""

    def share(self, steps: int) -> Decimal | None:
        """What each of `steps` steps may cost that run at the same time; None where the job has no budget."""
        budget = self.claim.max_cost_usd
        return None if budget is None else (budget - self.spending.known_cost_usd) / steps

    def tries(self, key: TriesKey) -> int:
        """The failed tries that the job's earlier runs stored under `key`."""
        return self.claim.tries.get(key.stored, 0)

    def is_retry(self, step: str) -> bool:
        """Whether an earlier run called the model for the step, and failed."""
        return any(self.tries(TriesKey(step, tier)) for tier in Tier)

    def flex_left(self, now: datetime) -> timedelta:
        """How long the job's calls are still flex calls; zero for a job of the standard tier."""
        until = self.claim.flex_until
        return max(until - now, timedelta(0)) if until else timedelta(0)


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A step's output, not stored yet. `model` and `prompt_version` are empty for a step without a model call."""

    output: JsonValue
    model: str
    prompt_version: str
    spending: Spending


@dataclass(frozen=True, slots=True)
class StepFailed:
    """The step fails the job."""

    error: JobError
    spending: Spending


@dataclass(frozen=True, slots=True)
class StepDeferred:
    """The step is tried again after `delay`, in another run. `tries` are the failed tries to store."""

    tries: Mapping[TriesKey, int]
    delay: timedelta
    spending: Spending


StepOutcome = StepCompleted | StepFailed | StepDeferred
