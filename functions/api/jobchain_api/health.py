"""The health of the deployment: checked at most once in five seconds, however often it is read."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from jobchain.aws.deployment_checks import SweepStore, TableCheck
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.queue import JobQueue
from jobchain.domain import Clock
from jobchain.errors import Misconfigured, Unavailable
from jobchain.model_check import ModelCheck

KEPT = timedelta(seconds=5)
"""How long an environment of the function answers with what it has found. A fault is not kept."""

SWEEP_LATE = timedelta(minutes=5)
"""The sweeper runs each minute: after this time it is silent."""

DUE_LATE = timedelta(minutes=15)
"""A due job waits for the next sweep. After this time sweeps don't get to it, or can't send it."""


class Breakers(Protocol):
    """The breakers of the model's account."""

    def look(self) -> object | None:
        """One that is open, None where none is. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The last check of the model, and the days from today to the model's shutdown if one is announced."""

    check: ModelCheck
    days_left: int | None


@dataclass(frozen=True, slots=True)
class Health:
    """What was found while the table and the queue answer. Before the first sweep nothing is known of sweeps."""

    model: ModelStatus | None
    since_sweep: timedelta | None
    oldest_due: timedelta | None
    breaker_open: bool

    @property
    def degraded(self) -> bool:
        """Whether jobs are accepted and kept, but do not run as they should."""
        late = self.since_sweep is not None and self.since_sweep > SWEEP_LATE
        overdue = self.oldest_due is not None and self.oldest_due > DUE_LATE
        return late or overdue or self.breaker_open


class HealthCheck:
    """Checks the parts of the deployment that the API needs."""

    def __init__(
        self,
        *,
        table: TableCheck,
        queue: JobQueue,
        model_checks: ModelCheckStore,
        sweeps: SweepStore,
        breakers: Breakers | None,
        clock: Clock,
    ) -> None:
        """`breakers` is None for a deployment whose model is not known."""
        self._table = table
        self._queue = queue
        self._model_checks = model_checks
        self._sweeps = sweeps
        self._breakers = breakers
        self._clock = clock
        self._known: Health | None = None
        self._known_until: datetime | None = None

    def look(self) -> Health:
        """The health as of a moment ago. Raises Unavailable that names each part that fails."""
        now = self._clock()
        if self._known is None or self._known_until is None or now >= self._known_until:
            self._known = self._check(now)
            self._known_until = now + KEPT
        return self._known

    def _check(self, now: datetime) -> Health:
        faults = []
        for ask in (self._table.run, self._queue.depth):
            try:
                ask()
            except Unavailable as fault:
                faults.append(fault)
        if faults:
            raise _combined(faults)
        model, sweep = self._model_checks.last(), self._sweeps.last()
        return Health(
            model=ModelStatus(model, model.days_left(now.date())) if model else None,
            since_sweep=max(now - sweep.swept_at, timedelta(0)) if sweep else None,
            oldest_due=sweep.oldest_due if sweep else None,
            breaker_open=self._breakers is not None and self._breakers.look() is not None,
        )


def _combined(faults: list[Unavailable]) -> Unavailable:
    """One error for several, of the kind that needs an operator if any of them does."""
    worst = next((fault for fault in faults if isinstance(fault, Misconfigured)), faults[0])
    error = type(worst)("; ".join(map(str, faults)))
    error.__cause__ = worst.__cause__
    return error
