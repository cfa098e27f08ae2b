"""What a replay will probably cost: the tokens of the jobs, at the price of the model that is to answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from jobchain.domain import Tier
from jobchain.prices import PriceList
from jobchain.spending import Usage
from jobchain_client import Job, Step


@dataclass(frozen=True, slots=True)
class Expected:
    """Of all jobs together. `cost_usd` is None where a price is not known, or no job tells its tokens."""

    jobs: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


def expected(jobs: Sequence[Job], model: str | None, again: "Again") -> Expected:
    """What replays of `jobs` with this model will cost, None for the models that answered."""
    steps = [step for job in jobs for step in again.of(job)]
    costs = [cost_of(job, model, again) for job in jobs]
    known = [cost for cost in costs if cost is not None]
    return Expected(
        jobs=len(jobs),
        calls=sum(step.calls or 0 for step in steps),
        input_tokens=sum(step.usage.input_tokens for step in steps),
        output_tokens=sum(step.usage.output_tokens for step in steps),
        cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
    )


def cost_of(job: Job, model: str | None, again: "Again") -> Decimal | None:
    """What a replay of one job will cost, None if that is not known.

    Another model has other tokens, and may reason more: it is a hint, and no bound.
    """
    asked = [step for step in again.of(job) if step.model]
    if not asked:
        return None
    prices = PriceList.load()
    costs = [_price(prices, step, model or step.model or "") for step in asked]
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _price(prices: PriceList, step: Step, model: str) -> Decimal | None:
    told = step.usage
    # Nothing is in the new model's cache.
    usage = Usage(told.input_tokens, 0, told.output_tokens, told.reasoning_tokens, told.cache_write_tokens)
    return prices.spending(model, usage, usage, Tier(step.tier or Tier.STANDARD)).cost_usd


@dataclass(frozen=True, slots=True)
class Again:
    """Which steps of a chain a replay runs again: `steps` by the chain's name, all of a chain that it does not have."""

    steps: dict[str, frozenset[str]]

    def of(self, job: Job) -> list[Step]:
        """Those of the job's steps."""
        wanted = self.steps.get(job.job_name)
        return [step for step in job.steps if wanted is None or step.name.partition(".")[0] in wanted]


def again_from(needs: dict[str, dict[str, list[str]]], from_step: str | None) -> Again:
    """The steps that `from_step` repeats, by what each step of each chain needs; all without one."""
    if from_step is None:
        return Again({})
    found = {}
    for chain, steps in needs.items():
        again = {from_step} & steps.keys()
        for _ in steps:
            again |= {name for name, own in steps.items() if not again.isdisjoint(own)}
        found[chain] = frozenset(again)
    return Again(found)
