"""Runs one job: claims it, executes its steps wave by wave, and completes, fails or releases it."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import assert_never

from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.queue import JobQueue, Slot
from jobchain.aws.usage import UsageStore
from jobchain.aws.versions import VersionStore
from jobchain.chains.approving import ApprovalStep
from jobchain.chains.chain import Chain
from jobchain.chains.planning import PlannedStep, plan
from jobchain.domain import Claim, Clock, JobError, WaitReason, isoformat
from jobchain.errors import ClaimLost, JobNotReady, LimitReached, SettingsError
from jobchain.llm import LLM
from jobchain.metrics import Meter, OutcomeMeter
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.spending import Bill, summed_by_model
from jobchain_worker.admission_control import AdmissionControl, Permit
from jobchain_worker.billing import Billing, exhausted_budget
from jobchain_worker.chain_versions import ChainVersions, Unfit
from jobchain_worker.demand import MAX_AT_ONCE
from jobchain_worker.endings import Endings
from jobchain_worker.job_run import (
    JobRun,
    Records,
    StepCompleted,
    StepDeferred,
    StepFailed,
    StepParked,
    StepStopped,
    overdue,
)
from jobchain_worker.persistence import Persistence
from jobchain_worker.retry_policy import RetryPolicy
from jobchain_worker.step_executor import StepExecutor
from jobchain_worker.text_threads import TextThreads

# Jobs that were parked until the next day do not all start in the same second.
_SPREAD = timedelta(minutes=10)

_UNFINISHED = "not all of its steps are completed"

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
        versions: VersionStore,
        queue: JobQueue,
        control: AdmissionControl,
        llm: LLM,
        chains: Mapping[str, Chain],
        prices: PriceList,
        retry_policy: RetryPolicy,
        max_input_tokens: int,
        call_time: timedelta,
        clock: Clock,
        logger: Logger,
        meter: Meter,
        outcome_meter: OutcomeMeter,
    ) -> None:
        """`call_time` is the longest that a model call and the writes after it may take: a call starts only with as
        much time left. A text of more than `max_input_tokens` is split into parts.
        """
        self._claims = claims
        self._usage = usage
        self._control = control
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
        self._endings = Endings(
            claims=claims,
            due=due,
            queue=queue,
            billing=self._billing,
            clock=clock,
            logger=logger,
            outcome_meter=outcome_meter,
        )
        self._executor = StepExecutor(
            llm=llm,
            prices=prices,
            retry_policy=retry_policy,
            max_input_tokens=max_input_tokens,
            call_time=call_time,
            clock=clock,
            logger=logger,
        )
        self.versions = ChainVersions(versions, chains, llm.model, logger)
        self._max_input_tokens = max_input_tokens
        self._call_time = call_time
        self._clock = clock
        self._logger = logger
        self._text_threads = TextThreads()

    async def run(self, event_id: str, deadline: datetime, slot: Slot | None = None, *, alone: bool = False) -> None:
        """Runs the job until it is final, or too close to `deadline`, at which the invocation and the lease end.

        `slot` is the one of the account's pace that its message holds, and `alone` tells that no other job runs in this
        process. Skips a job that another worker holds or that is final. Requeues a job that is not due yet, that has to
        wait for the account, or that is released.
        Raises MustRunAlone for a job that may have crashed workers, Unavailable where the table does not answer,
        JobNotFound where there is no such job, and SettingsError where no invocation is long enough for a model call.
        """
        has_time = self._clock() + self._call_time <= deadline
        if not has_time and not alone:
            raise SettingsError("an invocation is too short for a model call: raise WorkerTimeoutSeconds")
        permit = self._control.permit(slot, alone=alone, has_time=has_time)
        try:
            await self._run(event_id, deadline, permit)
        finally:
            await permit.leave()

    async def _run(self, event_id: str, deadline: datetime, permit: Permit) -> None:
        try:
            self.versions.prepare()
            ask = (self._billing.at_risk, permit.admit, self.versions.version)
            claim = await asyncio.to_thread(self._claims.claim, event_id, deadline, *ask)
        except ClaimLost as lost:
            self._logger.info("claim lost, skipping", reason=str(lost))
        except JobNotReady as early:
            self._logger.info("not due yet, requeued", reason=str(early))
            await self._endings.requeue(event_id, early.tenant, early.tier, early.wait, permit.slot)
        else:
            self._logger.thread_safe_append_keys(tenant=claim.tenant, claim=claim.number)
            persistence = Persistence(deadline, self._clock, self._logger)
            records = Records(self._claims, claim, self._llm.model, persistence, permit)
            try:
                await self._run_claimed(claim, records)
            except ClaimLost as lost:
                self._logger.info("claim lost, skipping", reason=str(lost))
                await self._billing.report_late(claim, records)

    async def _run_claimed(self, claim: Claim, records: Records) -> None:
        run = await self.versions.run_of(claim, records, self._text_threads.for_job())
        if isinstance(run, Unfit):
            await self._billing.settle(claim, records)
            await self._endings.wait_for_deployment(records, run.detail, run.error)
            return
        if claim.unsettled:
            run.claim = await self._billing.settle(run.claim, records, await self._estimate(run))
        await self._run_waves(run)

    async def _estimate(self, run: JobRun) -> Bill | None:
        """The most that calls in flight can have cost when the last worker vanished: one for each ready step.

        None where that can't be told.
        """
        wave = await run.texts.run(self._wave, run)
        try:
            return summed_by_model([await self._executor.most(run, step) for _, step in wave])
        except Exception as error:  # noqa: BLE001  # the step fails by it too, once what is paid is recorded
            self._logger.error("calls not estimated one by one", extra=describe(error))
            return None

    async def _run_waves(self, run: JobRun) -> None:
        """Executes one wave after the other, until the job is final or released."""
        records = run.records
        cancelled = run.claim.cancel_requested
        wave = await run.texts.run(self._wave, run)
        while wave:
            if cancelled:
                await self._endings.cancel(records)
                return
            if run.left(self._clock()) <= timedelta(0):
                await self._endings.fail(records, overdue(run.claim, run.claim.waited_for or _UNFINISHED))
                return
            if refusal := await exhausted_budget(self._usage, run, self._clock()):
                await self._park(run, refusal)
                return
            part = await records.permit.let_through(wave)
            if isinstance(part, timedelta):
                await self._endings.put_off(records, part, WaitReason.RATE_LIMIT, "the account's rate limit")
                return
            if stopped := await self._run_wave(run, part):
                await self._stop(run, stopped)
                return
            if wave := await run.texts.run(self._wave, run):
                # It also finds out whether the job is lost, before another call is made.
                cancelled = await records.persistence.write(self._claims.check, run.claim)
        await self._endings.complete(records)

    async def _park(self, run: JobRun, reached: LimitReached) -> None:
        """Releases the job until the next day (UTC), as its key's daily budget is used up."""
        detail = f"the key's limit {reached.limit} is used up for today (UTC)"
        delay = reached.retry_after + _SPREAD * random.random()  # noqa: S311  # no secret
        if self._clock() + delay + _KEPT_AFTER_PARKING > datetime.fromtimestamp(run.claim.expires_at, UTC):
            message = f"{detail}, and the job is about to be erased"
            await self._endings.fail(run.records, JobError("budget_exceeded", message))
            return
        self._logger.info("daily budget used up, parked", limit=reached.limit)
        await self._endings.put_off(run.records, delay, WaitReason.BUDGET, detail)

    def _wave(self, run: JobRun) -> list[tuple[int, PlannedStep]]:
        """The steps whose needs are stored, each with its position in the plan."""
        planned = plan(run.chain, run.payload, run.outputs, self._max_input_tokens)
        ready = [
            (position, step)
            for position, step in enumerate(planned)
            if step.name not in run.outputs and all(name in run.outputs for name in step.needs)
        ]
        # What waits for a person comes when nothing else is left to do, and one after the other.
        undecided = [(place, step) for place, step in ready if _asks_a_person(run, step)]
        ready = [entry for entry in ready if entry not in undecided] or undecided[:1]
        # A probe makes one call, and the others once it is answered.
        return list(islice(ready, 1 if run.records.permit.probing else MAX_AT_ONCE))

    async def _run_wave(self, run: JobRun, wave: Sequence[tuple[int, PlannedStep]]) -> list[StepStopped]:
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
        return [end for end in ends if isinstance(end, StepFailed | StepDeferred | StepParked)]

    async def _run_step(
        self, run: JobRun, step: PlannedStep, position: int, share: Decimal | None
    ) -> StepStopped | None:
        """Executes a step, and stores it if it completes."""
        started_at = isoformat(self._clock())
        self._logger.thread_safe_append_keys(step=step.name)
        outcome = await self._executor.execute(run, step, share)
        match outcome:
            case StepCompleted():
                await self._store(run, step, position, outcome, started_at)
                return None
            case StepFailed() | StepDeferred() | StepParked():
                return outcome
            case _:
                assert_never(outcome)

    async def _store(
        self, run: JobRun, step: PlannedStep, position: int, completed: StepCompleted, started_at: str
    ) -> None:
        finished = completed.finished(step.name, started_at, isoformat(self._clock()))
        await run.records.step(position, finished, completed.asked)
        run.outputs[step.name] = completed.output

    async def _stop(self, run: JobRun, stopped: Sequence[StepStopped]) -> None:
        """Fails the job if a step failed it. Otherwise releases it until all deferred steps can be tried again.

        A parked step was alone in its wave: the job is released until it is decided.
        """
        if failed := next((step for step in stopped if isinstance(step, StepFailed)), None):
            # A step that met the deadline waited for another try.
            await self._endings.fail(run.records, failed.error, WaitReason.RETRY)
            return
        if parked := next((step for step in stopped if isinstance(step, StepParked)), None):
            await self._endings.park(run.records, parked.approval)
            return
        deferred = [step for step in stopped if isinstance(step, StepDeferred)]
        longest = max(deferred, key=lambda step: step.delay)
        tries = {key.stored: count for step in deferred for key, count in step.tries.items()}
        faulty = any(step.faulty for step in deferred)
        await self._endings.release(run.records, longest.delay, tries, longest.reason, longest.detail, faulty=faulty)


def _asks_a_person(run: JobRun, step: PlannedStep) -> bool:
    return isinstance(step, ApprovalStep) and step.name not in run.approved
