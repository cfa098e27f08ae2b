"""Signatures of webhooks, by Standard Webhooks: made by the sender, and verified by the client's `webhooks.verify`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
Imports only the standard library.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

PREFIX = "whsec_"
"""The prefix of every secret, by which scanners for leaked secrets can recognize one."""

TOLERANCE = timedelta(minutes=5)
"""How far the time of a request may be from the receiver's clock: as in the reference libraries."""

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

_NEW_BYTES = 32
# The specification's bounds for secrets.
_LEAST_BYTES, _MOST_BYTES = 24, 64
# One signature for each valid secret; more than a few are no rotation.
_MOST_SIGNATURES = 16
_MOST_ID = 256
_ASYMMETRIC = ("whsk_", "whpk_")
_VERSION = "v1"


class UnusableSecret(ValueError):
    """A text that can't be a secret of webhooks: says what is wrong, and the fix. It never contains the text."""


class InvalidWebhook(ValueError):
    """A request that was not signed with the secret, or not now: answer it with 400, and ignore its body."""


def new_secret() -> str:
    """A random secret, as it is shown."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key that a secret is the text of: base64, with or without `whsec_`, spaces around it and padding.

    Raises UnusableSecret.
    """
    text = secret.strip()
    if not text:
        raise UnusableSecret("the secret is empty: set it to the one that was shown, which begins with whsec_")
    if text.startswith(_ASYMMETRIC):
        raise UnusableSecret(f"a secret of {text[:5]} is one of asymmetric signatures: use the one of whsec_")
    encoded = text.removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableSecret("the secret is no base64: copy it again, as plain text and whole") from None
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise UnusableSecret(
            f"the secret has {len(key)} bytes, not {_LEAST_BYTES} to {_MOST_BYTES}: copy it again, as a whole"
        )
    return key


def signed_headers(webhook_id: str, at: datetime, body: bytes, valid: Sequence[str]) -> dict[str, str]:
    """The headers of a request with this body that is sent `at` this time, with a signature of each `valid` secret.

    `webhook_id` must have letters, digits, `_` and `-` alone: a full stop would let two requests have one signature.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", webhook_id):
        raise ValueError("the id of a webhook has up to 128 letters, digits, _ and -")
    timestamp = str(int(at.timestamp()))
    signatures = [
        f"{_VERSION},{base64.b64encode(_signature(secret_bytes(secret), webhook_id, timestamp, body)).decode()}"
        for secret in valid
    ]
    if not signatures:
        raise ValueError("there is no secret to sign with")
    return {ID: webhook_id, TIMESTAMP: timestamp, SIGNATURE: " ".join(signatures)}


def check_signature(
    headers: Mapping[str, str],
    body: bytes,
    valid: Sequence[str],
    now: datetime | None = None,
    tolerance: timedelta = TOLERANCE,
) -> str:
    """Checks that a request was signed with one of the `valid` secrets at about this time, and gives its id.

    `body` is the body as it came, byte by byte. Raises InvalidWebhook, and UnusableSecret.
    """
    keys = [secret_bytes(secret) for secret in valid]
    if not keys:
        raise UnusableSecret("there is no secret to check with: give the one of the endpoint")
    found = _headers(headers)
    webhook_id, timestamp = found[ID], found[TIMESTAMP]
    if not 0 < len(webhook_id) <= _MOST_ID:
        raise InvalidWebhook(f"{ID} is empty or longer than {_MOST_ID} characters")
    _check_time(timestamp, now or datetime.now(UTC), tolerance)
    sent = _signatures(found[SIGNATURE])
    # All are compared, whatever the first ones give, each in constant time.
    same = [hmac.compare_digest(_signature(key, webhook_id, timestamp, body), one) for key in keys for one in sent]
    if not any(same):
        raise InvalidWebhook(
            "no signature is one of this body with this secret: was the body changed or parsed before?"
        )
    return webhook_id


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a signature needs. Raises InvalidWebhook where one is missing or occurs twice."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if (lower := name.lower()) in (ID, TIMESTAMP, SIGNATURE):
            if found.get(lower, value) != value:
                raise InvalidWebhook(f"the header {lower} occurs twice")
            found[lower] = value
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if name not in found]
    if missing:
        raise InvalidWebhook(f"there is no header {missing[0]}: this is no request of a webhook")
    return found


def _check_time(timestamp: str, now: datetime, tolerance: timedelta) -> None:
    if not re.fullmatch(r"[0-9]{1,11}", timestamp, re.ASCII):
        raise InvalidWebhook(f"{TIMESTAMP} is not a number of seconds since 1970")
    late = now.timestamp() - int(timestamp)
    if late > tolerance.total_seconds():
        raise InvalidWebhook(f"the request is {late:.0f} s old: it was repeated, or this machine's clock is fast")
    if late < -tolerance.total_seconds():
        raise InvalidWebhook(f"the request is {-late:.0f} s early: this machine's clock is slow")


def _signatures(header: str) -> list[bytes]:
    """The signatures of our version; those of others, and what is no signature, are left out."""
    found = []
    for part in header.split(" ")[:_MOST_SIGNATURES]:
        version, _, encoded = part.partition(",")
        if version == _VERSION:
            try:
                found.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> bytes:
    # No id of this project is outside ASCII, but a receiver must not crash on one.
    signed = b".".join((webhook_id.encode(errors="replace"), timestamp.encode(), body))
    return hmac.new(key, signed, hashlib.sha256).digest()
