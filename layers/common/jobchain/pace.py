"""The pace of calls to a model's account: who gets the next slot, and when. Pure: no clock, no I/O.

All workers share one set of numbers, the state. Two of them are virtual times, of requests and of tokens: the moment
until which the account's limit is given away. A grant adds what its job takes of the limit, in seconds, to both. This
is the generic cell rate algorithm: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm. What the limits are is
learned in `jobchain.pace_learning`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jobchain.errors import SettingsError
from jobchain.pace_tenants import ADVANCE_BURST, had, is_below_share, is_over, is_tenant, tenant_name

BURST = 5.0
"""Seconds of the limit that may be used at once after a pause as long: no slot is lost between two polls."""

PATIENCE = 2.0
"""A slot that is no further away is waited for, in seconds; a job with a later one goes back to the queue."""

HORIZON = 20.0
"""Slots are granted at most this many seconds ahead, ..."""

HORIZON_JOBS = 10
LEAST_HORIZON = PATIENCE
"""... and of short jobs only this many ahead, or this many seconds: what is granted can't be slowed down any more."""

FAR_HORIZON = 120.0
"""A tenant that has had less than its share is granted slots this far ahead, while others wait."""

ADVANCE = 30.0
"""It is granted the first ones at once, before slots of others, while those go this far at most.

So the calls that have begun are never more than `ADVANCE` and `BURST` seconds of the limit ahead of it, or once and a
half as much where workers race: less than the minute that a server's bucket holds.
"""

RACE = 1.5
"""A write may find that other workers were faster, and then grants a slot up to this many horizons ahead."""

ASKS = 1.5
"""About this many times as many jobs ask as there are slots."""

MIN_DELAY = 2.0
MAX_DELAY = 900.0
"""A job that is refused asks again after this long. The queue can't delay a message for longer."""

WINDOW = 60.0
"""The limits are of a minute. A job that needs more is granted one minute's."""

RECOVERY = 600.0
"""After a cut, a pace grows by this many seconds' share of itself each second."""

DOUBLING = 60.0
"""While nothing is known of a limit, its pace doubles in this time, ..."""

CUT = 0.8
STEADY = 200.0
"""... until it is cut to this part. After these seconds it is back at what was too fast, and grows slowest there."""

COUNTS_ASKED = 1200.0
"""How long it takes until only tokens that are used count again, after a server seemed to count those asked for."""

FIRST_SHARE = 0.5
"""The tokens that jobs use of those that they ask for, before any has told."""

PaceState = Mapping[str, float]
"""All numbers that workers share of one account, by name; times are seconds since 1970.

`requests_at`, `tokens_at`: the virtual times. `requests_limit`, `tokens_limit`: what the server told, a minute.
`requests_rate`, `requests_rate_at`, `requests_slow`, and the same of tokens: what a limit was cut to, when, and whether
it is still being looked for. `asked_at`: when the server last seemed to count tokens that are asked for; 0 if it does
not, missing if that is unknown. `used_share`: the tokens that jobs use of those that they ask for. `pressed_at`: when
the server last came near its limit. `requests_paused`, `tokens_paused`: until when some of it is left out. `t` and four
hexadecimal digits: the virtual time of a tenant.
"""


@dataclass(frozen=True, slots=True)
class Rates:
    """What may be used in a minute; None where no limit is known."""

    requests: float | None = None
    tokens: float | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        for name, rate in (("requests", self.requests), ("tokens", self.tokens)):
            if rate is not None and not 0 < rate < 1e12:
                raise SettingsError(f"the limit of {name} a minute is {rate:g}: set it to 1 or more, or leave it out")

    def __bool__(self) -> bool:
        return self.requests is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Demand:
    """What a job needs of the account: requests, and the tokens that they ask for or use."""

    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Granted:
    """A slot: from `at` on, the job may make its calls. `demand` is what it was charged, to be given to `settle`."""

    at: datetime
    demand: Demand


@dataclass(frozen=True, slots=True)
class Refused:
    """No slot now: ask again at `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class PaceView:
    """The pace as it is now: the rates a minute, and the time up to which slots are given away."""

    rates: Rates
    free_at: datetime


@dataclass(frozen=True, slots=True)
class Range:
    """A number of the state has to be from `least` to `most`; without `least` it may also be missing."""

    name: str
    least: float | None
    most: float


@dataclass(frozen=True, slots=True)
class Change:
    """One conditional write of the state. `first` if there may be none yet."""

    conditions: Sequence[Range] = ()
    changes: PaceState = field(default_factory=dict)
    added: PaceState = field(default_factory=dict)
    removed: Sequence[str] = ()
    first: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """A grant that holds once `change` is written."""

    change: Change
    charge: Demand
    seconds: Mapping[str, float]
    at_once: bool

    def granted(self, state: PaceState, now: float) -> Granted:
        """The slot, by the state that the write left."""
        if self.at_once:
            return Granted(moment(now), self.charge)
        at = max(now, *(state[name] - seconds for name, seconds in self.seconds.items()))
        return Granted(moment(at), self.charge)


@dataclass(frozen=True, slots=True)
class Full:
    """No slot: there is one after `wait` seconds, if no other job takes it; each job takes `each` of the limit."""

    wait: float
    each: float

    def delay(self, waiting: int, draw: float) -> float:
        """How long the job waits before it asks again. `draw` is a random number from 0 to 1.

        Drawn evenly from the time that the backlog takes, about `ASKS` times as many jobs ask as there are slots, at
        every moment of it.
        """
        most = min(MAX_DELAY, waiting * self.each / ASKS)
        least = max(MIN_DELAY, min(self.wait, MAX_DELAY))
        return min(MAX_DELAY, least + max(MIN_DELAY, most - least) * draw)


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def rates(state: PaceState, configured: Rates, now: float) -> Rates:
    """What may be used in a minute as of `now`."""
    return Rates(_rate(state, "requests", configured.requests, now), _rate(state, "tokens", configured.tokens, now))


def ceiling(state: PaceState, name: str, configured: float | None) -> float | None:
    """The limit itself, as configured or told, the lower of both; None where it is unknown."""
    return min(filter(None, (configured, state.get(f"{name}_limit"))), default=None)


def _rate(state: PaceState, name: str, configured: float | None, now: float) -> float | None:
    known = ceiling(state, name, configured)
    cut = state.get(f"{name}_rate")
    if cut is None:
        return known
    since = max(0.0, now - state.get(f"{name}_rate_at", now))
    if state.get(f"{name}_slow"):
        grown = cut * 2 ** min(30.0, since / DOUBLING)
    elif known is None:
        # https://en.wikipedia.org/wiki/CUBIC_TCP
        grown = cut / CUT * (1 + (1 - CUT) * (since / STEADY - 1) ** 3)
    else:
        grown = cut * (1 + since / RECOVERY)
    return grown if known is None else min(grown, known)


def charge(state: PaceState, asked: float, used: float, now: float) -> float:
    """The tokens that count: those that are used, or those that are asked for where the server may count them.

    Until an answer tells how it counts, it may.
    """
    weight = max(0.0, 1 - max(0.0, now - state.get("asked_at", now)) / COUNTS_ASKED)
    return used + weight * max(0.0, asked - used)


def seconds_of(requests: float, tokens: float, rate: Rates) -> dict[str, float]:
    """What that takes of each limit, in seconds."""
    found = {}
    if rate.requests:
        found["requests_at"] = requests * WINDOW / rate.requests
    if rate.tokens:
        found["tokens_at"] = tokens * WINDOW / rate.tokens
    return found


def plan(
    state: PaceState | None, configured: Rates, demands: Sequence[Demand], tenant: str, now: float
) -> Granted | Planned | Full:
    """The slot of a job: granted where no limit is known, planned where a write has to make it, or none.

    `demands` are what the job needs as a whole, and then what it needs next: the first that fits into a minute counts.
    """
    known = state or {}
    rate = rates(known, configured, now)
    if not rate:
        return Granted(moment(now), Demand(0, 0))
    share = min(1.0, known.get("used_share", FIRST_SHARE))
    charges = [Demand(d.requests, round(charge(known, d.tokens, d.tokens * share, now))) for d in demands]
    charged = next((c for c in charges if _fits(c, rate)), charges[-1])
    charged = _capped(charged, rate)
    seconds = seconds_of(charged.requests, charged.tokens, rate)
    each, name = max(seconds.values()), tenant_name(known, tenant, now)
    given = max(known.get(at, 0.0) for at in seconds) - now
    ahead = had(known, name, now)
    at_once = ahead <= ADVANCE_BURST and given <= ADVANCE
    horizon = ADVANCE if at_once else _horizon(each, ahead)
    if given > horizon:
        # Jobs that ask too seldom leave slots unused: only what they will use counts here.
        used = min(charged.tokens, demands[0].tokens * share)
        return Full(given - horizon, max(seconds_of(charged.requests, used, rate).values()))
    change = _grant(known, seconds, name, known.get(name, 0.0) + 2 * each, now + horizon * RACE, now)
    return Planned(change, charged, seconds, at_once)


def _horizon(each: float, ahead: float) -> float:
    if is_below_share(ahead, each):
        return FAR_HORIZON
    return min(HORIZON, max(LEAST_HORIZON, HORIZON_JOBS * each))


def _fits(demand: Demand, rate: Rates) -> bool:
    return demand == _capped(demand, rate)


def _capped(demand: Demand, rate: Rates) -> Demand:
    return Demand(
        min(demand.requests, max(1, int(rate.requests))) if rate.requests else demand.requests,
        min(demand.tokens, max(1, int(rate.tokens))) if rate.tokens else demand.tokens,
    )


def _grant(
    state: PaceState, seconds: Mapping[str, float], tenant: str, tenant_at: float, horizon: float, now: float
) -> Change:
    floor = now - BURST
    conditions, changes, added = [], {}, {}
    for name, taken in seconds.items():
        if state.get(name, 0.0) < floor:
            # No job has asked for a while: what was not used then is lost, except for the burst.
            conditions.append(Range(name, None, floor))
            changes[name] = floor + taken
        else:
            conditions.append(Range(name, floor, horizon))
            added[name] = taken
    # A tenant's time is not fenced: a write that is lost under contention gives it a slot too many.
    changes[tenant] = min(max(tenant_at, now + tenant_at - state.get(tenant, 0.0)), now + FAR_HORIZON)
    removed = [name for name, at in state.items() if is_tenant(name) and is_over(at, now) and name != tenant]
    return Change(conditions, changes, added, removed, first=not state)
