"""Runs one job in this process with the worker's own code, its state kept in memory: for a chain's author.

done = run_one(chain, {"document": "Doors must be locked."}, llm)
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from pydantic import BaseModel, JsonValue

from jobchain.approvals import Approval, Decided, Decision
from jobchain.aws.decisions import rejection
from jobchain.chains.chain import Chain
from jobchain.chains.definition import Definition
from jobchain.domain import Attempt, Claim, FinishedStep, JobError, Status, WaitingFor, isoformat
from jobchain.llm import LLM
from jobchain.prices import PriceList
from jobchain.spending import NOTHING_SPENT, Bill, Spending, summed
from jobchain_worker.admission_control import AdmissionControl
from jobchain_worker.demand import Wave
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.runner import Runner

DEADLINE = timedelta(days=1)
MAX_INPUT_TOKENS = 100_000

Wait = Callable[[timedelta, WaitingFor | None], None]
"""Waits for as long as a job does between two tries; is also told why, where that is known."""

Decide = Callable[[Approval], Decided]
"""Decides a step in place of a person."""

_INVOCATION = timedelta(minutes=15)
_CALL_TIME = timedelta(minutes=10)
_EVENT_ID = "00000000-0000-4000-8000-000000000000"


@dataclass
class OneJob:
    """The job, as the table would hold it. `chain` is what ran."""

    chain: Chain
    payload: JsonValue
    status: Status = Status.PENDING
    error: JobError | None = None
    steps: list[FinishedStep] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    spending: Spending = NOTHING_SPENT
    waits: list[WaitingFor] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)

    @property
    def outputs(self) -> dict[str, JsonValue]:
        """The outputs of the completed steps, by their stored names."""
        return {step.name: step.output for step in self.steps}

    @property
    def result(self) -> dict[str, JsonValue]:
        """The result, as callers read it."""
        return self.chain.result(self.outputs)


class _Clock:
    """The time, which passes faster where the job waits, unless it is waited for."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def skip(self, wait: timedelta, _waiting: WaitingFor | None) -> None:
        self._ahead += wait


class _Store:
    """Does for one job what `ClaimStore`, `DueStore`, `UsageStore`, `VersionStore` and `JobQueue` do for all."""

    def __init__(self, job: OneJob, clock: _Clock, max_cost_usd: Decimal | None, done: Mapping[str, JsonValue]) -> None:
        self.wait = timedelta(0)
        self.parked: Approval | None = None
        self._job = job
        self._clock = clock
        self._max_cost_usd = max_cost_usd
        self._deadline = clock() + DEADLINE
        self._tries: Mapping[str, int] = {}
        self._claims = 0
        now = clock().isoformat()
        job.steps.extend(FinishedStep(name, output, "", "", now, now, NOTHING_SPENT) for name, output in done.items())

    def claim(self, event_id: str, *_: object) -> Claim:
        self._claims += 1
        job = self._job
        return Claim(
            event_id=event_id,
            tenant="",
            job_name=job.chain.name,
            number=self._claims,
            payload=job.payload,
            expires_at=int((self._deadline + DEADLINE).timestamp()),
            tries=self._tries,
            steps=tuple(job.steps),
            spending=job.spending,
            max_cost_usd=self._max_cost_usd,
            deadline_at=self._deadline,
            approvals=tuple(job.approvals),
        )

    def check(self, _claim: Claim) -> bool:
        return False

    def is_kept(self, *_: object) -> bool:
        return True

    def find(self, _versions: object) -> dict[str, Definition]:
        return {}

    def save_step(self, _claim: Claim, _number: int, _position: int, _model: str, step: FinishedStep) -> None:
        self._job.steps.append(step)

    def save_attempt(self, _claim: Claim, _number: int, _model: str, attempt: Attempt) -> None:
        self._job.attempts.append(attempt)

    def finish(self, _claim: Claim, bill: Bill) -> None:
        self._end(Status.COMPLETED, bill)

    def fail(self, _claim: Claim | None, error: JobError, bill: Bill) -> None:
        self._job.error = error
        self._end(Status.FAILED, bill)

    def release(
        self,
        claim: Claim,
        wait: timedelta,
        tries: Mapping[str, int],
        bill: Bill,
        waiting: WaitingFor | None,
        parked: Approval | None = None,
    ) -> bool:
        self.parked = replace(parked, claim=claim.number) if parked else None
        self._job.waits += [waiting] if waiting else []
        self._tries = tries
        self.wait = wait
        self._end(Status.PENDING, bill)
        return True

    def decide(self, approval: Approval, decided: Decided) -> None:
        """Decides the step for which the job waits."""
        self.parked, decided = None, replace(decided, at=isoformat(self._clock()))
        self._job.approvals.append(replace(approval, decided=decided))
        self._deadline += self._clock() - datetime.fromisoformat(approval.since)
        if decided.decision is Decision.REJECT:
            self.fail(None, rejection(approval, decided), {})

    def send(self, *_: object) -> None:
        """Nothing is sent: `run_one` goes on by itself."""

    def _end(self, status: Status, bill: Bill) -> None:
        self._job.status = status
        self._job.spending += summed(bill.values())


class _Permit:
    """Lets everything through: an author's calls are few."""

    slot = None
    probing = False

    def admit(self, _candidate: object) -> None: ...

    def refuses(self, _model: str) -> bool:
        return False

    async def let_through(self, wave: Wave) -> Wave:
        return wave

    async def let_ask(self, *_: object) -> None: ...

    async def answered(self, *_: object) -> None: ...

    async def failed(self, *_: object) -> None: ...

    async def leave(self) -> None: ...


class _Control:
    def permit(self, *_: object, **__: object) -> _Permit:
        return _Permit()


class _Log:
    """Keeps the fault of the chain's own code, which the worker only logs: its author wants to see it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.fault: BaseException | None = None

    def info(self, message: str, **_: object) -> None:
        self._tell(message)

    def warning(self, message: str, **_: object) -> None:
        self._tell(message)

    def error(self, message: str, **_: object) -> None:
        self._tell(message)
        self.fault = sys.exception() or self.fault

    def thread_safe_append_keys(self, **_: object) -> None: ...


class UndecidedStep(Exception):
    """A step waits for a decision, and the caller has said none."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"the step {approval.step} waits for a decision")
        self.approval = approval


def _undecided(approval: Approval) -> Decided:
    raise UndecidedStep(approval)


def run_one(
    chain: Chain,
    payload: BaseModel | Mapping[str, Any],
    llm: LLM,
    *,
    prices: PriceList | None = None,
    max_input_tokens: int = MAX_INPUT_TOKENS,
    max_cost_usd: Decimal | None = None,
    done: Mapping[str, JsonValue] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    wait: Wait | None = None,
    decide: Decide | None = None,
    close: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> OneJob:
    """The job after it has ended. Waits between tries take no time, unless `wait` waits.

    A text of more than `max_input_tokens` is split. `done` are outputs of steps that need not run, by their names. What
    the worker logs is passed to `tell`. `decide` decides the steps that a person would. `close` ends the connections of
    the model. Raises pydantic's ValidationError for a payload that the chain does not take, UndecidedStep for a step
    without a decision, and what the chain's own code, `wait` and `decide` raise.
    """
    sent = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload
    checked = chain.payload.model_validate(sent).model_dump(mode="json")
    clock, log, job = _Clock(), _Log(tell), OneJob(chain, checked)
    memory = _Store(job, clock, max_cost_usd, done or {})
    store = cast("Any", memory)
    runner = Runner(
        claims=store,
        due=store,
        usage=store,
        versions=store,
        queue=store,
        control=cast("AdmissionControl", _Control()),
        llm=llm,
        chains={chain.name: chain},
        prices=prices or PriceList.load(),
        retry_policy=RetryPolicy(first_backoff=timedelta(seconds=10)),
        max_input_tokens=max_input_tokens,
        call_time=_CALL_TIME,
        clock=clock,
        logger=cast("Any", log),
        meter=lambda *_: None,
        outcome_meter=lambda _: None,
    )
    # One loop for all tries: the connections of a model's client belong to it.
    with asyncio.Runner() as loop:
        try:
            while job.status is Status.PENDING:
                loop.run(runner.run(_EVENT_ID, clock() + _INVOCATION))
                if log.fault:
                    raise log.fault
                if memory.parked:
                    memory.decide(memory.parked, (decide or _undecided)(memory.parked))
                elif job.status is Status.PENDING:
                    (wait or clock.skip)(memory.wait, job.waits[-1] if job.waits else None)
        finally:
            if close:
                loop.run(close())
    return job
