"""The ids of webhooks: each has the time of its event, so that a delivery is found by its id without an index."""

import re
import secrets
from datetime import UTC, datetime, timedelta

from jobchain.domain import isoformat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RANDOM_BYTES = 10

# Milliseconds since 1970, then random digits. Without a full stop: see `jobchain.webhooks.signatures`.
_ID = re.compile(r"evt_([0-9a-f]{12})[0-9a-f]{20}")


def new_webhook_id(at: datetime) -> str:
    """A new id, of an event that happens `at` this time."""
    return f"evt_{(at - _EPOCH) // _MILLISECOND:012x}{secrets.token_hex(_RANDOM_BYTES)}"


def time_of(webhook_id: str) -> str | None:
    """When the event happened, as a text of `isoformat`; None for what is no id of a webhook."""
    found = _ID.fullmatch(webhook_id)
    try:
        return isoformat(_EPOCH + int(found[1], 16) * _MILLISECOND) if found else None
    except OverflowError:
        return None
