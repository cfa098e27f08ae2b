"""Sends the messages of deliveries that are due: those that were lost, and those of later tries."""

from collections.abc import Sequence
from datetime import datetime

from jobchain.aws.due_deliveries import DueDelivery, DueDeliveryStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.outbox import SHARDS
from jobchain.aws.webhook_queue import WebhookQueue
from jobchain.domain import Clock
from jobchain.errors import Unavailable
from jobchain.observability import Logger
from jobchain_sweeper.resending import resend_gap

PAGE = 25
"""How many deliveries of a shard are read at once."""


class WebhookSweeper:
    """Sends the messages of due deliveries."""

    def __init__(self, *, due: DueDeliveryStore, queue: WebhookQueue, clock: Clock, logger: Logger) -> None:
        self._due = due
        self._queue = queue
        self._clock = clock
        self._logger = logger

    def sweep(self, deadline: datetime) -> int:
        """Sends until nothing is due or `deadline` is reached; gives how many messages were sent.

        Postponed first, then sent: of two sweepers only one sends a delivery, and one that the queue refuses is due
        again. What is sent too often is no harm: a delivery that was made is not made again.
        """
        sent = 0
        shards = list(SHARDS)
        while shards and self._clock() < deadline:
            for shard in list(shards):
                try:
                    found, more = self._due.due(shard, PAGE)
                    sent += self._send([delivery for delivery in found if self._postpone(delivery)])
                except Unavailable as error:
                    log_unavailable(self._logger, "deliveries left for the next sweep", error, shard=shard)
                    return sent
                # A page of which nothing is due any more is an index that is late.
                if not (more and found):
                    shards.remove(shard)
        return sent

    def _postpone(self, delivery: DueDelivery) -> bool:
        return self._due.postpone(delivery, self._clock() + resend_gap(delivery.sends))

    def _send(self, deliveries: Sequence[DueDelivery]) -> int:
        refused = self._queue.send([delivery.key for delivery in deliveries])
        if refused:
            self._logger.warning("deliveries not sent", count=len(refused))
        return len(deliveries) - len(refused)
