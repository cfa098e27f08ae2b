"""Makes a try of a delivery, and stores what became of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobchain.aws.deliveries import Delivery, DeliveryStore, Dispatch, Result
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.outbox import DeliveryKey
from jobchain.aws.webhook_queue import WebhookQueue
from jobchain.domain import Clock
from jobchain.errors import Unavailable
from jobchain.observability import Logger
from jobchain.webhooks.events import JOB_URLS
from jobchain.webhooks.schedule import LONGEST, pause_after
from jobchain.webhooks.signatures import signed_headers
from jobchain.webhooks.urls import Target, UnusableUrl, webhook_target
from jobchain_webhooks.lanes import SLOW_TRY_SECONDS, Lane
from jobchain_webhooks.sender import Answer, Fault, NotAnswered, Sender

_JSON: Mapping[str, str] = {"Content-Type": "application/json; charset=utf-8"}

# Of an answer's body: a delivery stays within the KB that its tries are paid for.
_MOST_KEPT = 200


class Ending(StrEnum):
    """How the message of a delivery ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It is tried again."""
    DEAD = "dead"
    """It was given up."""
    HANDED_OVER = "handed_over"
    """To the slow lane."""
    LEFT = "left"
    """To the sweeper, as its endpoint is slow."""
    SKIPPED = "skipped"
    """There was nothing to deliver."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A try that failed: how, whether it got no answer in time, and the pause that the receiver asks for."""

    result: Result
    timed_out: bool = False
    asked: timedelta | None = None
    is_gone: bool = False


class Delivering:
    """Makes tries. Threads may share it."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        sender: Sender,
        clock: Clock,
        logger: Logger,
        local: bool = False,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`local` for a stack on the caller's own machine: see `webhook_target`. `timer` gives seconds."""
        self._store = store
        self._sender = sender
        self._timer = timer
        self._clock = clock
        self._logger = logger
        self._local = local

    def deliver(self, key: DeliveryKey, lane: Lane, left: timedelta) -> Ending:
        """Makes a try, if the delivery waits for one and its endpoint has a turn within the time that is `left`.

        One without a turn, or whose try takes too long, is handed over to the slower lane; in the slow lane it stays
        due, so that the sweeper sends it. Raises Unavailable where the table does not answer: the try may have been
        made then, and is made again.
        """
        dispatch = self._store.read(key)
        if dispatch is None:
            self._logger.info("nothing to deliver, skipping", delivery=key.sk)
            return Ending.SKIPPED
        if fault := self._undeliverable(dispatch):
            return self._give_up(dispatch.delivery, Result(None, fault))
        name = lane.name_of(key.tenant, dispatch.delivery.endpoint_id, dispatch.url)
        if not lane.turns.begin(name, lane.wait_seconds(left)):
            return self._leave(dispatch.delivery, lane)
        was_slow = True
        began = self._timer()
        try:
            outcome = self._try(dispatch, lane)
            took = self._timer() - began
            timed_out = isinstance(outcome, _Failed) and outcome.timed_out
            was_slow = timed_out or (lane.slower is not None and took > SLOW_TRY_SECONDS)
        finally:
            lane.turns.end(name, was_slow=was_slow)
        if timed_out and lane.slower:
            # The receiver has more time than that: this was no try yet.
            return self._leave(dispatch.delivery, lane)
        return self._store_outcome(dispatch.delivery, outcome, lane)

    def _leave(self, delivery: Delivery, lane: Lane) -> Ending:
        """Leaves a delivery whose endpoint is slow to the slower lane, or to the sweeper. It is given up in the end."""
        if lane.slower:
            self._logger.info("the endpoint is slow, handed over", endpoint=delivery.endpoint_id)
            self._send(lane.slower, delivery.key, timedelta(0))
            return Ending.HANDED_OVER
        if self._clock() - datetime.fromisoformat(delivery.since) > LONGEST:
            return self._give_up(delivery, Result(None, "the endpoint did not answer other deliveries in time"))
        self._logger.info("the endpoint is slow, left to the sweeper", endpoint=delivery.endpoint_id)
        return Ending.LEFT

    def _undeliverable(self, dispatch: Dispatch) -> str | None:
        """Why no try can be made; None if one can."""
        if dispatch.url is None:
            return "the endpoint was deleted or disabled"
        if not dispatch.secrets:
            return "the endpoint has no secret to sign with"
        try:
            self._target(dispatch.url)
        except UnusableUrl as error:
            return str(error)
        return None

    def _target(self, url: str) -> Target:
        return webhook_target("the URL", url, local=self._local)

    def _try(self, dispatch: Dispatch, lane: Lane) -> Answer | _Failed:
        delivery, body = dispatch.delivery, dispatch.delivery.body.encode()
        headers = signed_headers(delivery.webhook_id, self._clock(), body, dispatch.secrets)
        try:
            target = self._target(dispatch.url or "")
            answer = self._sender.post(target, {**_JSON, **headers}, body, lane.try_seconds)
        except NotAnswered as error:
            return _Failed(Result(None, str(error)), timed_out=error.fault is Fault.TIMEOUT)
        if answer.is_delivered:
            return answer
        asked = timedelta(seconds=answer.retry_after) if answer.retry_after else None
        return _Failed(Result(answer.status, _shown(answer.body)), asked=asked, is_gone=answer.is_gone)

    def _store_outcome(self, delivery: Delivery, outcome: Answer | _Failed, lane: Lane) -> Ending:
        if isinstance(outcome, Answer):
            self._store.delivered(delivery, Result(outcome.status))
            self._log("delivered", delivery, outcome.status)
            return Ending.DELIVERED
        if outcome.is_gone:
            # One job's own URL says nothing about those of others.
            if delivery.endpoint_id != JOB_URLS:
                self._store.disable(delivery.key.tenant, delivery.endpoint_id, "it answered 410 Gone")
            return self._give_up(delivery, outcome.result)
        pause = pause_after(delivery.tries + 1, outcome.asked)
        left = datetime.fromisoformat(delivery.since) + LONGEST - self._clock()
        if pause and outcome.asked:
            # What the receiver asks for makes a pause longer, and not the time in which there are tries.
            pause = min(pause, left) if left > timedelta(0) else None
        if pause is None:
            return self._give_up(delivery, outcome.result)
        self._log("not delivered, tried again later", delivery, outcome.result.status)
        if self._store.put_off(delivery, outcome.result, pause):
            self._send(lane.queue, delivery.key, pause)
        return Ending.FAILED

    def _send(self, queue: WebhookQueue, key: DeliveryKey, pause: timedelta) -> None:
        try:
            queue.send([key], pause)
        except Unavailable as error:
            log_unavailable(self._logger, "the next try was not sent, left to the sweeper", error)

    def _give_up(self, delivery: Delivery, result: Result) -> Ending:
        self._store.give_up(delivery, result)
        self._log("delivery given up", delivery, result.status)
        return Ending.DEAD

    def _log(self, message: str, delivery: Delivery, status: int | None) -> None:
        # No URL and no word of an answer: they are a tenant's and a stranger's.
        known = {"event_id": delivery.event_id, "endpoint": delivery.endpoint_id, "webhook_id": delivery.webhook_id}
        self._logger.info(message, extra={**known, "try": delivery.tries + 1, "status": status})


def _shown(body: str) -> str:
    """The beginning of an answer's body, without what a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in body[:_MOST_KEPT]).strip()
