"""The cost of model calls, by the dated price list beside this module."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files

from jobchain.domain import Spending, Tier, Usage

# A provider answers with the snapshot's name, such as gpt-6-luna-2026-09-30, at the price of its family.
_SNAPSHOT_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one token of each kind."""

    input: Decimal
    cached: Decimal
    output: Decimal


class PriceList:
    """Prices by the model's name."""

    def __init__(self, prices: Mapping[str, Price], flex_factor: Decimal = Decimal(1)) -> None:
        """A flex call costs `flex_factor` times the standard price."""
        self._prices = prices
        self._flex_factor = flex_factor

    @classmethod
    def load(cls) -> "PriceList":
        """The list that is shipped, `prices.json`, which names its date and source."""
        content = json.loads(files(__package__).joinpath("prices.json").read_text())
        per = Decimal(content["per_tokens"])
        return cls(
            {
                model: Price(**{kind: Decimal(amount) / per for kind, amount in price.items()})
                for model, price in content["models"].items()
            },
            Decimal(content["flex_factor"]),
        )

    def knows(self, model: str) -> bool:
        """Whether the list has the model's price."""
        return self._price(model) is not None

    def spending(self, model: str, usage: Usage | None, tier: Tier = Tier.STANDARD) -> Spending:
        """The cost of one call to `model`; unpriced, never free, where the model or the usage is not known."""
        price = self._price(model)
        if usage is None or price is None:
            return Spending(usage or Usage(), unpriced_calls=1, calls=1)
        cost = (
            price.input * (usage.input_tokens - usage.cached_tokens)
            + price.cached * usage.cached_tokens
            + price.output * usage.output_tokens
        )
        return Spending(usage, cost * self._flex_factor if tier is Tier.FLEX else cost, calls=1)

    def affordable_output(self, model: str, request_bytes: int, budget: Decimal) -> int | None:
        """The most tokens that an answer may have for a call to cost no more than `budget`, in US dollars.

        A token is at least one byte, so that a request cannot have more tokens than bytes. None where the model's price
        is not known.
        """
        price = self._price(model)
        if price is None:
            return None
        if not price.output:
            return sys.maxsize
        return int((budget - price.input * request_bytes) / price.output)

    def _price(self, model: str) -> Price | None:
        return self._prices.get(model) or self._prices.get(_SNAPSHOT_DATE.sub("", model))
