"""One call of the model, from the request to its record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from jobchain.domain import Attempt, Claim, Clock, isoformat
from jobchain.errors import NO_REPORT, CallReport, PermanentModelError, TransientModelError
from jobchain.llm import LLM, FailedAnswer, ModelAnswer, ModelRequest
from jobchain.observability import Logger
from jobchain.pace import Demand
from jobchain.prices import PriceList
from jobchain.spending import NOTHING_SPENT, Spending, Usage
from jobchain_worker.call_line import Facts, answer_facts, call_line, error_facts, outcome_of
from jobchain_worker.demand import BYTES_PER_TOKEN
from jobchain_worker.job_run import Records
from jobchain_worker.redaction import MAX_ANSWER_CHARACTERS

UNEXPECTED = "step_failed"
"""The outcome of a call whose answer the step's own code could not read."""


def logged_model(claim: Claim, model: str) -> str:
    """The model as a log names it: one that its job names can be any text, which many servers repeat."""
    return "other" if claim.overrides.model else model


class Call:
    """One call. What it may have cost is charged as soon as it ends, and a call that failed is stored.

    The log has one line for each call.
    """

    def __init__(
        self,
        clock: Clock,
        records: Records,
        step: str,
        request: ModelRequest,
        llm: LLM,
        prices: PriceList,
        logger: Logger,
    ) -> None:
        self._clock = clock
        self._records = records
        self._step = step
        self._request = request
        self._llm = llm
        self._prices = prices
        self._logger = logger
        self.started_at: datetime = clock()
        """When it began."""
        self._asked_model = request.model or llm.model
        self._model = self._asked_model
        self._tier = request.tier
        self._request_id: str | None = None
        self._text: str | None = None
        self._without_effort = False
        self.spending = NOTHING_SPENT
        """What the call used and cost; nothing until it has ended."""

    async def ask(self, *, is_retry: bool) -> ModelAnswer:
        """The model's answer. The call is charged, and stored if it failed.

        Raises the errors of `LLM.ask`, and Unavailable where a failed call can't be stored.
        """
        self.started_at = self._clock()
        retries = Spending(retries=int(is_retry))
        try:
            answer = await self._llm.ask(self._request)
        except (PermanentModelError, TransientModelError) as error:
            calls = self._estimated(error.report) if error.report.maybe_billed else Spending(calls=1)
            self._charge(calls + retries)
            await self._records.permit.failed(self._asked_model, self._asked, error, self.started_at)
            self._log(error.type, error_facts(error))
            await self.record(error.type, str(error), error.report)
            raise
        except Exception as error:
            # A fault of this project: how far the call got is not known.
            self._charge(self._estimated(NO_REPORT) + retries)
            self._log(UNEXPECTED, {})
            await self.record(UNEXPECTED, f"the model's adapter failed ({type(error).__name__})")
            raise
        self._model, self._tier, self._request_id = answer.model, answer.tier, answer.request_id
        self._text, self._without_effort = _raw(answer), answer.without_effort
        self._charge(self._priced(answer.usage, most_of(self._request, self._llm)) + retries)
        self._log(outcome_of(answer), answer_facts(answer))
        await self._pass_on(answer)
        return answer

    async def _pass_on(self, answer: ModelAnswer) -> None:
        permit = self._records.permit
        if isinstance(answer, FailedAnswer):
            await permit.failed(self._asked_model, self._asked, answer.error, self.started_at)
        else:
            used = _used(answer.usage) or self._asked
            await permit.answered(self._asked_model, self._asked, used, answer.limits, self.started_at)

    @property
    def _asked(self) -> Demand:
        """What the call takes of the account's limits before it is answered."""
        most = most_of(self._request, self._llm)
        return Demand(1, most.input_tokens // BYTES_PER_TOKEN + most.output_tokens)

    @asynccontextmanager
    async def recorded_on_error(self) -> AsyncIterator[None]:
        """Stores the call as a failed one if the code that reads its answer raises an error, and raises that."""
        try:
            yield
        except (PermanentModelError, TransientModelError) as error:
            await self.record(error.type, str(error), error.report)
            raise
        except Exception as error:
            await self.record(UNEXPECTED, f"the step's code failed ({type(error).__name__})")
            raise

    async def record(self, outcome: str, cause: str, report: CallReport = NO_REPORT) -> None:
        """Stores the call as one that failed."""
        await self._records.attempt(
            Attempt(
                step=self._step,
                started_at=isoformat(self.started_at),
                finished_at=isoformat(self._clock()),
                model=self._model,
                tier=self._tier,
                spending=self.spending,
                outcome=outcome,
                cause=report.cause or cause,
                answer=report.answer or self._text,
                request_id=report.request_id or self._request_id,
                effort=None if self._without_effort or report.without_effort else self._request.effort,
            ),
            self._asked_model,
        )

    def _charge(self, spending: Spending) -> None:
        self.spending = spending
        self._records.charge(spending, self._asked_model)

    def _estimated(self, report: CallReport) -> Spending:
        """What a call without a final usage can have used: all of the answer's room, as the server may have gone on.

        Where the server had told the tokens of the request when the answer broke off, those are no estimate.
        """
        most = most_of(self._request, self._llm)
        told = report.usage.input_tokens if report.usage else 0
        return self._priced(None, replace(most, input_tokens=min(told or most.input_tokens, most.input_tokens)))

    def _priced(self, usage: Usage | None, most: Usage) -> Spending:
        return self._prices.spending(self._model, usage, most, self._tier)

    def _log(self, outcome: str, facts: Facts) -> None:
        known = {"model": self._model, "tier": self._tier.value, **facts}
        known["model"] = logged_model(self._records.claim, str(known["model"]))
        line = call_line(outcome, self._clock() - self.started_at, self.spending, known)
        self._logger.info("model called", extra=line)


def _used(usage: Usage | None) -> Demand | None:
    return Demand(1, usage.input_tokens + usage.output_tokens) if usage else None


def _raw(answer: ModelAnswer) -> str | None:
    # The text of a FailedAnswer is in the report of its error.
    text = "" if isinstance(answer, FailedAnswer) else answer.text
    return text[:MAX_ANSWER_CHARACTERS] or None


def most_of(request: ModelRequest, llm: LLM) -> Usage:
    """The most that a call can use: a token of the input is at least one byte."""
    output = min(request.max_output_tokens or llm.max_output_tokens, llm.max_output_tokens)
    return Usage(input_tokens=request.size, output_tokens=output)
