"""Runs one job: claims it, executes its steps wave by wave, and completes, fails or releases it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import assert_never

from pydantic import ValidationError

from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.queue import MAX_DELAY, JobQueue
from jobchain.chains.chain import Chain, Step
from jobchain.chains.fields import Payload
from jobchain.chains.planning import PlannedStep, plan
from jobchain.domain import Claim, Clock, FinishedStep, JobError, Tier, isoformat
from jobchain.errors import ClaimLost, JobNotReady, SettingsError, Unavailable
from jobchain.llm import LLM
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.spending import NOTHING_SPENT, Spending
from jobchain_worker.job_run import JobRun, StepCompleted, StepDeferred, StepFailed
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.step_executor import StepExecutor
from jobchain_worker.text_threads import JobThread, TextThreads

MAX_AT_ONCE = 10
"""Steps of one job that run at the same time: a text of a hundred parts must not use up a provider's rate limit."""

_STORE_PAUSE = timedelta(seconds=1)

Meter = Callable[[str, str, Spending], None]
"""Told of each model step that is stored: its chain, its model, and what it cost."""


class Runner:
    """Runs jobs, one `run` each; any number of them at the same time."""

    def __init__(
        self,
        *,
        claims: ClaimStore,
        due: DueStore,
        queue: JobQueue,
        llm: LLM,
        chains: Mapping[str, Chain],
        prices: PriceList,
        retry_policy: RetryPolicy,
        max_input_tokens: int,
        call_time: timedelta,
        clock: Clock,
        logger: Logger,
        meter: Meter,
    ) -> None:
        """`call_time` is the longest that a model call and the writes after it may take: a call starts only with as
        much time left. A text of more than `max_input_tokens` is split into parts.
        """
        self._claims = claims
        self._due = due
        self._queue = queue
        self._executor = StepExecutor(
            llm=llm,
            prices=prices,
            retry_policy=retry_policy,
            max_input_tokens=max_input_tokens,
            call_time=call_time,
            clock=clock,
            logger=logger,
        )
        self._chains = chains
        self._max_input_tokens = max_input_tokens
        self._call_time = call_time
        self._clock = clock
        self._logger = logger
        self._meter = meter
        self._text_threads = TextThreads()

    async def run(self, event_id: str, deadline: datetime) -> None:
        """Runs the job until it is final, or too close to `deadline`, at which the invocation and the lease end.

        Skips a job that another worker holds or that is final. Requeues a job that is not due yet, or that is released.
        Raises Unavailable where the table does not answer, JobNotFound where there is no such job, and SettingsError
        where no invocation is long enough for a model call.
        """
        if self._clock() + self._call_time > deadline:
            raise SettingsError("an invocation is too short for a model call: raise WorkerTimeoutSeconds")
        try:
            claim = await asyncio.to_thread(self._claims.claim, event_id, deadline)
            self._logger.thread_safe_append_keys(tenant=claim.tenant, claim=claim.number)
            await self._run_claimed(claim, deadline)
        except ClaimLost as lost:
            self._logger.info("claim lost, skipping", reason=str(lost))
        except JobNotReady as early:
            self._logger.info("not due yet, requeued", reason=str(early))
            await self._requeue(event_id, early.tenant, early.tier, early.wait)

    async def _run_claimed(self, claim: Claim, deadline: datetime) -> None:
        texts = self._text_threads.for_job()
        chain = self._chains.get(claim.job_name)
        if chain is None:
            await self._fail(claim, JobError("unknown_chain", "this deployment does not have the job's chain any more"))
            return
        payload = await _checked_payload(texts, chain, claim)
        if payload is None:
            message = "this deployment's chain takes another payload than when the job was created: create it again"
            await self._fail(claim, JobError("unknown_chain", message))
            return
        run = JobRun(
            claim=claim,
            chain=chain,
            payload=payload,
            deadline=deadline,
            texts=texts,
            outputs={step.name: step.output for step in claim.steps},
            spending=claim.spending,
            cancel_requested=claim.cancel_requested,
        )
        await self._run_waves(run)

    async def _run_waves(self, run: JobRun) -> None:
        """Executes one wave after the other, until the job is final or released."""
        while wave := await run.texts.run(self._wave, run):
            if run.cancel_requested:
                await asyncio.to_thread(self._claims.end_cancelled, run.claim)
                self._logger.info("job cancelled")
                return
            if stopped := await self._run_wave(run, wave):
                await self._stop(run.claim, stopped)
                return
        await asyncio.to_thread(self._claims.finish, run.claim)
        self._logger.info("job completed")

    def _wave(self, run: JobRun) -> list[tuple[int, PlannedStep]]:
        """The steps whose needs are stored, each with its position in the plan."""
        planned = plan(run.chain, run.payload, run.outputs, self._max_input_tokens)
        ready = (
            (position, step)
            for position, step in enumerate(planned)
            if step.name not in run.outputs and all(name in run.outputs for name in step.needs)
        )
        return list(islice(ready, MAX_AT_ONCE))

    async def _run_wave(self, run: JobRun, wave: Sequence[tuple[int, PlannedStep]]) -> list[StepFailed | StepDeferred]:
        """Executes the steps of a wave at the same time, and stores each when it completes.

        Returns those that did not complete. No step is abandoned because another failed: a call in flight is billed.
        """
        share = run.share(len(wave))
        ends = await asyncio.gather(
            *(self._run_step(run, step, position, share) for position, step in wave), return_exceptions=True
        )
        for (_, step), end in zip(wave, ends, strict=True):
            if isinstance(end, BaseException):
                self._logger.thread_safe_append_keys(step=step.name)
                raise end
        return [end for end in ends if isinstance(end, StepFailed | StepDeferred)]

    async def _run_step(
        self, run: JobRun, step: PlannedStep, position: int, share: Decimal | None
    ) -> StepFailed | StepDeferred | None:
        """Executes a step, and stores it if it completes."""
        started_at = isoformat(self._clock())
        self._logger.thread_safe_append_keys(step=step.name)
        outcome = await self._executor.execute(run, step, share)
        match outcome:
            case StepCompleted():
                await self._store(run, step, position, outcome, started_at)
                return None
            case StepFailed() | StepDeferred():
                return outcome
            case _:
                assert_never(outcome)

    async def _store(
        self, run: JobRun, step: PlannedStep, position: int, completed: StepCompleted, started_at: str
    ) -> None:
        finished = FinishedStep(
            name=step.name,
            output=completed.output,
            model=completed.model,
            prompt_version=completed.prompt_version,
            started_at=started_at,
            finished_at=isoformat(self._clock()),
            spending=completed.spending,
        )
        async with run.storing:
            run.cancel_requested |= not await self._save_step(run.claim, position, finished, run.deadline)
        if isinstance(step, Step):
            self._meter(run.chain.name, completed.model, completed.spending)
        run.outputs[step.name] = completed.output

    async def _save_step(self, claim: Claim, position: int, step: FinishedStep, deadline: datetime) -> bool:
        """Stores a step. Retries until the lease ends, as its call is billed. False where a cancel is requested."""
        while True:
            try:
                return await asyncio.to_thread(self._claims.save_step, claim, position, step)
            except Unavailable as error:
                if self._clock() + _STORE_PAUSE > deadline:
                    raise
                self._logger.warning("step not stored yet", extra=describe(error))
                await asyncio.sleep(_STORE_PAUSE.total_seconds())

    async def _stop(self, claim: Claim, stopped: Sequence[StepFailed | StepDeferred]) -> None:
        """Fails the job if a step failed it. Otherwise releases it until all deferred steps can be tried again."""
        spent = sum((step.spending for step in stopped), NOTHING_SPENT)
        if failed := next((step for step in stopped if isinstance(step, StepFailed)), None):
            await self._fail(claim, failed.error, spent)
            return
        await self._release(claim, [step for step in stopped if isinstance(step, StepDeferred)], spent)

    async def _release(self, claim: Claim, deferred: Sequence[StepDeferred], spent: Spending) -> None:
        tries = {**claim.tries, **{key.stored: count for step in deferred for key, count in step.tries.items()}}
        delay = max(step.delay for step in deferred)
        if not await asyncio.to_thread(self._claims.release, claim, delay, tries, spent):
            self._logger.info("job cancelled")
            return
        await self._requeue(claim.event_id, claim.tenant, claim.tier, delay)

    async def _requeue(self, event_id: str, tenant: str, tier: Tier, delay: timedelta) -> None:
        """Sends the job's message, visible after `delay`. The sweeper sends it where the queue can't."""
        if delay > MAX_DELAY:
            return  # longer than the queue can delay a message: the sweeper sends it when the job is due
        try:
            await asyncio.to_thread(self._queue.send, event_id, tenant, delay, tier)
        except Unavailable as error:
            self._logger.warning("job not requeued, left to the sweeper", extra=describe(error))
            await asyncio.to_thread(self._due.mark_due, event_id, self._clock() + delay)

    async def _fail(self, claim: Claim, error: JobError, spent: Spending = NOTHING_SPENT) -> None:
        await asyncio.to_thread(self._claims.fail, claim, error, spent)
        self._logger.warning("job failed", type=error.type, reason=error.message)


async def _checked_payload(texts: JobThread, chain: Chain, claim: Claim) -> Payload | None:
    """The claim's payload, None where this version of the chain does not accept it."""
    try:
        return await texts.run(chain.payload.model_validate, claim.payload)
    except ValidationError:
        return None
