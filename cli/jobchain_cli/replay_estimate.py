"""What a replay will probably cost: the tokens of the jobs, at the price of the model that is to answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from jobchain.domain import Tier
from jobchain.prices import PriceList
from jobchain.spending import Usage
from jobchain_client import Job, Step

# The most bytes of a token in most languages; how much longer an answer may become; the fewest tokens of its room.
_BYTES, _LONGER, _LEAST_OUTPUT = 6, 4, 1000


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
    return Expected(
        jobs=len(jobs),
        calls=sum(step.calls or 0 for step in steps),
        input_tokens=sum(step.usage.input_tokens for step in steps),
        output_tokens=sum(step.usage.output_tokens for step in steps),
        cost_usd=_summed([estimate(job, model, again).cost_usd for job in jobs]),
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one job, in US dollars: what its replay will probably cost, and the budget that it needs. None: not known.

    The API refuses a call that could cost more than what is left. It takes each byte of a request for a token, and
    wants room for an answer. So a job needs a budget of several times its cost.
    """

    cost_usd: Decimal | None = None
    room_usd: Decimal | None = None


UNKNOWN = Estimate()
"""Of a job whose tokens, or whose model's price, are not known."""


def estimate(job: Job, model: str | None, again: "Again") -> Estimate:
    """What a replay of one job will cost. Another model has other tokens, and may reason more: a hint, no bound."""
    asked = [step for step in again.of(job) if step.model]
    if not asked:
        return UNKNOWN
    prices = PriceList.load()
    cost = [_price(prices, step, _told(step), model) for step in asked]
    room = [_price(prices, step, _most(step), model) for step in asked]
    return Estimate(_summed(cost), _summed(room))


def _told(step: Step) -> Usage:
    """The tokens of a step as it was; nothing is in the new model's cache."""
    told = step.usage
    return Usage(told.input_tokens, 0, told.output_tokens, told.reasoning_tokens, told.cache_write_tokens)


def _most(step: Step) -> Usage:
    told = step.usage
    most = _BYTES * told.input_tokens
    return Usage(most, 0, max(_LONGER * told.output_tokens, _LEAST_OUTPUT), cache_write_tokens=most)


def _price(prices: PriceList, step: Step, usage: Usage, model: str | None) -> Decimal | None:
    return prices.spending(model or step.model or "", usage, usage, Tier(step.tier or Tier.STANDARD)).cost_usd


def _summed(costs: Sequence[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


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
