"""One worker's run of a claimed job."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import BaseModel, JsonValue

from jobchain.approvals import Approval
from jobchain.aws.claims import ClaimStore
from jobchain.chains.chain import Chain, Step
from jobchain.chains.step_keys import CountKey, TriesKey
from jobchain.domain import Attempt, Claim, FinishedStep, JobError, Tier, WaitReason, isoformat
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain.spending import NOTHING_SPENT, Bill, Spending, summed
from jobchain_worker.admission_control import Permit
from jobchain_worker.persistence import Persistence
from jobchain_worker.text_threads import JobThread


@dataclass
class JobRun:
    """What a worker knows of the job that it runs: the claim, the outputs so far, and the spending so far.

    `avoided` are the models in place of which a fallback has answered.
    """

    claim: Claim
    chain: Chain
    payload: BaseModel
    texts: JobThread
    records: "Records"
    outputs: dict[str, JsonValue]
    avoided: set[str] = field(default_factory=set)

    @property
    def deadline(self) -> datetime:
        """When the invocation ends, and the lease."""
        return self.records.persistence.deadline

    @property
    def spending(self) -> Spending:
        """What the job has used, all earlier claims included."""
        return self.claim.spending + self.records.spent

    @property
    def caller(self) -> str:
        """What tells a provider which calls are made for the same tenant: a hash of its name."""
        return hashlib.sha256(f"jobchain {self.claim.tenant}".encode()).hexdigest()

    def share(self, steps: int) -> Decimal | None:
        """What each of `steps` steps may cost that run at the same time; None where the job has no budget."""
        budget = self.claim.max_cost_usd
        return None if budget is None else (budget - self.spending.known_cost_usd) / steps

    @property
    def approved(self) -> Mapping[str, JsonValue]:
        """The values of the steps that were approved, by their names."""
        return {each.step: each.value for each in self.claim.approvals if each.is_approved}

    def tries(self, key: CountKey) -> int:
        """The failed tries that the job's earlier runs stored under `key`."""
        return self.claim.tries.get(key.stored, 0)

    def left(self, now: datetime) -> timedelta:
        """The time until the job's own deadline; negative where it is over."""
        return self.claim.deadline_at - now

    def is_retry(self, step: str) -> bool:
        """Whether an earlier run called the model for the step, and failed."""
        return any(self.tries(TriesKey(step, tier)) for tier in Tier)

    def flex_left(self, now: datetime) -> timedelta:
        """How long the job's calls are still flex calls; zero for a job of the standard tier."""
        until = self.claim.flex_until
        return max(until - now, timedelta(0)) if until else timedelta(0)


def overdue(claim: Claim, last: str, step: str | None = None) -> JobError:
    """The error of a job whose deadline is over; `last` says what it waited for."""
    return JobError("deadline_exceeded", f"the job's deadline ({isoformat(claim.deadline_at)}) is over: {last}", step)


async def checked_payload(texts: JobThread, chain: Chain, claim: Claim) -> BaseModel | None:
    """The claim's payload, None where this version of the chain does not accept it."""

    def accepted() -> BaseModel | None:
        try:
            return chain.payload.model_validate(claim.payload)
        except Exception:  # noqa: BLE001  # ValidationError, or what the chain's own code raises
            return None

    return await texts.run(accepted)


class Records:
    """The records of a claim's calls: each is stored when its call has ended, and added to the claim's bill."""

    def __init__(self, claims: ClaimStore, claim: Claim, model: str, persistence: Persistence, permit: Permit) -> None:
        """`model` is the deployment's, which is asked where a step names no other."""
        self.permit = permit
        self._claims = claims
        self.claim = claim
        self._model = model
        self.persistence = persistence
        self._stored = 0
        # One at a time: the records that the next claim finds are the first ones, without a gap.
        self._storing = asyncio.Lock()
        self._spent: dict[str, Spending] = {}

    @property
    def spent(self) -> Spending:
        """What the claim's own calls have used and cost so far."""
        return summed(self._spent.values())

    @property
    def bill(self) -> Bill:
        """The claim's bill, by the model that was asked."""
        return dict(self._spent)

    def charge(self, spending: Spending, asked: str) -> None:
        """Adds a call to the bill, before anything is done with its answer. `asked` is the model that was asked."""
        self._spent[asked] = self._spent.get(asked, NOTHING_SPENT) + spending

    async def step(self, position: int, step: FinishedStep, asked: str | None = None) -> None:
        """Stores a completed step, whose calls are charged already. `asked` is the model that was asked."""
        model = (asked or self._model) if step.model else ""
        async with self._storing:
            self._stored += 1
            await self.persistence.write(self._claims.save_step, self.claim, self._stored, position, model, step)

    async def attempt(self, attempt: Attempt, asked: str) -> None:
        """Stores a call that failed, which is charged already. `asked` is the model that was asked."""
        async with self._storing:
            self._stored += 1
            await self.persistence.write(self._claims.save_attempt, self.claim, self._stored, asked, attempt)


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A step's output, not stored yet. `model` and `prompt_version` are empty for a step without a model call.

    `spending` is that of the call whose answer became the output, `failed` that of the calls before it. `asked` is the
    model that was asked, and `effort` the one that was sent. That call began at `called_at`, or with the step where
    that is None, and `request_hash` is of its request.
    """

    output: JsonValue
    model: str
    prompt_version: str
    spending: Spending
    failed: Spending = NOTHING_SPENT
    request_id: str | None = None
    tier: Tier = Tier.STANDARD
    asked: str | None = None
    called_at: str | None = None
    request_hash: str | None = None
    effort: str | None = None

    def finished(self, name: str, started_at: str, finished_at: str) -> FinishedStep:
        """The step as it is stored."""
        return FinishedStep(
            name=name,
            output=self.output,
            model=self.model,
            prompt_version=self.prompt_version,
            started_at=started_at,
            finished_at=finished_at,
            spending=self.spending,
            failed=self.failed,
            request_id=self.request_id,
            tier=self.tier,
            called_at=self.called_at,
            request_hash=self.request_hash,
            effort=self.effort,
        )


def completed(
    step: Step,
    request: ModelRequest,
    answer: ModelAnswer,
    output: JsonValue,
    spending: Spending,
    failed: Spending,
    called_at: str | None,
) -> StepCompleted:
    """A step whose `answer` became the `output`; see `StepCompleted`."""
    return StepCompleted(
        output,
        answer.model,
        step.prompt_version,
        spending,
        failed,
        answer.request_id,
        answer.tier,
        asked=request.model,
        called_at=called_at,
        request_hash=request.digest,
        effort=None if answer.without_effort else request.effort,
    )


@dataclass(frozen=True, slots=True)
class StepFailed:
    """The step fails the job."""

    error: JobError


@dataclass(frozen=True, slots=True)
class StepDeferred:
    """The step is tried again after `delay`, in another run. `tries` are the failed tries to store.

    `reason` and `detail` tell the caller why the job waits. `faulty` if that is a fault of the service.
    """

    tries: Mapping[CountKey, int]
    delay: timedelta
    detail: str
    reason: WaitReason = WaitReason.RETRY
    faulty: bool = False


@dataclass(frozen=True, slots=True)
class StepParked:
    """The step waits for a person's decision, in no run."""

    approval: Approval


StepStopped = StepFailed | StepDeferred | StepParked
"""How a step ended that is not completed."""

StepOutcome = StepCompleted | StepStopped
