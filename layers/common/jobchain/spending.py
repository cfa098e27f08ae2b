"""What calls of the model used and cost: exact sums, and marked estimates where the server did not tell."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self


class _Sums:
    """Base of dataclasses that add up field by field."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        return self._with(other, operator.add)

    def __sub__(self, other: Self) -> Self:
        return self._with(other, operator.sub)

    def _with(self, other: Self, combined: Callable[[Any, Any], Any]) -> Self:
        names: Iterable[str] = self.__dataclass_fields__  # type: ignore[attr-defined]
        return type(self)(*(combined(getattr(self, name), getattr(other, name)) for name in names))


@dataclass(frozen=True, slots=True)
class Usage(_Sums):
    """Tokens that a model reports.

    Those read from a cache and written to one are part of the input, reasoning tokens of the output.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Estimate(_Sums):
    """The part of a `Spending` that no server told: the most that these calls can have used and cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Spending(_Sums):
    """What model calls used and cost.

    `unpriced_calls` counts the calls to models whose price is not known; with any of those the cost
    in US dollars is not known either, which is not the same as zero. `calls` counts all calls, failed ones too, and
    `retries` those among them that repeated an earlier one. `estimated` is the part of all this that is an estimate.
    """

    usage: Usage = field(default_factory=Usage)
    known_cost_usd: Decimal = Decimal(0)
    unpriced_calls: int = 0
    calls: int = 0
    retries: int = 0
    estimated: Estimate = field(default_factory=Estimate)

    @property
    def paid(self) -> bool:
        """Whether any call was answered, or may have been, and is paid for."""
        return self.usage != Usage() or self.unpriced_calls > 0

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost in US dollars, None where part of it is not known."""
        return None if self.unpriced_calls else self.known_cost_usd


NOTHING_SPENT = Spending()


Bill = Mapping[str, Spending]
"""What calls of the model cost, by the model that was asked."""


def summed(spendings: Iterable[Spending]) -> Spending:
    """The sum of `spendings`."""
    return sum(spendings, NOTHING_SPENT)


def summed_by_model(parts: Iterable[tuple[str, Spending]]) -> Bill:
    """The sum of each model's spendings."""
    sums: dict[str, Spending] = {}
    for model, spending in parts:
        sums[model] = sums.get(model, NOTHING_SPENT) + spending
    return sums


@dataclass(frozen=True, slots=True)
class Unsettled:
    """An earlier claim whose worker vanished: its calls are not all in the usage records yet.

    `claim` is its number, `recorded` what it stored of its spending, by model. `at_risk` is the model that it called,
    and the most that its calls can have cost that were in flight together.
    """

    claim: int
    recorded: Mapping[str, Spending]
    at_risk: tuple[str, Spending] | None = None
