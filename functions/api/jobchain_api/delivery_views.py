"""Deliveries as callers get them."""

import json
from typing import Any

from pydantic import Field

from jobchain.aws.deliveries import Delivery, DeliveryState
from jobchain_api.created_views import LazyView


class DeliveryView(LazyView):
    """A delivery: an event for one endpoint."""

    webhook_id: str = Field(description="The header `webhook-id` of each try.")
    endpoint_id: str = Field(description="`jobs` for a URL that a job named itself.")
    url: str | None = Field(description="The URL that the job named itself. Null: it is the endpoint's.")
    type: str = Field(description="The type of the event, such as `job.completed`.")
    event_id: str | None = Field(description="The job that the event is about. Null for a test.")
    state: DeliveryState = Field(description="`dead` was given up after its last try.")
    tries: int = Field(description="How often it was tried since it was created, or redelivered.")
    created_at: str
    last_at: str | None = Field(description="When it was last tried.")
    last_status: int | None = Field(description="The status of the last answer. Null: there was none.")
    last_message: str | None = Field(description="Why the last try failed: the beginning of the answer, or an error.")
    next_at: str | None = Field(description="When it is tried again. Null before the first try: at once.")


class DeliveryWithBody(DeliveryView):
    """A delivery with its event."""

    body: dict[str, Any] = Field(description="The event, as it is sent.")


class DeliveryList(LazyView):
    """A page of deliveries, the newest first. It may hold fewer than asked for, also none, and not be the last."""

    deliveries: list[DeliveryView]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page. Null: this is the last.")


def listed_delivery(delivery: Delivery) -> DeliveryView:
    """The delivery without its event."""
    return DeliveryView(**_fields(delivery))


def delivery_view(delivery: Delivery) -> DeliveryWithBody:
    """The delivery with its event."""
    return DeliveryWithBody(**_fields(delivery), body=json.loads(delivery.body))


def _fields(delivery: Delivery) -> dict[str, Any]:
    last = delivery.last
    told = {"last_status": last.status if last else None, "last_message": (last.message or None) if last else None}
    return told | {name: getattr(delivery, name) for name in DeliveryView.model_fields if name not in told}
