"""One worker's view of an account's pace: it looks before it writes, so that a job that is refused costs no write."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from jobchain.domain import Clock
from jobchain.pace import (
    HORIZON,
    Change,
    Demand,
    Full,
    Granted,
    PaceState,
    PaceView,
    Planned,
    Rates,
    Refused,
    moment,
    plan,
    rates,
)
from jobchain.pace_learning import learn, settle
from jobchain.rate_limits import RateLimits

MAX_AGE = 3.0
"""How old a look may be that refuses a job, in seconds."""

MAX_AGE_OF_GRANT = 0.5
"""The same for a look by which a slot is granted: a write that fails costs more than a look."""

_TRIES = 4


class Moved(Exception):
    """The condition of a change did not hold; `state` are the present ones, None where there is none."""

    def __init__(self, state: PaceState | None) -> None:
        super().__init__("the state has changed")
        self.state = state


class PaceTable(Protocol):
    """Where the state is."""

    def read(self) -> PaceState | None:
        """The state as of a moment ago, None where there is none."""
        ...

    def write(self, change: Change) -> PaceState:
        """Makes the change, and returns the state after it. Raises Moved."""
        ...


class Pacer:
    """Grants slots of one account. Its methods may be called from several threads, and raise what its table does."""

    def __init__(
        self, table: PaceTable, configured: Rates, clock: Clock, draw: Callable[[], float] = random.random
    ) -> None:
        self._table = table
        self._configured = configured
        self._clock = clock
        self._draw = draw
        self._state: PaceState | None = None
        self._read_at: float | None = None
        self._answered = 0
        # All jobs of a batch come at once: one of them asks the table, and the others use what it learns.
        self._lock = Lock()

    def reserve(
        self, demands: Sequence[Demand], tenant: str, waiting: Callable[[], int] = lambda: 0
    ) -> Granted | Refused:
        """A slot for a job of the tenant, or when to ask again.

        `demands` are what the job needs as a whole, and then what it needs next, for a job that is larger than the
        limit of a minute. `waiting` gives how many messages the queue holds, delayed ones included: it is called where
        there is no slot, and other jobs don't wait for it.
        """
        got = self._ask(demands, tenant)
        if isinstance(got, Granted):
            return got
        delay = got.delay(waiting(), self._draw()) if got else HORIZON * (0.3 + 0.7 * self._draw())
        return Refused(moment(self._now() + delay))

    def _ask(self, demands: Sequence[Demand], tenant: str) -> Granted | Full | None:
        """The slot, or that there is none; None where other workers were faster each time."""
        with self._lock:
            self._look(MAX_AGE)
            for _ in range(_TRIES):
                now = self._now()
                found = plan(self._state, self._configured, demands, tenant, now)
                if isinstance(found, Granted | Full):
                    return found
                if self._look(MAX_AGE_OF_GRANT):
                    continue
                if granted := self._grant(found, now):
                    return granted
            return None

    def reserve_at_once(self, demands: Sequence[Demand], tenant: str) -> Granted | None:
        """The slot that `reserve` would give, where that takes no request; None elsewhere."""
        with self._fresh() as fresh:
            found = plan(self._state, self._configured, demands, tenant, self._now()) if fresh else None
        return found if isinstance(found, Granted) else None

    def learn(self, asked: Demand, limits: RateLimits) -> None:
        """Notes what the answer of a call tells, where it was not known: the rest of its job may take minutes."""
        with self._lock:
            self._answered += 1
            self._look(MAX_AGE)
            if change := learn(self._state, self._configured, asked.tokens, limits, self._now()):
                self._write(change)

    def learn_at_once(self, asked: Demand, limits: RateLimits) -> bool:
        """Does what `learn` does, where that takes no request; whether it was done."""
        with self._fresh() as fresh:
            if not fresh or learn(self._state, self._configured, asked.tokens, limits, self._now()):
                return False
            self._answered += 1
            return True

    def settle(self, granted: Demand, asked: Demand, used: Demand, limits: RateLimits, refused: bool) -> None:
        """Corrects what a job was charged, and learns from what the server told and whether it refused a call."""
        with self._lock:
            self._look(MAX_AGE)
            changes = settle(
                self._state,
                self._configured,
                granted,
                asked,
                used,
                limits,
                refused=refused,
                answered=self._answered,
                now=self._now(),
            )
            if refused:
                self._answered = 0
            for change in changes:
                if self._write(change):
                    return

    def settles_nothing(self, granted: Demand, asked: Demand, used: Demand, limits: RateLimits) -> bool:
        """Whether `settle` changes nothing for a job without a refused call; False where only a request can tell."""
        with self._fresh() as fresh:
            return fresh and not settle(
                self._state,
                self._configured,
                granted,
                asked,
                used,
                limits,
                refused=False,
                answered=self._answered,
                now=self._now(),
            )

    def view(self) -> PaceView:
        """The pace, a few seconds old at most."""
        with self._lock:
            self._look(MAX_AGE)
            now, state = self._now(), self._state or {}
            free_at = max(now, state.get("requests_at", 0.0), state.get("tokens_at", 0.0))
            return PaceView(rates(state, self._configured, now), moment(free_at))

    def _grant(self, planned: Planned, now: float) -> Granted | None:
        written = self._write(planned.change)
        return planned.granted(written, now) if written else None

    def _write(self, change: Change) -> PaceState | None:
        try:
            self._state = self._table.write(change)
        except Moved as moved:
            self._state = moved.state
            return None
        finally:
            self._read_at = self._now()
        return self._state

    def _look(self, max_age: float) -> bool:
        """Reads the state if it is older than that, and tells whether it did."""
        now = self._now()
        if self._is_known(now, max_age):
            return False
        self._state = self._table.read()
        self._read_at = now
        return True

    def _is_known(self, now: float, max_age: float) -> bool:
        return self._read_at is not None and now - self._read_at <= max_age

    @contextmanager
    def _fresh(self) -> Iterator[bool]:
        """Whether the state is known, and no other thread asks for it now. It does not change in the meantime."""
        free = self._lock.acquire(blocking=False)
        try:
            yield free and self._is_known(self._now(), MAX_AGE)
        finally:
            if free:
                self._lock.release()

    def _now(self) -> float:
        return self._clock().timestamp()
