"""The budget of a replay: what its jobs may cost together.

Each job is made with a budget of its own, which the API keeps. A job's budget is set aside until the job has ended;
then what it did not use goes back. So the sum of what is spent and what running jobs can still spend never exceeds the
whole, whatever happens to this process.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from jobchain_cli.replay_estimate import Estimate

LEAST = Decimal("0.000001")
"""The smallest budget of a job, and the step of all: docs/reference/http-api.md."""

MOST = Decimal(10_000)
"""The largest budget of a job."""


@dataclass(slots=True)
class Budget:
    """`total` US dollars, of which some are spent, and some set aside for the jobs that run."""

    total: Decimal
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        """What is neither spent nor set aside."""
        return self.total - self.spent - self.reserved

    def reserve(self, estimate: Estimate, slots: int) -> Decimal | None:
        """Sets a budget aside for the next of up to `slots` jobs that may still be started now; gives it.

        It is an equal share, or more where the job needs more. None where there is too little: until a job ends, or
        permanently if none runs.
        """
        amount = self.left / max(slots, 1)
        if estimate.room_usd is not None and amount < estimate.room_usd:
            if self.left < (estimate.room_usd if self.reserved else estimate.cost_usd or LEAST):
                return None
            amount = min(estimate.room_usd, self.left)
        amount = min(amount, MOST).quantize(LEAST, ROUND_DOWN)
        if amount < LEAST:
            return None
        self.reserved += amount
        return amount

    def settle(self, amount: Decimal, cost: Decimal | None) -> None:
        """A job has ended for which `amount` was set aside. A `cost` that is not known counts as all of it."""
        self.reserved -= amount
        self.spent += amount if cost is None else cost
