"""Runs one job: claims it, takes the steps that are not stored yet, and ends it or hands it on."""

import asyncio
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, ParamSpec, TypeVar

from pydantic import JsonValue, ValidationError

from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.queue import MAX_DELAY, JobQueue
from jobchain.chains.chain import Chain, Cut, Given, Join, Payload, Step
from jobchain.chains.cutting import cut
from jobchain.domain import NOTHING_SPENT, Claim, Clock, FinishedStep, JobError, Spending, Tier, isoformat
from jobchain.errors import ClaimLost, JobNotReady, PermanentModelError, SettingsError, TransientModelError, Unavailable
from jobchain.llm import LLM, ModelRequest
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.text import dump

MAX_TRIES = 5
"""Tries of one step that may fail for the model's sake before the job fails."""

MAX_MODEL_WAIT = timedelta(hours=12)
"""The longest that a job waits for a model between two tries; the table keeps a job for days."""

MAX_COMPLAINTS = 2
"""Times that a model is asked again for an answer that does not fit."""

MAX_AT_ONCE = 10
"""Steps of one job that run at the same time: a text in a hundred parts must not use up a provider's limits at once."""

TEXT_THREADS = 10
"""Threads for work on texts: one for each job of the largest batch."""

MIN_OUTPUT_TOKENS = 200
"""An answer that a job's budget leaves less room for is not asked for."""

# https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
_BACKOFF_FACTOR = 4

_STORE_PAUSE = timedelta(seconds=1)

_MAX_ANSWER_CHARACTERS = 100_000

# An item of the table has 400 KB at most, its other attributes included:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_MAX_OUTPUT_BYTES = 350_000

# A part may be denser than the text as a whole, and stands between a prompt and its fence.
_PART_MARGIN = 0.8

_UNPRICED = "max_cost_usd can't be kept, as nobody knows what the model {} costs: leave it out"

A = ParamSpec("A")
R = TypeVar("R")

Meter = Callable[[str, str, Spending], None]
"""Told of each step that was taken: its chain, its model, and what it spent."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A step's output, and what it took to get it."""

    output: JsonValue
    model: str
    spent: Spending


@dataclass(frozen=True, slots=True)
class _Output:
    """What a step makes of an answer that fits."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A step that did not come to its end: why the job fails, or when the step is tried again."""

    spent: Spending
    error: JobError | None = None
    tries: Mapping[str, int] = field(default_factory=dict)
    delay: timedelta = timedelta(0)


class _OutOfTime(Exception):
    """Too little of this invocation is left for another call."""

    def __init__(self, spent: Spending) -> None:
        super().__init__("out of time")
        self.spent = spent


@dataclass
class _Run:
    """One worker's work on a job: what it holds, has so far, and may still spend."""

    claim: Claim
    chain: Chain
    payload: Payload
    deadline: datetime
    outputs: dict[str, JsonValue]
    spent: Spending
    # As its caller asked for, before the last step was stored.
    cancelled: bool
    # Steps that end at the same time would meet at the job's item.
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    # One thread for each job, so that none of a batch waits for another's text.
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def share(self, at_once: int) -> Decimal | None:
        """What each of so many steps at a time may cost, whatever the others do; None where there is no budget."""
        budget = self.claim.max_cost_usd
        return None if budget is None else (budget - self.spent.known_cost_usd) / at_once


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
        max_input_tokens: int,
        call_time: timedelta,
        first_backoff: timedelta,
        clock: Clock,
        logger: Logger,
        meter: Meter,
    ) -> None:
        """`call_time` is how long a model call and the writes after it may take: none starts too late for that.

        `first_backoff` is about how long a job waits after the first failed try of a step. A text of more than
        `max_input_tokens` is worked on in parts.
        """
        self._claims = claims
        self._due = due
        self._queue = queue
        self._llm = llm
        self._chains = chains
        self._prices = prices
        self._max_input_tokens = max_input_tokens
        self._call_time = call_time
        self._first_backoff = first_backoff
        self._clock = clock
        self._logger = logger
        self._meter = meter
        # Not those of the table and the queue, which no text may keep waiting.
        self._text_threads = ThreadPoolExecutor(TEXT_THREADS, thread_name_prefix="text")

    async def run(self, event_id: str, deadline: datetime) -> None:
        """Takes the job as far as it goes before `deadline`, when this process is stopped and its lease ends.

        Raises Unavailable where the table does not answer, JobNotFound where there is no such job, and SettingsError
        where no invocation is long enough for a model call. A job that another worker holds, or that is final, is left
        alone; one that is put off is sent again for when its time comes.
        """
        if self._clock() + self._call_time > deadline:
            raise SettingsError("an invocation is too short for a model call: raise WorkerTimeoutSeconds")
        try:
            claim = await asyncio.to_thread(self._claims.claim, event_id, deadline)
            self._logger.thread_safe_append_keys(tenant=claim.tenant, claim=claim.number)
            await self._run_claimed(claim, deadline)
        except ClaimLost as lost:
            self._logger.info("left alone", reason=str(lost))
        except JobNotReady as early:
            self._logger.info("too early", reason=str(early))
            await self._send(event_id, early.tenant, early.tier, early.wait)

    async def _run_claimed(self, claim: Claim, deadline: datetime) -> None:
        chain = self._chains.get(claim.job_name)
        if chain is None:
            await self._fail(claim, JobError("unknown_chain", "this deployment does not have the job's chain any more"))
            return
        try:
            payload = await self._in_thread(chain.payload.model_validate, claim.payload)
        except ValidationError:
            message = "this deployment's chain takes another payload than when the job was created: create it anew"
            await self._fail(claim, JobError("unknown_chain", message))
            return
        outputs = {step.name: step.output for step in claim.steps}
        run = _Run(claim, chain, payload, deadline, outputs, claim.spending, claim.cancel_requested)
        while ready := await self._with_text(run, self._ready, run):
            if run.cancelled:
                await asyncio.to_thread(self._claims.end_cancelled, claim)
                self._logger.info("job cancelled")
                return
            # Each is stored when it ends, and none is given up for another's sake: what is in flight is paid for.
            share = run.share(len(ready))
            ends = await asyncio.gather(
                *(self._take(run, step, position, share) for position, step in ready), return_exceptions=True
            )
            for (_, step), end in zip(ready, ends, strict=True):
                if isinstance(end, BaseException):
                    self._logger.thread_safe_append_keys(step=step.name)
                    raise end
            if stopped := [end for end in ends if isinstance(end, _Stopped)]:
                await self._stop(claim, stopped)
                return
        await asyncio.to_thread(self._claims.finish, claim)
        self._logger.info("job completed")

    def _ready(self, run: _Run) -> list[tuple[int, Step | Cut | Join]]:
        """The steps that are taken next, each with its place among all."""
        plan = run.chain.plan(run.payload, run.outputs, self._max_input_tokens)
        ready = (
            (position, step)
            for position, step in enumerate(plan)
            if step.name not in run.outputs and all(name in run.outputs for name in step.needs)
        )
        return list(islice(ready, MAX_AT_ONCE))

    async def _with_text(self, run: _Run, work: Callable[A, R], *args: A.args, **kwargs: A.kwargs) -> R:
        """What `work` on a job's whole texts gives: in a thread, so that the batch's other jobs go on meanwhile.

        Everything that calls a chain's own functions, cuts a text, or reads an answer goes through here.
        """
        async with run.reading:
            return await self._in_thread(work, *args, **kwargs)

    async def _in_thread(self, work: Callable[A, R], *args: A.args, **kwargs: A.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._text_threads, partial(work, *args, **kwargs))

    async def _stop(self, claim: Claim, stopped: list[_Stopped]) -> None:
        """Fails the job, or hands it on for when all that stopped can be tried again."""
        spent = sum((stop.spent for stop in stopped), NOTHING_SPENT)
        if failed := next((stop.error for stop in stopped if stop.error), None):
            await self._fail(claim, failed, spent)
            return
        tries = dict(claim.tries)
        for stop in stopped:
            tries |= stop.tries
        await self._hand_on(claim, tries, max(stop.delay for stop in stopped), spent)

    async def _take(self, run: _Run, step: Step | Cut | Join, position: int, share: Decimal | None) -> _Stopped | None:
        """Takes a step and stores it, or tells why it did not come to its end; `share` is what it may cost."""
        started_at = isoformat(self._clock())
        self._logger.thread_safe_append_keys(step=step.name)
        if isinstance(step, Cut):
            taken, version = _Taken(await self._cut(run, step.text), "", NOTHING_SPENT), ""
        elif isinstance(step, Join):
            # As they are now: other steps that end meanwhile add to them.
            output = await self._with_text(run, step.output, dict(run.outputs))
            taken, version = _Taken(output, "", NOTHING_SPENT), ""
        else:
            outcome = await self._take_call(run, step, share)
            if isinstance(outcome, _Stopped):
                return outcome
            taken, version = outcome, step.prompt_version
            self._logger.info("step completed", model=taken.model, **asdict(taken.spent.usage))
        finished = FinishedStep(
            name=step.name,
            output=taken.output,
            model=taken.model,
            prompt_version=version,
            started_at=started_at,
            finished_at=isoformat(self._clock()),
            spending=taken.spent,
        )
        async with run.storing:
            run.cancelled |= not await self._store(run.claim, position, finished, run.deadline)
        if isinstance(step, Step):
            self._meter(run.chain.name, taken.model, taken.spent)
        run.outputs[step.name] = taken.output
        return None

    async def _take_call(self, run: _Run, step: Step, share: Decimal | None) -> _Taken | _Stopped:
        tries = run.claim.tries.get(step.name, 0)
        one_more = {step.name: tries + 1}
        flex = self._flex_left(run.claim)
        try:
            return await self._ask(run, step, share)
        except _OutOfTime as late:
            # A try that was paid for counts, so that no job buys answers for ever.
            counted = one_more if late.spent.paid else {}
            if late.spent.paid and tries + 1 >= MAX_TRIES:
                return _Stopped(late.spent, JobError("model_unavailable", "the model is too slow", step.name))
            self._logger.info("goes on in the next invocation")
            return _Stopped(late.spent, tries=counted)
        except PermanentModelError as error:
            return _Stopped(error.spent, error.as_job_error(step.name))
        except TransientModelError as error:
            return self._flex_later(run.claim, step, error, flex) if flex else self._later(step, error, tries + 1)

    def _flex_left(self, claim: Claim) -> timedelta:
        """For how long the job may still wait for a flex answer; nothing for any other job."""
        return max(claim.flex_until - self._clock(), timedelta(0)) if claim.flex_until else timedelta(0)

    def _flex_later(self, claim: Claim, step: Step, error: TransientModelError, left: timedelta) -> _Stopped:
        """Flex calls may fail as often as there is time for them; after that the job is a standard one."""
        name = f"{step.name}@flex"
        tries = claim.tries.get(name, 0) + 1
        # It grows no more once it is longer than the longest wait, and must not outgrow what a timedelta can bear.
        wait = max(error.retry_after or timedelta(0), self._backoff(min(tries, MAX_TRIES)))
        self._logger.warning("flex call put off", reason=str(error), tries=tries)
        return _Stopped(error.spent, tries={name: tries}, delay=min(wait, left))

    async def _cut(self, run: _Run, text: str) -> JsonValue:
        """The parts of a text that fit in one call each, by the model's own count of their tokens."""
        count = await self._llm.count_tokens(text)
        if count is not None and count <= self._max_input_tokens:
            return [[0, len(text)]]
        return await self._with_text(run, _cut, text, count, self._max_input_tokens)

    async def _ask(self, run: _Run, step: Step, share: Decimal | None) -> _Taken:
        """Asks until an answer fits, with a complaint about the last one, at most `MAX_COMPLAINTS` times."""
        # As they are now: other steps that end meanwhile add to them.
        given = Given(run.payload, dict(run.outputs))
        # Pydantic builds it when it is first needed, and two threads must not do that at the same time.
        step.answer.model_rebuild()
        request = await self._with_text(run, step.request, given)
        again = any(run.claim.tries.get(name) for name in (step.name, f"{step.name}@flex"))
        spent = Spending()
        complaint = ""
        for _ in range(1 + MAX_COMPLAINTS):
            if self._clock() + self._call_time > run.deadline:
                raise _OutOfTime(spent)
            tier = Tier.FLEX if self._flex_left(run.claim) else Tier.STANDARD
            asked = replace(_with_complaint(request, complaint), tier=tier)
            asked = self._affordable(run, asked, share, spent)
            call = Spending(calls=1, retries=int(again))
            again = True
            try:
                answer = await self._llm.ask(asked)
            except (PermanentModelError, TransientModelError) as error:
                error.spent += spent + call
                raise
            bought = self._prices.spending(answer.model, answer.usage, answer.tier) + replace(call, calls=0)
            run.spent += bought
            spent += bought
            if answer.error:
                answer.error.spent += spent
                raise answer.error
            complaint = answer.complaint
            if answer.text is not None:
                read = await self._with_text(run, _read, step, answer.text, given)
                if isinstance(read, _Output):
                    return _Taken(read.value, answer.model, spent)
                complaint = read
            self._logger.warning("answer does not fit", model=answer.model)
        message = f"the model's answers did not fit the step, {1 + MAX_COMPLAINTS} times in a row"
        raise PermanentModelError("unusable_answer", message, spent)

    def _affordable(self, run: _Run, request: ModelRequest, share: Decimal | None, spent: Spending) -> ModelRequest:
        """The request with no more room for its answer than the step's share of the budget has.

        Raises PermanentModelError.
        """
        if share is None:
            return request
        most = self._prices.affordable_output(self._llm.model, request.size, share - spent.known_cost_usd)
        if most is None or run.spent.unpriced_calls:
            raise PermanentModelError("budget_unknown", _UNPRICED.format(self._llm.model), spent)
        if most < MIN_OUTPUT_TOKENS:
            known, budget = run.spent.known_cost_usd.normalize(), run.claim.max_cost_usd
            message = f"the next call could cost more than max_cost_usd ({budget:f}) allows: {known:f} is spent"
            raise PermanentModelError("budget_exceeded", message, spent)
        return replace(request, max_output_tokens=most)

    async def _store(self, claim: Claim, position: int, step: FinishedStep, deadline: datetime) -> bool:
        """Stores a step, for as long as the lease lasts: it is paid for. False where the job is cancelled."""
        while True:
            try:
                return await asyncio.to_thread(self._claims.save_step, claim, position, step)
            except Unavailable as error:
                if self._clock() + _STORE_PAUSE > deadline:
                    raise
                self._logger.warning("step not stored yet", extra=describe(error))
                await asyncio.sleep(_STORE_PAUSE.total_seconds())

    def _later(self, step: Step, error: TransientModelError, tries: int) -> _Stopped:
        if tries >= MAX_TRIES:
            message = f"{error}, {MAX_TRIES} times in a row"
            return _Stopped(error.spent, JobError("model_unavailable", message, step.name))
        delay = max(error.retry_after or timedelta(0), self._backoff(tries))
        if delay > MAX_MODEL_WAIT:
            message = f"{error}, and asks us to wait for longer than {MAX_MODEL_WAIT / timedelta(hours=1):g} hours"
            return _Stopped(error.spent, JobError("model_unavailable", message, step.name))
        self._logger.warning("step put off", reason=str(error), tries=tries, seconds=delay.total_seconds())
        return _Stopped(error.spent, tries={step.name: tries}, delay=delay)

    async def _hand_on(self, claim: Claim, tries: Mapping[str, int], delay: timedelta, spent: Spending) -> None:
        """Gives the job back, and has a worker take it up again after `delay`."""
        if not await asyncio.to_thread(self._claims.release, claim, delay, tries, spent):
            self._logger.info("job cancelled")
            return
        await self._send(claim.event_id, claim.tenant, claim.tier, delay)

    async def _send(self, event_id: str, tenant: str, tier: Tier, delay: timedelta) -> None:
        if delay > MAX_DELAY:
            return  # longer than the queue holds a message: the sweeper sends it when it falls due
        try:
            await asyncio.to_thread(self._queue.send, event_id, tenant, delay, tier)
        except Unavailable as error:
            self._logger.warning("job put off, not sent", extra=describe(error))
            await asyncio.to_thread(self._due.mark_due, event_id, self._clock() + delay)

    def _backoff(self, tries: int) -> timedelta:
        """How long to wait after a step's failed try, give or take a fifth, so that jobs don't all come back at once.

        It grows fast, so that five tries outlast an outage of ten minutes.
        """
        wait: timedelta = self._first_backoff * _BACKOFF_FACTOR ** (tries - 1)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311  # no secret

    async def _fail(self, claim: Claim, error: JobError, spent: Spending = NOTHING_SPENT) -> None:
        await asyncio.to_thread(self._claims.fail, claim, error, spent)
        self._logger.warning("job failed", type=error.type, reason=error.message)


def _cut(text: str, tokens: int | None, max_input_tokens: int) -> JsonValue:
    """Where the parts of a text begin and end; `tokens` is None where the model's server does not count them."""
    # A token is at least one byte.
    most = max_input_tokens
    if tokens is not None:
        # Parts are as dense as the whole, or so.
        most = int(max_input_tokens * _PART_MARGIN * len(text.encode()) / tokens)
    return [list(bounds) for bounds in cut(text, lambda part: len(part.encode()) <= most)]


def _read(step: Step, text: str, given: Given[Any]) -> _Output | str:
    """The output of an answer, or what is wrong with the answer, in words that the model can act on."""
    if len(text) > _MAX_ANSWER_CHARACTERS:
        return f"it has more than {_MAX_ANSWER_CHARACTERS} characters: be shorter"
    try:
        answer = step.answer.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in faults[:5])
    output = step.read_answer(answer, given)
    if len(dump(output).encode()) > _MAX_OUTPUT_BYTES:
        return "what it comes to is too long to be kept: be shorter"
    return _Output(output)


def _with_complaint(request: ModelRequest, complaint: str) -> ModelRequest:
    if not complaint:
        return request
    return replace(request, input=f"{request.input}\n\nYour last answer could not be used: {complaint}")
