"""The cost of model calls, by the dated price list beside this module."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files

from jobchain.domain import Tier
from jobchain.spending import Estimate, Spending, Usage

# A provider answers with the snapshot's name, such as gpt-6-luna-2026-09-30, at the price of its family.
_SNAPSHOT_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one token of each kind."""

    input: Decimal
    cached: Decimal
    cache_write: Decimal
    output: Decimal


FREE = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
"""The price of a model that runs on one's own machine."""


class PriceList:
    """Prices by the model's name."""

    def __init__(
        self, prices: Mapping[str, Price], flex_factor: Decimal = Decimal(1), unlisted: Price | None = None
    ) -> None:
        """A flex call costs `flex_factor` times the standard price. `unlisted` is the price of all other models."""
        self._prices = prices
        self._flex_factor = flex_factor
        self._unlisted = unlisted

    @classmethod
    def load(cls, unlisted: Price | None = None, host: str = "") -> "PriceList":
        """The list that is shipped, `prices.json`, which names the date and source of each of its parts.

        Writing to a cache costs as much as other input, where the list has no price for it. `host` is that of the
        model's server: OpenAI's regional ones cost more.
        """
        content = json.loads(files(__package__).joinpath("prices.json").read_text())
        per, regional = Decimal(content["per_tokens"]), content["regional"]
        factor = Decimal(regional["factor"]) if host.endswith(regional["hosts"]) else Decimal(1)
        listed = dict(content["models"])
        for other in content["others"]:
            listed |= other["models"]
        return cls(
            {
                model: Price(**{kind: Decimal(amount) * factor / per for kind, amount in _complete(price).items()})
                for model, price in listed.items()
            },
            Decimal(content["flex_factor"]),
            unlisted,
        )

    def knows(self, model: str) -> bool:
        """Whether the list has the model's price."""
        return self._price(model) is not None

    def spending(self, model: str, usage: Usage | None, most: Usage, tier: Tier = Tier.STANDARD) -> Spending:
        """What one call to `model` used and cost: unpriced, never free, if the price is not known.

        `most` is the most that the call can have used. It is the estimate for a call whose usage is not known, and for
        a count that is larger.
        """
        if usage is not None and usage.input_tokens <= most.input_tokens and usage.output_tokens <= most.output_tokens:
            return self._priced(model, usage, tier)
        told = usage or self._dearest(model, most)
        used = Usage(
            min(told.input_tokens, most.input_tokens),
            told.cached_tokens,
            min(told.output_tokens, most.output_tokens),
            told.reasoning_tokens,
            told.cache_write_tokens,
        )
        spending = self._priced(model, used, tier)
        estimated = Estimate(1, used.input_tokens, used.output_tokens, spending.known_cost_usd)
        return replace(spending, estimated=estimated)

    def _dearest(self, model: str, most: Usage) -> Usage:
        """The usage with its input at the highest price: an estimate is the most that a call can have cost."""
        price = self._price(model)
        written = most.input_tokens if price and price.cache_write > price.input else 0
        return replace(most, cached_tokens=0, cache_write_tokens=written)

    def _priced(self, model: str, usage: Usage, tier: Tier) -> Spending:
        usage = _consistent(usage)
        price = self._price(model)
        if price is None:
            return Spending(usage, unpriced_calls=1, calls=1)
        cost = (
            price.input * (usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
            + price.cached * usage.cached_tokens
            + price.cache_write * usage.cache_write_tokens
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
        return int((budget - max(price.input, price.cache_write) * request_bytes) / price.output)

    def least_budget(self, model: str, request_bytes: int, output_tokens: int) -> Decimal | None:
        """The least budget, in US dollars, for which `affordable_output` gives this many tokens; None as there."""
        price = self._price(model)
        if price is None:
            return None
        return max(price.input, price.cache_write) * request_bytes + price.output * output_tokens

    def _price(self, model: str) -> Price | None:
        return self._prices.get(model) or self._prices.get(_SNAPSHOT_DATE.sub("", model)) or self._unlisted


def _complete(price: Mapping[str, str]) -> Mapping[str, str]:
    return {"cache_write": price["input"], **price}


def _consistent(usage: Usage) -> Usage:
    """The usage without what can't be: a part that is larger than the whole would cost less than nothing."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    return replace(
        usage,
        cached_tokens=cached,
        cache_write_tokens=min(usage.cache_write_tokens, usage.input_tokens - cached),
        reasoning_tokens=min(usage.reasoning_tokens, usage.output_tokens),
    )
