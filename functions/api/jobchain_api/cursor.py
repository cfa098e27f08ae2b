"""Cursors: where the next page of a list begins, signed, so that none can be forged or used with another list."""

import base64
import binascii
import hashlib
import hmac

from jobchain.errors import InvalidRequest

_SIGNATURE_BYTES = 16


class Cursors:
    """Writes and reads cursors with the deployment's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, position: str, *scope: str) -> str:
        """A cursor of the list whose `scope` is its tenant and its filters."""
        return base64.urlsafe_b64encode(self._sign(position, scope) + position.encode()).decode().rstrip("=")

    def read(self, cursor: str, *scope: str) -> str:
        """The position that a cursor of this list holds. Raises InvalidRequest for any other text."""
        try:
            content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            signature, position = content[:_SIGNATURE_BYTES], content[_SIGNATURE_BYTES:].decode()
        except (binascii.Error, ValueError):
            signature, position = b"", ""
        if not hmac.compare_digest(signature, self._sign(position, scope)):
            why = "is not a cursor of this list: send next_cursor with the same filters, or none for the first page"
            raise InvalidRequest({"cursor": why})
        return position

    def _sign(self, position: str, scope: tuple[str, ...]) -> bytes:
        # No part of a scope holds a NUL.
        message = "\0".join((*scope, position)).encode()
        return hmac.new(self._secret, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
