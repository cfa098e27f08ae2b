"""What several measures of one thing come to."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several measures, the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        """`26.8 (25.9 to 27.3)`; of a single measure the number alone."""
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def number(value: float) -> str:
    """Three digits that count, and no exponents."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of the values do not pass, as the nearest-rank method has it."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1)]
