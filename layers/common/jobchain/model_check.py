"""A check of the model: whether its provider knows it, and when the provider will shut it down.

Providers announce a model's shutdown some months ahead. From that day on every job would fail.
"""

from dataclasses import dataclass
from datetime import date

WARN_DAYS = 60
"""Days before a model's shutdown from which on an operator is warned."""

SUCCESSOR = "gpt-6-luna"
"""What models that end are compared with, unless they are it: https://developers.openai.com/api/docs/deprecations"""


def trial_of_successor(model: str) -> str:
    """The command that compares the answers of the newest jobs with those of another model, at little cost.

    `model` is the one that ends. OTHER stands for a model that the reader has to choose: at Bedrock, whose names begin
    with the provider's, and where the successor ends itself.
    """
    other = "OTHER" if SUCCESSOR in model or "openai." in model else SUCCESSOR
    return f"jobchain replay --last 50 --model {other} --max-cost-usd 1"


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What the provider said about `model` at `checked_at`, a text of `isoformat`.

    `shutdown_date` is None where no shutdown is announced, or the provider does not tell.
    """

    model: str
    known: bool
    shutdown_date: date | None
    checked_at: str

    def days_left(self, today: date) -> int | None:
        """Days until the model's shutdown, negative after it; None where none is known."""
        return None if self.shutdown_date is None else (self.shutdown_date - today).days
