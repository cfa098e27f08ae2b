"""Keeps a call to what its job may still cost."""

from dataclasses import replace
from decimal import ROUND_UP, Decimal

from jobchain.errors import PermanentModelError
from jobchain.llm import ModelRequest
from jobchain.prices import PriceList
from jobchain.spending import Spending
from jobchain_worker.job_run import JobRun

MIN_OUTPUT_TOKENS = 200
"""The least room for an answer: the model is not called where a job's budget leaves less."""

_SMALLEST = Decimal("0.000001")

_UNPRICED = "max_cost_usd can't be kept, as the price of the model {} is unknown: leave it out"

_UNCOUNTED = "the key's cost_usd_per_day can't be kept, as the price of the model {} is unknown: name another one"


def affordable(
    run: JobRun, request: ModelRequest, share: Decimal | None, spent: Spending, prices: PriceList, deployments: str
) -> ModelRequest:
    """The request, with no more room for its answer than the step's `share` of the budget pays for.

    `spent` is what earlier calls of the step cost, `deployments` the model that is asked if the request names none.
    Raises PermanentModelError.
    """
    model = request.model or deployments
    daily = run.claim.daily_budget.cost_usd
    # The operator chose the deployment's models and those of chains. A caller could name one that counts as free.
    if daily is not None and model == run.claim.overrides.model and not prices.knows(model):
        raise PermanentModelError("budget_unknown", _UNCOUNTED.format(model))
    if share is None:
        return request
    most = prices.affordable_output(model, request.size, share - spent.known_cost_usd)
    if most is None or run.spending.unpriced_calls:
        raise PermanentModelError("budget_unknown", _UNPRICED.format(model))
    if most < MIN_OUTPUT_TOKENS:
        known, budget = run.spending.known_cost_usd.normalize(), run.claim.max_cost_usd
        least = prices.least_budget(model, request.size, MIN_OUTPUT_TOKENS) or Decimal(0)
        needs = f"{known:f} is spent, and this call alone needs {least.quantize(_SMALLEST, ROUND_UP):f}"
        message = f"the next call could cost more than max_cost_usd ({budget:f}) allows: {needs}"
        raise PermanentModelError("budget_exceeded", message)
    return replace(request, max_output_tokens=min(most, request.max_output_tokens or most))
