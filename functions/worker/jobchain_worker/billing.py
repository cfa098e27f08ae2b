"""What a worker's calls cost beside the records of its own claim: what others left, and the daily budget."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from jobchain.aws.claims import ClaimStore
from jobchain.aws.usage import UsageStore
from jobchain.chains.chain import Chain
from jobchain.domain import NO_BUDGET, Claim
from jobchain.errors import LimitReached, Unavailable
from jobchain.limits import Limits
from jobchain.llm import LLM
from jobchain.metrics import Meter
from jobchain.observability import Logger, describe
from jobchain.prices import PriceList
from jobchain.spending import Spending, Usage, summed, summed_by_model
from jobchain_worker.job_run import MAX_AT_ONCE, JobRun, Records
from jobchain_worker.persistence import Persistence

# The instructions, the schema and the earlier outputs that a call has beside the payload, for the estimate of a call
# whose request is not known: several times what the shipped chains have.
_REQUEST_BYTES = 50_000


class Billing:
    """Settles what vanished workers left, and reports late what this worker's calls cost."""

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

    def at_risk(self, job_name: str, payload_bytes: int) -> tuple[str, Spending]:
        """The model, and the most that the calls of such a job can cost that are in flight together."""
        most = Usage(input_tokens=payload_bytes + _REQUEST_BYTES, output_tokens=self._llm.max_output_tokens)
        call = self._prices.spending(self._llm.model, None, most)
        return self._llm.model, summed([call] * self._at_once(job_name, payload_bytes))

    def _at_once(self, job_name: str, payload_bytes: int) -> int:
        """The most calls of such a job that run at the same time."""
        # A token is at least one byte: a longer text may be split, and its parts run together.
        if payload_bytes > self._max_input_tokens:
            return MAX_AT_ONCE
        chain = self._chains.get(job_name)
        return min(chain.widest, MAX_AT_ONCE) if chain else 1

    async def settle(self, claim: Claim, persistence: Persistence, estimate: Spending) -> None:
        """Records what workers that vanished have left, with an estimate for the calls that were in flight."""
        if claim.unsettled is None:
            return
        bill = summed_by_model([*claim.unsettled.recorded.items(), (self._llm.model, estimate)])
        added = await persistence.write(self._claims.settle, claim, bill)
        self._logger.warning("usage of a worker that vanished recorded", estimated_calls=estimate.calls)
        self.count(claim, added)

    async def report_late(self, claim: Claim, records: Records) -> None:
        """Records what this worker's calls cost in place of what others have estimated for them."""
        try:
            self.count(claim, await asyncio.to_thread(self._claims.report_late, claim, records.bill))
        except Unavailable as error:
            self._logger.warning("late usage not recorded, the estimate stays", extra=describe(error))

    def count(self, claim: Claim, bill: Mapping[str, Spending]) -> None:
        """Counts as metrics what was added to the usage records."""
        for model, spending in bill.items():
            self._meter(claim.job_name, model, spending)


async def exhausted_budget(
    usage: UsageStore, run: JobRun, persistence: Persistence, now: datetime
) -> LimitReached | None:
    """The daily limit of the job's key that is reached, None if there is none. What the run has used counts too."""
    budget = run.claim.daily_budget
    if budget == NO_BUDGET:
        return None
    today = await persistence.write(usage.today, run.claim.tenant)
    used = replace(today, spending=today.spending + run.records.spent)
    limits = Limits(tokens_per_day=budget.tokens, cost_usd_per_day=budget.cost_usd)
    try:
        limits.check_daily_usage(used, now)
    except LimitReached as reached:
        return reached
    return None
