"""Waits for what becomes of a delivery."""

import time
from collections.abc import Callable

from jobchain_client import Delivery, Jobchain

_POLL_SECONDS = 0.5


def tried(
    client: Jobchain,
    sent: Delivery,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Delivery:
    """The delivery after its first try, or as it is when the seconds are over. Raises JobchainError."""
    deadline = clock() + seconds
    found = sent
    while not found.tries and (left := deadline - clock()) > 0:
        sleep(min(_POLL_SECONDS, left))
        found = client.webhooks.delivery(sent.webhook_id)
    return found
