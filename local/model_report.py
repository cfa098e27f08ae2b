"""What a check of a model has found."""

from dataclasses import dataclass
from datetime import date

from jobchain.model_check import WARN_DAYS, trial_of_successor
from jobchain.prices import PriceList


@dataclass(frozen=True, slots=True)
class Report:
    """Facts about the model, warnings, and failures, with which no job can run."""

    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def __add__(self, other: "Report") -> "Report":
        return Report(self.facts + other.facts, self.warnings + other.warnings, self.failures + other.failures)


def report_of_end(place: str, model: str, shutdown: date | None, today: date) -> Report:
    """What it means that `place` has the model, until `shutdown` or for an unknown time."""
    if shutdown is None:
        return Report((f"{place} has {model}, and names no shutdown date.",))
    left = (shutdown - today).days
    if left <= 0:
        return Report(failures=(f"{model} was shut down on {shutdown}: set OPENAI_MODEL to another",))
    if left <= WARN_DAYS:
        ends = f"{model} will be shut down on {shutdown}, in {left} days: move to another"
        return Report(warnings=(f"{ends}, and compare its answers first: {trial_of_successor(model)}",))
    return Report((f"{place} has {model}, until {shutdown}.",))


def missing_price(model: str) -> tuple[str, ...]:
    """A warning where the price list has no price for the model."""
    if PriceList.load().knows(model):
        return ()
    return (f"prices.json has no price for {model}: cost_usd will be null, and a job with max_cost_usd fails",)
