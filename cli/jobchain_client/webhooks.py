"""Verifies the webhooks that a Jobchain sends, by Standard Webhooks: `verify` in the server that receives them.

The raw body is needed, before anything parses it: `request.get_data()` in Flask, `request.body` in Django,
`await request.body()` in Starlette and FastAPI.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jobchain.webhooks.signatures import TOLERANCE, InvalidWebhook, UnusableSecret, check_signature

__all__ = ["TOLERANCE", "InvalidWebhook", "UnusableSecret", "WebhookEvent", "verify"]


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event that a signature proves. `webhook_id` is the same each time that it is sent: ignore one seen before.

    `type` is such as `job.completed`, `timestamp` when it happened, and `data` what it is about. `raw` is all of the
    body, with the fields that this version does not know.
    """

    webhook_id: str
    type: str
    timestamp: str
    data: Mapping[str, Any]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def event_id(self) -> str | None:
        """The id of the job that it is about, if it is about one."""
        found = self.data.get("event_id")
        return found if isinstance(found, str) else None


def verify(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | Sequence[str],
    *,
    tolerance: timedelta = TOLERANCE,
    now: datetime | None = None,
) -> WebhookEvent:
    """The event of a request, once its signature is checked.

    `headers` are those of the request, in any case of letters; `body` is the raw body. `secret` is the endpoint's
    (`whsec_…`), or several while it is rotated. `tolerance` is how far the request's time may be from this machine's.
    Raises InvalidWebhook where the request is not from the holder of the secret, was changed, or is too old; and
    UnusableSecret where `secret` can't be one.
    """
    valid = [secret] if isinstance(secret, str) else list(secret)
    try:
        raw = body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body)
    except TypeError:
        raise TypeError("body must be the raw body of the request, not what it was parsed to") from None
    webhook_id = check_signature(headers, raw, valid, now, tolerance)
    try:
        parsed = json.loads(raw)
    except ValueError:
        raise InvalidWebhook("the body is signed, but is no JSON") from None
    event = parsed if isinstance(parsed, dict) else {}
    kind, timestamp, data = event.get("type"), event.get("timestamp"), event.get("data")
    if not (isinstance(kind, str) and isinstance(timestamp, str) and isinstance(data, dict)):
        raise InvalidWebhook("the body is signed, but is no event: it has no type, timestamp and data")
    return WebhookEvent(webhook_id, kind, timestamp, data, event)
