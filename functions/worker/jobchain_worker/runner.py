"""Runs one job: claims it, executes its steps wave by wave, and completes, fails or releases it."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import assert_never

from pydantic import ValidationError

from jobchain.aws.claiming import Candidate
from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.queue import MAX_DELAY, JobQueue, Slot
from jobchain.aws.usage import UsageStore
from jobchain.chains.chain import Chain
from jobchain.chains.fields import Payload
from jobchain.chains.planning import PlannedStep, plan
from jobchain.domain import Claim, Clock, FinishedStep, JobError, Tier, WaitingFor, WaitReason, isoformat, tier_at
from jobchain.errors import ClaimLost, JobNotReady, LimitReached, MustRunAlone, SettingsError, Unavailable
from jobchain.llm import LLM
from jobchain.metrics import Meter
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.spending import Spending, summed
from jobchain_worker.billing import Billing, exhausted_budget
from jobchain_worker.job_run import MAX_AT_ONCE, JobRun, Records, StepCompleted, StepDeferred, StepFailed
from jobchain_worker.persistence import Persistence
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.step_executor import StepExecutor
from jobchain_worker.text_threads import JobThread, TextThreads

# Jobs that were parked until the next day do not all start in the same second.
_SPREAD = timedelta(minutes=10)

_NO_CHAIN = "this deployment does not have the job's chain any more"
_OTHER_PAYLOAD = "this deployment's chain takes another payload than when the job was created: create it again"

# A job is not parked if less would be left until it is erased: it ends, and its caller can still read why.
_KEPT_AFTER_PARKING = timedelta(days=1)


class Runner:
    """Runs jobs, one `run` each; any number of them at the same time."""

    def __init__(
        self,
        *,
        claims: ClaimStore,
        due: DueStore,
        usage: UsageStore,
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
        self._usage = usage
        self._llm = llm
        self._billing = Billing(
            claims=claims,
            llm=llm,
            chains=chains,
            max_input_tokens=max_input_tokens,
            prices=prices,
            meter=meter,
            logger=logger,
        )
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
        self._text_threads = TextThreads()

    async def run(self, event_id: str, deadline: datetime, slot: Slot | None = None, *, alone: bool = False) -> None:
        """Runs the job until it is final, or too close to `deadline`, at which the invocation and the lease end.

        Skips a job that another worker holds or that is final. Requeues a job that is not due yet, or that is released.
        Raises Unavailable where the table does not answer, JobNotFound where there is no such job, and SettingsError
        where no invocation is long enough for a model call.
        """
        if self._clock() + self._call_time > deadline:
            raise SettingsError("an invocation is too short for a model call: raise WorkerTimeoutSeconds")
        try:
            admit = _admit_alone if alone else _admit
            claim = await asyncio.to_thread(self._claims.claim, event_id, deadline, self._billing.at_risk, admit)
        except ClaimLost as lost:
            self._logger.info("claim lost, skipping", reason=str(lost))
        except JobNotReady as early:
            self._logger.info("not due yet, requeued", reason=str(early))
            await self._requeue(event_id, early.tenant, early.tier, early.wait)
        else:
            self._logger.thread_safe_append_keys(tenant=claim.tenant, claim=claim.number)
            records = Records(self._claims, claim, self._llm.model, Persistence(deadline, self._clock, self._logger))
            try:
                await self._run_claimed(claim, records)
            except ClaimLost as lost:
                self._logger.info("claim lost, skipping", reason=str(lost))
                await self._billing.report_late(claim, records)

    async def _run_claimed(self, claim: Claim, records: Records) -> None:
        texts = self._text_threads.for_job()
        chain = self._chains.get(claim.job_name)
        payload = await _checked_payload(texts, chain, claim) if chain else None
        if chain is None or payload is None:
            await self._billing.settle(claim, records)
            message = _OTHER_PAYLOAD if chain else _NO_CHAIN
            await self._fail(records, JobError("unknown_chain", message))
            return
        outputs = {step.name: step.output for step in claim.steps}
        run = JobRun(claim=claim, chain=chain, payload=payload, texts=texts, records=records, outputs=outputs)
        if claim.unsettled:
            run.claim = await self._billing.settle(claim, records, await self._estimate(run))
        await self._run_waves(run)

    async def _estimate(self, run: JobRun) -> Spending | None:
        """The most that calls in flight can have cost when the last worker vanished: one for each ready step.

        None where that can't be told.
        """
        wave = await run.texts.run(self._wave, run)
        try:
            return summed([await self._executor.most(run, step) for _, step in wave])
        except Exception as error:  # noqa: BLE001  # the step fails by it too, once what is paid is recorded
            self._logger.error("calls not estimated one by one", extra=describe(error))
            return None

    async def _run_waves(self, run: JobRun) -> None:
        """Executes one wave after the other, until the job is final or released."""
        claim, records = run.claim, run.records
        cancelled = claim.cancel_requested
        wave = await run.texts.run(self._wave, run)
        while wave:
            if cancelled:
                await records.persistence.write(self._claims.end_cancelled, claim, records.bill)
                self._billing.count(claim, records.bill)
                self._logger.info("job cancelled")
                return
            if refusal := await exhausted_budget(self._usage, run, self._clock()):
                await self._park(run, refusal)
                return
            if stopped := await self._run_wave(run, wave):
                await self._stop(run, stopped)
                return
            if wave := await run.texts.run(self._wave, run):
                # It also finds out whether the job is lost, before another call is made.
                cancelled = await records.persistence.write(self._claims.check, claim)
        await records.persistence.write(self._claims.finish, claim, records.bill)
        self._billing.count(claim, records.bill)
        self._logger.info("job completed")

    async def _park(self, run: JobRun, reached: LimitReached) -> None:
        """Releases the job until the next day (UTC), as its key's daily budget is used up."""
        detail = f"the key's limit {reached.limit} is used up for today (UTC)"
        delay = reached.retry_after + _SPREAD * random.random()  # noqa: S311  # no secret
        if self._clock() + delay + _KEPT_AFTER_PARKING > datetime.fromtimestamp(run.claim.expires_at, UTC):
            message = f"{detail}, and the job is about to be erased"
            await self._fail(run.records, JobError("budget_exceeded", message))
            return
        self._logger.info("daily budget used up, parked", limit=reached.limit)
        await self._release(run, delay, {}, WaitReason.BUDGET, detail)

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
            failed=completed.failed,
            request_id=completed.request_id,
            tier=completed.tier,
        )
        await run.records.step(position, finished)
        run.outputs[step.name] = completed.output

    async def _stop(self, run: JobRun, stopped: Sequence[StepFailed | StepDeferred]) -> None:
        """Fails the job if a step failed it. Otherwise releases it until all deferred steps can be tried again."""
        if failed := next((step for step in stopped if isinstance(step, StepFailed)), None):
            await self._fail(run.records, failed.error)
            return
        deferred = [step for step in stopped if isinstance(step, StepDeferred)]
        longest = max(deferred, key=lambda step: step.delay)
        tries = {key.stored: count for step in deferred for key, count in step.tries.items()}
        await self._release(run, longest.delay, tries, WaitReason.RETRY, longest.reason)

    async def _release(
        self,
        run: JobRun,
        delay: timedelta,
        tries: Mapping[str, int],
        reason: WaitReason,
        detail: str,
    ) -> None:
        claim, bill = run.claim, run.records.bill
        now = self._clock()
        waiting = WaitingFor(reason, isoformat(now), isoformat(now + delay), detail)
        released = await run.records.persistence.write(
            self._claims.release, claim, delay, {**claim.tries, **tries}, bill, waiting if delay else None
        )
        self._billing.count(claim, bill)
        if not released:
            self._logger.info("job cancelled")
            return
        tier = tier_at(claim.flex_until, self._clock() + delay)
        await self._requeue(claim.event_id, claim.tenant, tier, delay)

    async def _requeue(self, event_id: str, tenant: str, tier: Tier, delay: timedelta) -> None:
        """Sends the job's message, visible after `delay`. The sweeper sends it where the queue can't."""
        if delay > MAX_DELAY:
            return  # longer than the queue can delay a message: the sweeper sends it when the job is due
        try:
            await asyncio.to_thread(self._queue.send, event_id, tenant, delay, tier)
        except Unavailable as error:
            self._logger.warning("job not requeued, left to the sweeper", extra=describe(error))
            await asyncio.to_thread(self._due.mark_due, event_id, self._clock() + delay)

    async def _fail(self, records: Records, error: JobError) -> None:
        await records.persistence.write(self._claims.fail, records.claim, error, records.bill)
        self._billing.count(records.claim, records.bill)
        self._logger.warning("job failed", type=error.type, reason=error.message)


def _admit(candidate: Candidate) -> None:
    if candidate.crashes >= 2:
        raise MustRunAlone(f"{candidate.crashes} workers in a row have vanished with the job")


def _admit_alone(_: Candidate) -> None:
    pass


async def _checked_payload(texts: JobThread, chain: Chain, claim: Claim) -> Payload | None:
    """The claim's payload, None where this version of the chain does not accept it."""
    try:
        return await texts.run(chain.payload.model_validate, claim.payload)
    except ValidationError:
        return None
