"""When jobs come in, in seconds from the start: each gives ascending times, the same ones for the same seed."""

import math
import random
from collections.abc import Iterator

DAY = 86_400.0
SWING = 0.8
"""How far a day's rate goes above its mean and below."""


def steady(jobs: int, seconds: float = DAY, seed: int = 1) -> Iterator[float]:
    """`jobs` at random moments of a span, equally likely all along it."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    now = 0.0
    for _ in range(jobs):
        now += draw.expovariate(jobs / seconds)
        yield now


def daily(jobs: int, swing: float = SWING, seed: int = 1) -> Iterator[float]:
    """About `jobs` of a day whose rate goes as a sine: at 3 p.m. 1 + `swing` times the mean, at 3 a.m. 1 - `swing`."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    mean = jobs / DAY
    highest = mean * (1 + swing)
    now = draw.expovariate(highest)
    while now < DAY:
        rate = mean * (1 + swing * math.cos(2 * math.pi * (now / DAY - 15 / 24)))
        if draw.random() * highest < rate:
            yield now
        now += draw.expovariate(highest)


def burst(jobs: int, per_second: float) -> Iterator[float]:
    """`jobs` one after the other, as fast as `per_second` lets them in."""
    return (number / per_second for number in range(jobs))
