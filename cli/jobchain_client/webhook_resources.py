"""Endpoints of webhooks and deliveries, as the API tells them. A field that this version does not know is in `raw`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that is told when jobs end: of the events and the chains that it names, of all where these are empty.

    `url` is None for the endpoint of the URLs that jobs name themselves. One that is disabled gets no events:
    `disabled_because` says why.
    """

    endpoint_id: str
    url: str | None
    events: tuple[str, ...]
    chains: tuple[str, ...]
    created_at: datetime
    disabled_at: datetime | None
    disabled_because: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(**_endpoint(raw))

    @property
    def enabled(self) -> bool:
        return self.disabled_at is None


@dataclass(frozen=True, slots=True)
class NewEndpoint(Endpoint):
    """An endpoint that was just created, with its `secret`, which the API shows this one time."""

    secret: str = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        told = {name: value for name, value in raw.items() if name != "secret"}
        return cls(**_endpoint(told), secret=raw["secret"])


def _endpoint(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "endpoint_id": raw["endpoint_id"],
        "url": raw["url"],
        "events": tuple(raw["events"]),
        "chains": tuple(raw["chains"]),
        "created_at": datetime.fromisoformat(raw["created_at"]),
        "disabled_at": _moment(raw.get("disabled_at")),
        "disabled_because": raw.get("disabled_because"),
        "raw": raw,
    }


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for one endpoint. `webhook_id` is the header `webhook-id` of each of its requests.

    `state` is `waiting` (for a try), `delivered` or `dead` (given up). `event_id` is the job's, None for a test. `url`
    is the one that the job named, None for the endpoint's own. Of the last of its `tries`: `last_at`, `last_status`
    (None without an answer) and `last_message`, which the receiver may have written. `next_at` is when it is tried
    again. `body` is the event as it is sent; None in lists.
    """

    webhook_id: str
    endpoint_id: str
    url: str | None
    type: str
    event_id: str | None
    state: str
    tries: int
    created_at: datetime
    last_at: datetime | None
    last_status: int | None
    last_message: str | None
    next_at: datetime | None
    body: Mapping[str, Any] | None = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            webhook_id=raw["webhook_id"],
            endpoint_id=raw["endpoint_id"],
            url=raw.get("url"),
            type=raw["type"],
            event_id=raw.get("event_id"),
            state=raw["state"],
            tries=raw["tries"],
            created_at=datetime.fromisoformat(raw["created_at"]),
            last_at=_moment(raw.get("last_at")),
            last_status=raw.get("last_status"),
            last_message=raw.get("last_message"),
            next_at=_moment(raw.get("next_at")),
            body=raw.get("body"),
            raw=raw,
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
