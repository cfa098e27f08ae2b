"""When a delivery that failed is tried again: ten tries within 72 hours, about as Standard Webhooks advises."""

import random
from collections.abc import Callable
from datetime import timedelta

PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=20),
)
"""The pauses after the first try, the second, and so on; there is no try after the last. In all 71 h 35 min.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

LONGEST = timedelta(hours=72)
"""How long after its event a delivery is tried."""

_LONGEST_ASKED = timedelta(hours=24)


def pause_after(
    tries: int, asked: timedelta | None = None, draw: Callable[[float, float], float] = random.uniform
) -> timedelta | None:
    """How long to wait after this number of failed tries; None where there is no further one.

    Up to a tenth less by chance, so that what failed together does not come back together. A receiver may have
    `asked` for a longer pause.
    """
    if tries > len(PAUSES):
        return None
    pause = PAUSES[tries - 1] * draw(0.9, 1)
    return max(pause, min(asked, _LONGEST_ASKED)) if asked else pause
