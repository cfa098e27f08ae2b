"""Executes one step of a job: the request, the calls of the model, the answer, and the budget."""

import random
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, assert_never

from pydantic import JsonValue

from jobchain.breaker import PROBE_EVERY, Scope, scope_of
from jobchain.chains.approving import ApprovalStep
from jobchain.chains.chain import CodeStep, MergeStep, SplitStep, Step, StepContext
from jobchain.chains.planning import PlannedStep
from jobchain.chains.splitting import split
from jobchain.chains.step_keys import CountKey, OutageKey, TriesKey, UnansweredKey
from jobchain.domain import Clock, JobError, Tier, WaitReason, isoformat
from jobchain.errors import CallReport, ModelError, PermanentModelError, TransientModelError, Unavailable
from jobchain.llm import LLM, AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.spending import NOTHING_SPENT, Spending
from jobchain_worker.affordable import affordable
from jobchain_worker.answers import Complaint, Output, read_answer
from jobchain_worker.approving import ask_a_person, computed
from jobchain_worker.billing import costliest
from jobchain_worker.call import Call, logged_model, most_of
from jobchain_worker.fallbacks import OUTAGE_FAILURES, FallbackNotReady, Fallbacks, outages_of
from jobchain_worker.job_run import JobRun, StepCompleted, StepDeferred, StepFailed, StepOutcome, completed, overdue
from jobchain_worker.retry_policy import MAX_JITTER, MIN_JITTER, Failures, GiveUp, RetryPolicy, TryAgain

MAX_COMPLAINTS = 2
"""How often the model is called again in a row, with a complaint, for an answer that does not fit."""

# A part may have more tokens for each byte than the whole text has, and it is sent with a prompt and a fence.
_PART_MARGIN = 0.8

PARKED = PROBE_EVERY / MIN_JITTER
"""About how long a job waits whose call met a fault of the account, until the account may be probed again."""

_TOO_SLOW = "the worker's time was over"


class _OutOfTime(Exception):
    """Another call could outlast this invocation. `paid` if an earlier call of the step is paid for."""

    def __init__(self, *, paid: bool) -> None:
        super().__init__("out of time")
        self.paid = paid


class StepExecutor:
    """Executes steps; any number of them at the same time. Failed calls are stored here, outputs by the caller."""

    def __init__(
        self,
        *,
        llm: LLM,
        prices: PriceList,
        retry_policy: RetryPolicy,
        max_input_tokens: int,
        call_time: timedelta,
        clock: Clock,
        logger: Logger,
    ) -> None:
        """See `jobchain_worker.runner.Runner`."""
        self._llm = llm
        self._fallbacks = Fallbacks(llm.model, logger)
        self._prices = prices
        self._retry_policy = retry_policy
        self._max_input_tokens = max_input_tokens
        self._call_time = call_time
        self._clock = clock
        self._logger = logger

    async def execute(self, run: JobRun, step: PlannedStep, share: Decimal | None) -> StepOutcome:
        """How the step ended. It may cost at most `share` US dollars, None for any amount.

        Raises Unavailable where a failed call can't be stored.
        """
        try:
            match step:
                case SplitStep():
                    return computed(await self._split(run, step.text))
                case MergeStep():
                    # A copy, as other steps add their outputs meanwhile.
                    return computed(await run.texts.run(step.output, dict(run.outputs)))
                case ApprovalStep():
                    return await ask_a_person(run, step, self._clock())
                case CodeStep():
                    step.prepare()
                    context = StepContext(run.payload, dict(run.outputs))
                    return computed(await run.texts.run(step.output, context))
                case Step():
                    return await self._execute_call(run, step, share)
                case _:
                    assert_never(step)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # a fault of the chain or of this project must not lose what is paid
            self._logger.error("step failed unexpectedly", extra=describe(error))
            return self._defer(run, step, _unexpected(error, paid=isinstance(step, Step)))

    async def most(self, run: JobRun, step: PlannedStep) -> tuple[str, Spending]:
        """The step's model or its fallback, and the most that a call can cost; nothing for a step without a call."""
        if not isinstance(step, Step):
            return self._llm.model, NOTHING_SPENT
        step.prepare()
        request = await run.texts.run(step.request, StepContext(run.payload, dict(run.outputs)))
        models = [request.model or self._llm.model, step.options.fallback_model]
        most = most_of(request, self._llm)
        return costliest((model, self._prices.spending(model, None, most)) for model in models if model)

    async def _split(self, run: JobRun, text: str) -> JsonValue:
        """Where the parts of a text begin and end. Each fits in one call, by the model's own count of tokens."""
        tokens = await self._llm.count_tokens(text)
        if tokens is not None and tokens <= self._max_input_tokens:
            return [[0, len(text)]]
        return await run.texts.run(_bounds, text, tokens, self._max_input_tokens)

    async def _execute_call(self, run: JobRun, step: Step, share: Decimal | None) -> StepOutcome:
        flex_left = run.flex_left(self._clock())
        try:
            done = await self._fallbacks.ask(run, step, lambda each: self._ask(run, each, share), flex=bool(flex_left))
        except _OutOfTime as late:
            return self._out_of_time(run, step, paid=late.paid)
        except FallbackNotReady as early:
            wait = max(min(early.wait, run.left(self._clock())), timedelta(0))
            return StepDeferred({}, wait, "the rate limit of the fallback model", WaitReason.RATE_LIMIT)
        except PermanentModelError as error:
            if scope_of(error.type):
                return self._park(run, step, error)
            self._logger.warning("step failed", type=error.type)
            return StepFailed(error.as_job_error(step.name))
        except TransientModelError as error:
            return self._defer_flex(run, step, error, flex_left) if flex_left else self._defer(run, step, error)
        self._logger.info("step completed", model=logged_model(run.claim, done.model), **asdict(done.spending.usage))
        return done

    def _out_of_time(self, run: JobRun, step: Step, *, paid: bool) -> StepFailed | StepDeferred:
        """Only a billed try counts: it bounds how often a slow model is paid for nothing."""
        if paid:
            late = CallReport(maybe_billed=True)
            return self._defer(run, step, TransientModelError(_TOO_SLOW, report=late, type_="timeout"))
        self._logger.info("out of time, requeued")
        return StepDeferred({}, timedelta(0), _TOO_SLOW)

    def _park(self, run: JobRun, step: PlannedStep, error: PermanentModelError) -> StepFailed | StepDeferred:
        """An account or settings that allow no call are no fault of the job: it waits until they are corrected.

        A model that the job itself named is its own fault, and fails it.
        """
        if scope_of(error.type) is Scope.MODEL and run.claim.overrides.model not in (None, self._llm.model):
            self._logger.warning("step failed", type=error.type)
            return StepFailed(error.as_job_error(step.name))
        left = run.left(self._clock())
        delay = PARKED * _jitter()
        if delay >= left:
            return StepFailed(_overdue(run, step.name, error))
        self._logger.warning("step parked", type=error.type)
        return StepDeferred({}, delay, str(error), WaitReason.ACCOUNT)

    def _defer(self, run: JobRun, step: PlannedStep, error: TransientModelError) -> StepFailed | StepDeferred:
        key, unanswered = TriesKey(step.name, Tier.STANDARD), UnansweredKey(step.name)
        failures = Failures(run.tries(key) + 1, run.tries(unanswered) + int(error.report.maybe_billed))
        outage = OutageKey(step.name)
        outages = outages_of(run, step, error)
        # The first try of a fallback is that of another model, which has not failed.
        asked, retry_after = failures, error.retry_after
        if outages == OUTAGE_FAILURES > run.tries(outage):
            asked, retry_after = Failures(1), None
        match self._retry_policy.after(asked, retry_after, _jitter(), run.left(self._clock())):
            case GiveUp(reason):
                return StepFailed(_overdue(run, step.name, error, reason))
            case TryAgain(delay):
                seconds = delay.total_seconds()
                tries = failures.tries
                self._logger.warning("step deferred", reason=str(error), tries=tries, seconds=seconds)
                counts: dict[CountKey, int] = {key: tries}
                if failures.unanswered:
                    counts[unanswered] = failures.unanswered
                if outages:
                    counts[outage] = outages
                # A rate limit is reached by the callers' jobs: it is no fault, and the pace follows it.
                return StepDeferred(counts, delay, f"try {tries}: {error}", faulty=error.type != "rate_limited")
            case decision:
                assert_never(decision)

    def _defer_flex(self, run: JobRun, step: Step, error: TransientModelError, left: timedelta) -> StepDeferred:
        key = TriesKey(step.name, Tier.FLEX)
        tries = run.tries(key) + 1
        delay = self._retry_policy.after_flex(tries, error.retry_after, _jitter(), left).delay
        self._logger.warning("flex call deferred", reason=str(error), tries=tries)
        return StepDeferred({key: tries}, delay, f"flex, try {tries}: {error}")

    async def _ask(self, run: JobRun, step: Step, share: Decimal | None) -> StepCompleted:
        """Calls the model until an answer fits, each time with a complaint about the last answer.

        Every call is charged as soon as it has ended, and one that failed is stored as an attempt.
        Raises _OutOfTime, PermanentModelError, TransientModelError.
        """
        # A copy, as other steps add their outputs meanwhile.
        context = StepContext(run.payload, dict(run.outputs))
        step.prepare()
        request = await run.texts.run(step.request, context)
        asked = request
        failed = NOTHING_SPENT
        for number in range(1 + MAX_COMPLAINTS):
            asked = self._next_request(run, asked, share, failed)
            call = Call(self._clock, run.records, step.name, asked, self._llm, self._prices, self._logger)
            answer = await call.ask(is_retry=bool(number) or run.is_retry(step.name))
            async with call.recorded_on_error():
                read = await _read(run, step, answer, context)
            if isinstance(read, Output):
                called_at = isoformat(call.started_at) if number else None
                return completed(step, request, answer, read.value, call.spending, failed, called_at)
            self._logger.warning("answer does not fit", model=logged_model(run.claim, answer.model))
            await call.record("unusable_answer", read.text)
            failed += call.spending
            if isinstance(answer, UnusableAnswer) and answer.cut_off:
                # The step's room was too small, as where a model reasons a lot.
                request = replace(request, max_output_tokens=None)
            asked = _with_complaint(request, read)
        message = f"the model's answers did not fit the step, {1 + MAX_COMPLAINTS} times in a row"
        raise PermanentModelError("unusable_answer", message)

    def _next_request(self, run: JobRun, request: ModelRequest, share: Decimal | None, spent: Spending) -> ModelRequest:
        """The request with its tier, and with a limit of its answer that keeps to the budget.

        Raises _OutOfTime, PermanentModelError.
        """
        now = self._clock()
        if now + self._call_time > run.deadline:
            raise _OutOfTime(paid=spent.paid)
        tier = Tier.FLEX if run.flex_left(now) else Tier.STANDARD
        return affordable(
            run, replace(request, tier=tier, caller=run.caller), share, spent, self._prices, self._llm.model
        )


async def _read(run: JobRun, step: Step, answer: ModelAnswer, context: StepContext[Any]) -> Output | Complaint:
    """What becomes of an answer. Raises the error of a FailedAnswer."""
    match answer:
        case AnswerText():
            return await run.texts.run(read_answer, step, answer.text, context)
        case UnusableAnswer():
            return Complaint(answer.complaint)
        case FailedAnswer():
            raise answer.error
        case _:
            assert_never(answer)


def _unexpected(error: Exception, *, paid: bool) -> TransientModelError:
    """A fault of the chain or of this project, as an error of the step. Its text could hold what the caller sent.

    A step with a call counts as `paid`, since most of such faults come after its answer.
    """
    report = CallReport(maybe_billed=paid)
    return TransientModelError(f"the step's code failed ({type(error).__name__})", report=report, type_="step_failed")


def _overdue(run: JobRun, step: str, error: ModelError, reason: str = "") -> JobError:
    """The error of a job whose deadline is over, or comes before the next try."""
    return overdue(run.claim, ", ".join(filter(None, (str(error), reason))), step)


def _bounds(text: str, tokens: int | None, max_input_tokens: int) -> JsonValue:
    """Where the parts of a text begin and end; `tokens` is None where the model's server does not count them."""
    # A token is at least one byte.
    most = max_input_tokens
    if tokens is not None:
        # Tokens are assumed to be spread evenly over the text.
        most = int(max_input_tokens * _PART_MARGIN * len(text.encode()) / tokens)
    return [list(bounds) for bounds in split(text, lambda part: len(part.encode()) <= most)]


def _with_complaint(request: ModelRequest, complaint: Complaint) -> ModelRequest:
    return replace(request, input=f"{request.input}\n\nYour last answer could not be used: {complaint.text}")


def _jitter() -> float:
    return random.uniform(MIN_JITTER, MAX_JITTER)  # noqa: S311  # no secret
