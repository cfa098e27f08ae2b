"""The outbox: the events of a job, written in the transaction of what they tell, one item for each receiver.

Receivers are stamped on META when the job is created. So the worker, the sweeper and the api know them from META, and
a job without receivers costs nothing. `docs/explanation/webhooks.md` has the whole design.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobchain.aws.attributes import Item
from jobchain.aws.items import StoredJob, packed
from jobchain.aws.webhook_ids import new_webhook_id
from jobchain.aws.writes import Write, epoch, key, put
from jobchain.domain import Claim, JobError, Status, WaitingFor, WaitReason, isoformat
from jobchain.webhooks.events import EventType, Notification, Receiver

SHARDS = range(20, 24)
"""The shards of the index `due` that hold deliveries: after those of jobs, which `jobchain.aws.items.Due` has."""

GRACE = timedelta(minutes=1)
"""How long after a delivery's message was sent the sweeper takes it for lost."""

KEPT = timedelta(days=30)
"""How long a delivery is kept that is not made."""

TOLD_WAITS = (WaitReason.APPROVAL, WaitReason.ACCOUNT, WaitReason.BUDGET)
"""The reasons of waits that have an event: those that people may have to see to."""

# A job may wait for several approvals, one after the other.
_TOLD_EACH_TIME = (WaitReason.APPROVAL,)

_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """Names a delivery: its tenant, and the sort key of its item."""

    tenant: str
    sk: str

    @property
    def item_key(self) -> Item:
        return key(partition(self.tenant), self.sk)


Announce = Callable[[Sequence[DeliveryKey]], None]
"""Sends the messages of deliveries that were written. It raises nothing: the sweeper sends those that are lost."""


def no_announcement(_: Sequence[DeliveryKey]) -> None:
    """Leaves all messages to the sweeper."""


def partition(tenant: str) -> str:
    """The partition key of a tenant's endpoints and deliveries."""
    return f"WEBHOOKS#{tenant}"


def stamp(receivers: Sequence[Receiver]) -> list[Item]:
    """The attribute `webhooks` of META."""
    return [
        {
            "id": receiver.endpoint_id,
            **({"events": list(receiver.events)} if receiver.events else {}),
            **({"url": receiver.url} if receiver.url else {}),
        }
        for receiver in receivers
    ]


def notification_of(job: StoredJob) -> Notification | None:
    """Who is told of the end of a job that was read with its metadata; None if it has no receivers."""
    meta = job.meta
    if "webhooks" not in meta:
        return None
    receivers = tuple(
        Receiver(found["id"], tuple(found.get("events", ())), found.get("url")) for found in meta["webhooks"]
    )
    metadata = job.of_kind("METADATA")
    return Notification(
        receivers,
        meta["pk"].removeprefix("JOB#"),
        meta["job_name"],
        meta["created_at"],
        meta.get("about", {}).get("title"),
        metadata[0]["metadata"] if metadata else {},
    )


@dataclass(frozen=True, slots=True)
class Outbox:
    """The deliveries of one event: their keys, and their writes for the transaction that the event belongs to."""

    keys: Sequence[DeliveryKey] = ()
    writes: Sequence[Write] = ()


def outbox_of(
    notification: Notification | None, tenant: str, status: Status, now: datetime, error: JobError | None = None
) -> Outbox:
    """The deliveries of a job's end; none where it has no receivers that want to know."""
    if notification is None:
        return Outbox()
    event = EventType(f"job.{status}")
    failure = {"type": error.type, "step": error.step} if error else None
    return _outbox(notification, tenant, event, notification.body(event, isoformat(now), failure), now)


def outbox_of_wait(claim: Claim, waiting: WaitingFor | None, now: datetime) -> Outbox:
    """The deliveries of a wait that begins now, for what people may have to see to; none for any other wait.

    One for the account or the budget is told once, however often the job is tried meanwhile.
    """
    if claim.notification is None or waiting is None or waiting.reason not in TOLD_WAITS:
        return Outbox()
    if waiting.reason == claim.waited and waiting.reason not in _TOLD_EACH_TIME:
        return Outbox()
    body = claim.notification.waiting_body(isoformat(now), waiting.reason, waiting.until)
    return _outbox(claim.notification, claim.tenant, EventType.WAITING, body, now)


def _outbox(notification: Notification, tenant: str, event: EventType, body: str, now: datetime) -> Outbox:
    about = {"event_id": notification.event_id}
    items = [delivery_item(tenant, receiver, event, body, now, about) for receiver in notification.wanted_by(event)]
    return Outbox([DeliveryKey(tenant, item["sk"]) for item in items], [put(item) for item in items])


def delivery_item(
    tenant: str, receiver: Receiver, event: str, body: str, now: datetime, about: Mapping[str, str] = _NOTHING
) -> Item:
    """The item of a new delivery, which is due. `about` has the `event_id` of the job that the event is about."""
    webhook_id = new_webhook_id(now)
    return {
        **key(partition(tenant), f"DELIVERY#{isoformat(now)}#{receiver.endpoint_id}#{webhook_id}"),
        "webhook_id": webhook_id,
        "endpoint_id": receiver.endpoint_id,
        **({"url": receiver.url} if receiver.url else {}),
        "type": event,
        **about,
        "created_at": isoformat(now),
        "body": packed(body),
        "tries": 0,
        **due(webhook_id, now + GRACE),
        "expires_at": epoch(now + KEPT),
    }


def due(webhook_id: str, at: datetime) -> Item:
    """The attributes that make a delivery due at this time."""
    return {"due_shard": SHARDS[zlib.crc32(webhook_id.encode()) % len(SHARDS)], "due_at": epoch(at)}
