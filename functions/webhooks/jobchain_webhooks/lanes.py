"""The two lanes of deliveries: a receiver that is slow keeps only the lane of slow ones waiting.

Lambda calls an environment again when all of its batch is done. So nothing in the fast lane may take long: what does is
handed over to the slow lane, which has a queue and environments of its own.
"""

from dataclasses import dataclass
from datetime import timedelta

from jobchain.aws.webhook_queue import WebhookQueue
from jobchain_webhooks.sender import MOST_SECONDS
from jobchain_webhooks.turns import Turns

FAST_SECONDS = 3.0
"""How long a try takes in the fast lane."""

SLOW_TRY_SECONDS = 1.0
"""An endpoint whose try takes longer is slow, and belongs into the slow lane for a while."""

_FAST_WAIT_SECONDS = 1.0

# What a try may take in the slow lane, and the reads and writes of the table around it.
_ONE_TRY = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a delivery is tried. `queue` is where its next try comes from, and `turns` are those of its endpoints.

    `slower` is the queue of the lane that gets what takes too long; None in the slow lane.
    """

    queue: WebhookQueue
    turns: Turns
    slower: WebhookQueue | None = None

    @property
    def try_seconds(self) -> float:
        """The longest try, in seconds."""
        return FAST_SECONDS if self.slower else MOST_SECONDS

    def wait_seconds(self, left: timedelta) -> float:
        """How long a try may wait for its turn, where the function has so much time `left`."""
        most = max(0.0, (left - _ONE_TRY).total_seconds())
        return min(most, _FAST_WAIT_SECONDS) if self.slower else most

    def name_of(self, tenant: str, endpoint_id: str, url: str | None) -> str:
        """What shares turns. In the fast lane, all URLs that a tenant's jobs name are one: they may be any number."""
        return f"{tenant}/{endpoint_id}" if self.slower else f"{tenant}/{endpoint_id}/{url}"


def lanes(fast: WebhookQueue, slow: WebhookQueue) -> tuple[Lane, Lane]:
    """The fast lane, and the slow one."""
    return Lane(fast, Turns(slow_after=1), slow), Lane(slow, Turns())
