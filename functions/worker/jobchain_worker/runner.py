"""Runs one job: claims it, takes the steps that are not stored yet, and ends it or hands it on."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from pydantic import JsonValue, ValidationError

from jobchain.chains.chain import Answer, Chain, Payload, Step
from jobchain.errors import ClaimLost, NotYet, PermanentModelError, SettingsError, TransientModelError, Unavailable
from jobchain.llm import LLM, ModelRequest
from jobchain.model import NOTHING_SPENT, Claim, Clock, FinishedStep, JobError, Spending, isoformat
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.queue import MAX_DELAY, JobQueue
from jobchain.repository import JobRepository

MAX_TRIES = 5
"""Tries of one step that may fail for the model's sake before the job fails."""

MAX_MODEL_WAIT = timedelta(hours=12)
"""The longest that a job waits for a model between two tries; the table keeps a job for days."""

MAX_COMPLAINTS = 2
"""Times that a model is asked again for an answer that does not fit."""

# https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
_BACKOFF_FACTOR = 4

_STORE_PAUSE = timedelta(seconds=1)

_MAX_ANSWER_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class _Taken:
    """A step's output, and what it took to get it."""

    output: JsonValue
    model: str
    spent: Spending


class _OutOfTime(Exception):
    """Too little of this invocation is left for another call."""

    def __init__(self, spent: Spending) -> None:
        super().__init__("out of time")
        self.spent = spent


class Runner:
    """Runs jobs, one `run` each; any number of them at the same time."""

    def __init__(
        self,
        *,
        repository: JobRepository,
        queue: JobQueue,
        llm: LLM,
        chains: Mapping[str, Chain],
        prices: PriceList,
        call_time: timedelta,
        first_backoff: timedelta,
        clock: Clock,
        logger: Logger,
    ) -> None:
        """`call_time` is how long a model call and the writes after it may take: none starts too late for that.

        `first_backoff` is about how long a job waits after the first failed try of a step.
        """
        self._repository = repository
        self._queue = queue
        self._llm = llm
        self._chains = chains
        self._prices = prices
        self._call_time = call_time
        self._first_backoff = first_backoff
        self._clock = clock
        self._logger = logger

    async def run(self, event_id: str, deadline: datetime) -> None:
        """Takes the job as far as it goes before `deadline`, when this process is stopped and its lease ends.

        Raises Unavailable where the table does not answer, JobNotFound where there is no such job, and SettingsError
        where no invocation is long enough for a model call. A job that another worker holds, or that is final, is left
        alone; one that is put off is sent again for when its time comes.
        """
        if self._clock() + self._call_time > deadline:
            raise SettingsError("an invocation is too short for a model call: raise WorkerTimeoutSeconds")
        try:
            claim = await asyncio.to_thread(self._repository.claim, event_id, deadline)
            self._logger.thread_safe_append_keys(tenant=claim.tenant, claim=claim.number)
            await self._run_claimed(claim, deadline)
        except ClaimLost as lost:
            self._logger.info("left alone", reason=str(lost))
        except NotYet as early:
            self._logger.info("too early", reason=str(early))
            await self._send(event_id, early.tenant, early.wait)

    async def _run_claimed(self, claim: Claim, deadline: datetime) -> None:
        chain = self._chains.get(claim.job_name)
        if chain is None:
            await self._fail(claim, JobError("unknown_chain", "this deployment does not have the job's chain any more"))
            return
        payload = chain.payload.model_validate(claim.payload)
        outputs = {step.name: step.output for step in claim.steps}
        for position, step in enumerate(chain.steps):
            if step.name in outputs:
                continue
            if await asyncio.to_thread(self._repository.is_cancel_requested, claim):
                await asyncio.to_thread(self._repository.end_cancelled, claim)
                self._logger.info("job cancelled")
                return
            finished = await self._take_step(claim, step, payload, outputs, deadline)
            if finished is None:
                return
            await self._store(claim, position, finished, deadline)
            outputs[step.name] = finished.output
        await asyncio.to_thread(self._repository.finish, claim)
        self._logger.info("job completed")

    async def _take_step(
        self, claim: Claim, step: Step, payload: Payload, outputs: Mapping[str, JsonValue], deadline: datetime
    ) -> FinishedStep | None:
        """The finished step, or None where the job was failed or handed on instead."""
        started_at = isoformat(self._clock())
        self._logger.thread_safe_append_keys(step=step.name)
        try:
            taken = await self._ask(step, step.request(payload, outputs), deadline)
        except _OutOfTime as late:
            # A try that was paid for counts, so that no job buys answers for ever.
            tries = _one_more(claim.tries, step) if late.spent != NOTHING_SPENT else claim.tries
            if tries.get(step.name, 0) >= MAX_TRIES:
                await self._fail(claim, JobError("model_unavailable", "the model is too slow", step.name), late.spent)
                return None
            self._logger.info("goes on in the next invocation")
            await self._hand_on(claim, tries, timedelta(0), late.spent)
            return None
        except PermanentModelError as error:
            await self._fail(claim, error.as_job_error(step.name), error.spent)
            return None
        except TransientModelError as error:
            await self._try_later(claim, step, error)
            return None
        self._logger.info("step completed", model=taken.model, **asdict(taken.spent.usage))
        return FinishedStep(
            name=step.name,
            output=taken.output,
            model=taken.model,
            prompt_version=step.prompt_version,
            started_at=started_at,
            finished_at=isoformat(self._clock()),
            spending=taken.spent,
        )

    async def _ask(self, step: Step, request: ModelRequest, deadline: datetime) -> _Taken:
        """Asks until an answer fits, with a complaint about the last one, at most `MAX_COMPLAINTS` times."""
        spent = Spending()
        complaint = ""
        for _ in range(1 + MAX_COMPLAINTS):
            if self._clock() + self._call_time > deadline:
                raise _OutOfTime(spent)
            try:
                answer = await self._llm.ask(_with_complaint(request, complaint))
            except (PermanentModelError, TransientModelError) as error:
                error.spent += spent
                raise
            spent += self._prices.spending(answer.model, answer.usage)
            if answer.error:
                answer.error.spent += spent
                raise answer.error
            complaint = answer.complaint
            if answer.text is not None:
                read = _read(step, answer.text)
                if not isinstance(read, str):
                    return _Taken(step.read_answer(read), answer.model, spent)
                complaint = read
            self._logger.warning("answer does not fit", model=answer.model)
        message = f"the model's answers did not fit the step, {1 + MAX_COMPLAINTS} times in a row"
        raise PermanentModelError("unusable_answer", message, spent)

    async def _store(self, claim: Claim, position: int, step: FinishedStep, deadline: datetime) -> None:
        """Stores a step, for as long as the lease lasts: it is paid for."""
        while True:
            try:
                return await asyncio.to_thread(self._repository.save_step, claim, position, step)
            except Unavailable as error:
                if self._clock() + _STORE_PAUSE > deadline:
                    raise
                self._logger.warning("step not stored yet", extra=describe(error))
                await asyncio.sleep(_STORE_PAUSE.total_seconds())

    async def _try_later(self, claim: Claim, step: Step, error: TransientModelError) -> None:
        tries = _one_more(claim.tries, step)
        if tries[step.name] >= MAX_TRIES:
            message = f"{error}, {MAX_TRIES} times in a row"
            await self._fail(claim, JobError("model_unavailable", message, step.name), error.spent)
            return
        delay = max(error.retry_after or timedelta(0), self._backoff(tries[step.name]))
        if delay > MAX_MODEL_WAIT:
            message = f"{error}, and asks us to wait for longer than {MAX_MODEL_WAIT / timedelta(hours=1):g} hours"
            await self._fail(claim, JobError("model_unavailable", message, step.name), error.spent)
            return
        self._logger.warning("step put off", reason=str(error), tries=tries[step.name], seconds=delay.total_seconds())
        await self._hand_on(claim, tries, delay, error.spent)

    async def _hand_on(self, claim: Claim, tries: Mapping[str, int], delay: timedelta, spent: Spending) -> None:
        """Gives the job back, and has a worker take it up again after `delay`."""
        if not await asyncio.to_thread(self._repository.release, claim, delay, tries, spent):
            self._logger.info("job cancelled")
            return
        await self._send(claim.event_id, claim.tenant, delay)

    async def _send(self, event_id: str, tenant: str, delay: timedelta) -> None:
        if delay > MAX_DELAY:
            return  # longer than the queue holds a message: the sweeper sends it when it falls due
        try:
            await asyncio.to_thread(self._queue.send, event_id, tenant, delay)
        except Unavailable as error:
            self._logger.warning("job put off, not sent", extra=describe(error))
            await asyncio.to_thread(self._repository.mark_due, event_id, self._clock() + delay)

    def _backoff(self, tries: int) -> timedelta:
        """How long to wait after a step's failed try, give or take a fifth, so that jobs don't all come back at once.

        It grows fast, so that five tries outlast an outage of ten minutes.
        """
        wait: timedelta = self._first_backoff * _BACKOFF_FACTOR ** (tries - 1)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311  # no secret

    async def _fail(self, claim: Claim, error: JobError, spent: Spending = NOTHING_SPENT) -> None:
        await asyncio.to_thread(self._repository.fail, claim, error, spent)
        self._logger.warning("job failed", type=error.type, reason=error.message)


def _one_more(tries: Mapping[str, int], step: Step) -> dict[str, int]:
    return {**tries, step.name: tries.get(step.name, 0) + 1}


def _read(step: Step, text: str) -> Answer | str:
    """The answer that `text` holds, or what is wrong with it, in words that the model can act on."""
    if len(text) > _MAX_ANSWER_CHARACTERS:
        return f"it has more than {_MAX_ANSWER_CHARACTERS} characters: be shorter"
    try:
        return step.answer.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in faults[:5])


def _with_complaint(request: ModelRequest, complaint: str) -> ModelRequest:
    if not complaint:
        return request
    return replace(request, input=f"{request.input}\n\nYour last answer could not be used: {complaint}")
