"""What workers learn of an account's limits, from what its server tells with answers, and from calls that it refuses.

Limits that the server tells are the pace's ceiling. Others may use the account too, and a server may count tokens in
another way: what it says is left shows both, before it refuses a call. Without such headers a pace is looked for: slow
start, then additive increase and multiplicative decrease. https://en.wikipedia.org/wiki/Slow_start
"""

from dataclasses import replace

from jobchain.pace import (
    Change,
    Demand,
    PaceState,
    Range,
    Rates,
    ceiling,
    charge,
    rates,
    seconds_of,
)
from jobchain.rate_limits import RateLimit, RateLimits

FIRST_RATE = 60.0
"""Requests a minute, after the first refusal of a server that tells nothing of its limits."""

CUT = 0.8
PRESSED_EVERY = 30.0
"""The pace is cut at most once in this many seconds: what was granted before the cut is still on its way."""

PAUSE = 10.0
"""So many seconds of the limit are left out when the server comes near it."""

ROOM = 0.8
"""Less than this part of what should be left, and the pace is too fast."""

LOW = 0.2
"""The same for a server that does not tell when the limit is full again."""

LONGEST_RESET = 120.0
"""A limit whose window is longer is not one of a minute."""

LEARNS = 0.2
"""How much one job counts for the share of tokens that jobs use."""

_MOST = 1e12


def told(limit: RateLimit) -> float | None:
    """The limit of a minute that the server tells, None where it tells none, or what can't be."""
    if limit.limit is None or not 0 < limit.limit < _MOST:
        return None
    reset = _reset(limit)
    return None if reset is not None and reset > LONGEST_RESET else float(limit.limit)


def is_near(limit: RateLimit) -> bool:
    """Whether less is left than an even pace would have left.

    A bucket that fills up continuously has as much of it left as its reset is short; a window of a minute, at an even
    pace, as its reset is long.
    """
    most = told(limit)
    if most is None or limit.remaining is None or not 0 <= limit.remaining <= most:
        return False
    left, reset = limit.remaining / most, _reset(limit)
    return left < LOW if reset is None else left < ROOM * min(1.0, reset / 60)


def _reset(limit: RateLimit) -> float | None:
    if limit.reset is None or limit.reset.total_seconds() < 0:
        return None
    return limit.reset.total_seconds()


def settle(
    state: PaceState | None,
    configured: Rates,
    granted: Demand,
    asked: Demand,
    used: Demand,
    limits: RateLimits,
    *,
    refused: bool,
    now: float,
) -> list[Change]:
    """The writes for a job that has ended, to be tried in this order until one is made; empty where none is needed."""
    known, first = state or {}, not state
    changes = {f"{name}_limit": most for name, most in _told_limits(limits) if known.get(f"{name}_limit") != most}
    now_known = {**known, **changes}
    pressed = _pressed(now_known, configured, limits, refused=refused, now=now)
    rate = rates(now_known, configured, now)
    if not rate and not pressed:
        return []
    changes |= _learned_share(known, asked, used)
    added = _corrections(known, rate, granted, asked, used, now)
    found = []
    if pressed and now - known.get("pressed_at", 0.0) >= PRESSED_EVERY:
        # Many calls are refused together: the first one of them counts.
        once = Range("pressed_at", None, now - PRESSED_EVERY)
        slower = pressed_changes(now_known, configured, pressed, now)
        found.append(_paused(known, Change((once,), changes | slower, added, first=first), pressed, now))
    if changes or any(abs(seconds) > 1e-3 for seconds in added.values()):
        found.append(Change((), changes, added, first=first))
    return found


def _learned_share(state: PaceState, asked: Demand, used: Demand) -> dict[str, float]:
    """The share of tokens that are used, where the job changes it by a hundredth or more."""
    if asked.tokens <= 0 or used.tokens <= 0:
        return {}
    share = min(1.0, used.tokens / asked.tokens)
    if (known := state.get("used_share")) is None:
        return {"used_share": share}
    learned = known + LEARNS * (share - known)
    return {"used_share": learned} if abs(learned - known) > 0.01 * known else {}


def _paused(state: PaceState, change: Change, pressed: list[str], now: float) -> Change:
    """The change with a pause: a part of the limit is left out, so that the server's own fills up again."""
    changes, added = dict(change.changes), dict(change.added)
    for name in (f"{kind}_at" for kind in pressed):
        if state.get(name, 0.0) >= now:
            added[name] = added.get(name, 0.0) + PAUSE
        else:
            added.pop(name, None)
            changes[name] = now + PAUSE
    return replace(change, changes=changes, added=added)


def _told_limits(limits: RateLimits) -> list[tuple[str, float]]:
    both = (("requests", told(limits.requests)), ("tokens", told(limits.tokens)))
    return [(name, most) for name, most in both if most is not None]


def _corrections(
    state: PaceState, rate: Rates, granted: Demand, asked: Demand, used: Demand, now: float
) -> dict[str, float]:
    """What was really charged less what was granted, at most a minute of it: a usage may be a lie."""
    tokens = charge(state, asked.tokens, used.tokens, now) - granted.tokens
    seconds = seconds_of(asked.requests - granted.requests, tokens, rate)
    return {name: min(60.0, taken) for name, taken in seconds.items() if name in state}


def _pressed(state: PaceState, configured: Rates, limits: RateLimits, *, refused: bool, now: float) -> list[str]:
    """Which of requests and tokens came near their limit."""
    pressed = [name for name in ("requests", "tokens") if is_near(getattr(limits, name))]
    if pressed or not refused:
        return pressed
    rate = rates(state, configured, now)
    return ["tokens"] if rate.tokens and not rate.requests else ["requests", "tokens"] if rate.tokens else ["requests"]


def pressed_changes(state: PaceState, configured: Rates, pressed: list[str], now: float) -> dict[str, float]:
    """What changes as the pace was too fast."""
    changes = {"pressed_at": now}
    for name in pressed:
        if name == "tokens" and now - state.get("asked_at", 0.0) > 4 * PRESSED_EVERY:
            # The likeliest cause: the server counts the tokens that calls ask for.
            changes["asked_at"] = now
            continue
        current: float | None = getattr(rates(state, configured, now), name)
        unknown = ceiling(state, name, getattr(configured, name)) is None and f"{name}_rate" not in state
        changes[f"{name}_rate"] = FIRST_RATE if current is None else max(1.0, current * CUT)
        changes[f"{name}_rate_at"] = now
        changes[f"{name}_slow"] = float(unknown)
    return changes
