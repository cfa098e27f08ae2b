"""What model calls cost, by the dated price list beside this module."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files

from jobchain.model import Spending, Usage

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

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices

    @classmethod
    def load(cls) -> "PriceList":
        """The list that is shipped, `prices.json`, which names its date and source."""
        content = json.loads(files(__package__).joinpath("prices.json").read_text())
        per = Decimal(content["per_tokens"])
        return cls(
            {
                model: Price(**{kind: Decimal(amount) / per for kind, amount in price.items()})
                for model, price in content["models"].items()
            }
        )

    def spending(self, model: str, usage: Usage | None) -> Spending:
        """What one call to `model` cost; unpriced, never free, where the model or the usage is not known."""
        price = self._prices.get(model) or self._prices.get(_SNAPSHOT_DATE.sub("", model))
        if usage is None or price is None:
            return Spending(usage or Usage(), unpriced_calls=1)
        cost = (
            price.input * (usage.input_tokens - usage.cached_tokens)
            + price.cached * usage.cached_tokens
            + price.output * usage.output_tokens
        )
        return Spending(usage, cost)
