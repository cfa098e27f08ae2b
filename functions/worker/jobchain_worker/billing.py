"""The usage records beyond a worker's own claim: what vanished workers left, late reports, and the daily budget."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from jobchain.aws.claims import ClaimStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.usage import UsageStore
from jobchain.chains.chain import Chain
from jobchain.domain import NO_BUDGET, Claim
from jobchain.errors import LimitReached, Unavailable
from jobchain.limits import Limits
from jobchain.llm import LLM
from jobchain.metrics import Meter
from jobchain.observability import Logger
from jobchain.overrides import OTHER_MODEL
from jobchain.prices import PriceList
from jobchain.spending import Bill, Spending, Usage, summed, summed_by_model
from jobchain_worker.demand import MAX_AT_ONCE
from jobchain_worker.job_run import JobRun, Records

# The instructions, the schema and the earlier outputs that a call has beside the payload, for the estimate of a call
# whose request is not known: several times what the shipped chains have.
_REQUEST_BYTES = 50_000


class Billing:
    """Settles what vanished workers left, reports late what this worker's calls cost, and counts both as metrics."""

    def __init__(
        self,
        *,
        claims: ClaimStore,
        llm: LLM,
        chains: Mapping[str, Chain],
        max_input_tokens: int,
        prices: PriceList,
        meter: Meter,
        logger: Logger,
    ) -> None:
        """See `jobchain_worker.runner.Runner`."""
        self._claims = claims
        self._chains = chains
        self._max_input_tokens = max_input_tokens
        self._llm = llm
        self._prices = prices
        self._meter = meter
        self._logger = logger

    def at_risk(self, job_name: str, text_bytes: int, own_model: str | None = None) -> tuple[str, Spending]:
        """The model, and the most that calls of such a job can cost that are in flight at the same time.

        `text_bytes` are those of its payload and of its own prompts, `own_model` is the model that it names itself.
        """
        most = Usage(input_tokens=text_bytes + _REQUEST_BYTES, output_tokens=self._llm.max_output_tokens)
        models = [own_model] if own_model else self._models(job_name)
        model, call = costliest((model, self._prices.spending(model, None, most)) for model in models)
        return model, summed([call] * self._at_once(job_name, text_bytes))

    def _models(self, job_name: str) -> list[str]:
        """The models that such a job's calls ask, their fallbacks included."""
        chain = self._chains.get(job_name)
        options = [step.options for step in chain.calls] if chain else []
        named = [each.model or self._llm.model for each in options] or [self._llm.model]
        return list(dict.fromkeys([*named, *(each.fallback_model for each in options if each.fallback_model)]))

    def _at_once(self, job_name: str, text_bytes: int) -> int:
        """The most calls of such a job that run at the same time."""
        # A token is at least one byte: a longer text may be split, and its parts run together.
        if text_bytes > self._max_input_tokens:
            return MAX_AT_ONCE
        chain = self._chains.get(job_name)
        return min(chain.widest, MAX_AT_ONCE) if chain else 1

    async def settle(self, claim: Claim, records: Records, estimate: Bill | None = None) -> Claim:
        """Records what workers that vanished have left, with an estimate for their calls that were in flight.

        Without one it is what the first of them could cost at most. Gives the claim with the estimate in its spending.
        """
        if claim.unsettled is None:
            return claim
        model, most = claim.unsettled.at_risk or claim.at_risk
        left = {model: most} if estimate is None else estimate
        bill = summed_by_model([*claim.unsettled.recorded.items(), *left.items()])
        added = await records.persistence.write(self._claims.settle, claim, bill)
        estimated = summed(left.values())
        self._logger.warning("usage of a worker that vanished recorded", estimated_calls=estimated.calls)
        self.count(claim, added)
        return replace(claim, spending=claim.spending + estimated)

    async def report_late(self, claim: Claim, records: Records) -> None:
        """Records what this worker's calls cost in place of what others have estimated for them.

        The lease is over, so that it is not tried for long. Without it the estimate stays, which is an upper bound.
        """
        try:
            self.count(claim, await asyncio.to_thread(self._claims.report_late, claim, records.bill))
        except Unavailable as error:
            log_unavailable(self._logger, "late usage not recorded, the estimate stays", error)

    def count(self, claim: Claim, bill: Bill) -> None:
        """Counts as metrics what was added to the usage records."""
        for model, spending in bill.items():
            self._meter(claim.job_name, model if model in self._named else OTHER_MODEL, spending)

    @cached_property
    def _named(self) -> frozenset[str]:
        """The models that the deployment and its chains name."""
        return frozenset(model for name in [*self._chains, ""] for model in self._models(name))


def costliest(calls: Iterable[tuple[str, Spending]]) -> tuple[str, Spending]:
    """Of calls of models, the one that can cost most; one without a known price may cost anything."""
    return max(calls, key=lambda each: (each[1].unpriced_calls, each[1].known_cost_usd))


async def exhausted_budget(usage: UsageStore, run: JobRun, now: datetime) -> LimitReached | None:
    """The daily limit of the job's key that is reached, None if there is none. What the run has used counts too."""
    budget = run.claim.daily_budget
    if budget == NO_BUDGET:
        return None
    today = await run.records.persistence.write(usage.today, run.claim.tenant)
    used = replace(today, spending=today.spending + run.records.spent)
    limits = Limits(tokens_per_day=budget.tokens, cost_usd_per_day=budget.cost_usd)
    try:
        limits.check_daily_usage(used, now)
    except LimitReached as reached:
        return reached
    return None
