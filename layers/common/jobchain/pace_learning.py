"""What workers learn of an account's limits, from what its server tells with answers, and from calls that it refuses.

Limits that the server tells are the pace's ceiling. Others may use the account too, and a server may count tokens in
another way: what it says is left shows both, before it refuses a call. Without such headers a pace is looked for: slow
start, then additive increase and multiplicative decrease. https://en.wikipedia.org/wiki/Slow_start
"""

from collections.abc import Mapping
from dataclasses import replace

from jobchain.pace import (
    CUT,
    FAR_HORIZON,
    WINDOW,
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

PRESSED_EVERY = 30.0
"""The pace is cut at most once in this many seconds: what was granted before the cut is still on its way."""

PAUSE = 10.0
"""So many seconds of the limit are left out when a call is refused, and the server does not tell how much is left."""

ROOM = 0.8
"""Less than this part of what should be left, and the pace is too fast."""

LEAST_MISSING = 6.0
"""So few seconds of the limit are missing by chance, as calls don't come evenly."""

MOST_REFUSALS = 3.0
FORGIVEN = 0.1
"""The pace is too fast after this many refusals, less this part of the calls that were answered: some servers refuse
one call in thirty, at any pace. A server that tells that little is left is believed at once."""

LOW = 0.2
EVEN = 0.5
"""Less than `LOW` is too little of a limit of which the server does not tell when it is full; `EVEN` should be left."""

LONGEST_RESET = 120.0
"""A limit whose window is longer is not one of a minute."""

LEARNS = 0.2
"""How much one job counts for the share of tokens that jobs use."""

COUNTED = 0.9
"""A call whose tokens are counted leaves at least this part of them missing; the rest may have filled up again."""

_MOST = 1e12


def told(limit: RateLimit) -> float | None:
    """The limit of a minute that the server tells, None where it tells none, or what can't be."""
    if limit.limit is None or not 0 < limit.limit < _MOST:
        return None
    reset = _reset(limit)
    return None if reset is not None and reset > LONGEST_RESET else float(limit.limit)


def shortfall(limit: RateLimit) -> float:
    """The seconds of the limit that are missing, where less is left than an even pace would have left; 0 elsewhere.

    A bucket that fills up continuously has as much of it left as its reset is short; a window of a minute, at an even
    pace, as its reset is long.
    """
    most = told(limit)
    if most is None or limit.remaining is None or not 0 <= limit.remaining <= most:
        return 0.0
    left, reset = limit.remaining / most, _reset(limit)
    even, least = (EVEN, LOW) if reset is None else (min(1.0, reset / WINDOW), ROOM * min(1.0, reset / WINDOW))
    return WINDOW * (even - left) if left < least else 0.0


def _reset(limit: RateLimit) -> float | None:
    if limit.reset is None or limit.reset.total_seconds() < 0:
        return None
    return limit.reset.total_seconds()


def learn(state: PaceState | None, configured: Rates, asked: float, limits: RateLimits, now: float) -> Change | None:
    """The write for what one answer tells that was not known; None where it tells nothing new.

    `asked` is the tokens that the answered call asked for.
    """
    known = state or {}
    changes = {f"{name}_limit": most for name, most in _told_limits(limits) if f"{name}_limit" not in known}
    if rates({**known, **changes}, configured, now):
        changes |= _learned_count(known, asked, limits, now)
    return Change((), changes, first=not known) if changes else None


def _learned_count(state: PaceState, asked: float, limits: RateLimits, now: float) -> dict[str, float]:
    """Whether the server counts the tokens that calls ask for, as far as a call that asked for these shows it.

    It does not if less than that is missing in its limit. If it tells nothing, most servers do not.
    """
    most, left = told(limits.tokens), limits.tokens.remaining
    if most is None or left is None or not 0 <= left <= most:
        return {} if "asked_at" in state else {"asked_at": 0.0}
    if most - left < asked * COUNTED:
        return {} if state.get("asked_at") == 0 else {"asked_at": 0.0}
    return {} if "asked_at" in state else {"asked_at": now}


def settle(
    state: PaceState | None,
    configured: Rates,
    granted: Demand,
    asked: Demand,
    used: Demand,
    limits: RateLimits,
    *,
    refused: bool,
    answered: int,
    now: float,
) -> list[Change]:
    """The writes for a job that has ended, to be tried in this order until one is made; empty where none is needed.

    `answered` is how many calls of this worker were answered since one of them was refused.
    """
    known, first = state or {}, not state
    changes = {f"{name}_limit": most for name, most in _told_limits(limits) if known.get(f"{name}_limit") != most}
    now_known = {**known, **changes}
    refusals = _refusals(known, answered) if refused else 0.0
    too_many = refused and known.get("refusals", 0.0) + refusals >= MOST_REFUSALS
    pressed = _pressed(now_known, configured, limits, refused=too_many, now=now)
    rate = rates(now_known, configured, now)
    if not rate and not pressed:
        return [Change((), {}, {"refusals": refusals}, first=first)] if refusals else []
    changes |= _learned_share(known, asked, used)
    if asked.requests and not refused:
        # The last of the job's calls may have asked for less than the others.
        changes |= _learned_count(known, asked.tokens / asked.requests / 2, limits, now)
    added = _corrections(known, rate, granted, asked, used, now)
    if refusals:
        added["refusals"] = refusals
    found = []
    if pressed and now - known.get("pressed_at", 0.0) >= PRESSED_EVERY:
        # Many calls are refused together: the first one of them counts.
        once = Range("pressed_at", None, now - PRESSED_EVERY)
        slower = pressed_changes(now_known, configured, pressed, now)
        found.append(_paused(known, Change((once,), changes | slower, added, first=first), pressed, now))
    if changes or any(abs(seconds) > 1e-3 for seconds in added.values()):
        found.append(Change((), changes, added, first=first))
    return found


def _refusals(state: PaceState, answered: int) -> float:
    """What a refusal after so many answers adds to the number of refusals, which does not fall below one."""
    return 1 - min(state.get("refusals", 0.0), FORGIVEN * answered)


def _learned_share(state: PaceState, asked: Demand, used: Demand) -> dict[str, float]:
    """The share of tokens that are used, where the job changes it by a hundredth or more."""
    if asked.tokens <= 0 or used.tokens <= 0:
        return {}
    share = min(1.0, used.tokens / asked.tokens)
    if (known := state.get("used_share")) is None:
        return {"used_share": share}
    learned = known + LEARNS * (share - known)
    return {"used_share": learned} if abs(learned - known) > 0.01 * known else {}


def _paused(state: PaceState, change: Change, pressed: Mapping[str, float], now: float) -> Change:
    """The change with a pause: a part of the limit is left out, so that the server's own fills up again."""
    changes, added = {**change.changes, "refusals": 0.0}, dict(change.added)
    added.pop("refusals", None)
    for kind, missing in pressed.items():
        name, until = f"{kind}_at", now + (missing or PAUSE)
        # What is left out already fills up the server's limit too.
        pause = max(0.0, until - max(now, state.get(f"{kind}_paused", 0.0)))
        changes[f"{kind}_paused"] = max(until, state.get(f"{kind}_paused", 0.0))
        if state.get(name, 0.0) >= now:
            added[name] = min(added.get(name, 0.0) + pause, _room(state, name, now))
        else:
            added.pop(name, None)
            changes[name] = now + pause
    return replace(change, changes=changes, added=added)


def _room(state: PaceState, name: str, now: float) -> float:
    """How far a virtual time may be moved: after that long without a call, any limit of a minute is full again."""
    return max(0.0, now + FAR_HORIZON - state[name])


def _told_limits(limits: RateLimits) -> list[tuple[str, float]]:
    both = (("requests", told(limits.requests)), ("tokens", told(limits.tokens)))
    return [(name, most) for name, most in both if most is not None]


def _corrections(
    state: PaceState, rate: Rates, granted: Demand, asked: Demand, used: Demand, now: float
) -> dict[str, float]:
    """What was really charged less what was granted; a usage may be a lie, so the virtual time stays near."""
    if not granted.requests:
        return {}  # it ran before any limit was known; what it took shows in what is left
    tokens = charge(state, asked.tokens, used.tokens, now) - granted.tokens
    seconds = seconds_of(asked.requests - granted.requests, tokens, rate)
    return {name: min(_room(state, name, now), taken) for name, taken in seconds.items() if name in state}


def _pressed(state: PaceState, configured: Rates, limits: RateLimits, *, refused: bool, now: float) -> dict[str, float]:
    """Which of requests and tokens came near their limit, and the seconds of it that are missing; 0 if unknown."""
    missing = {"requests": shortfall(limits.requests), "tokens": shortfall(limits.tokens)}
    pressed = {name: seconds for name, seconds in missing.items() if seconds > (0 if refused else LEAST_MISSING)}
    if pressed or not refused:
        return pressed
    rate = rates(state, configured, now)
    names = ["tokens"] if rate.tokens and not rate.requests else ["requests", "tokens"] if rate.tokens else ["requests"]
    return dict.fromkeys(names, 0.0)


def pressed_changes(state: PaceState, configured: Rates, pressed: Mapping[str, float], now: float) -> dict[str, float]:
    """What changes as the pace was too fast, beside the pause."""
    changes = {"pressed_at": now}
    for name, missing in pressed.items():
        current: float | None = getattr(rates(state, configured, now), name)
        if name == "tokens" and _seems_to_count_asked(state, missing, now):
            changes["asked_at"] = now
            if "tokens_limit" not in state:
                continue
        if not missing:
            unknown = ceiling(state, name, getattr(configured, name)) is None and f"{name}_rate" not in state
            changes[f"{name}_rate"] = FIRST_RATE if current is None else max(1.0, current * CUT)
            changes[f"{name}_rate_at"] = now
            changes[f"{name}_slow"] = float(unknown)
    return changes


def _seems_to_count_asked(state: PaceState, missing: float, now: float) -> bool:
    """Whether the likeliest cause is that the server counts the tokens that calls ask for."""
    asked_at = state.get("asked_at", now)
    if missing and asked_at > 0:
        return True  # it did before, and less and less of them was charged since
    return now - asked_at > 4 * PRESSED_EVERY and (not missing or missing > LEAST_MISSING)
