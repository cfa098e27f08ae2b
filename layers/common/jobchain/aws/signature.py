"""AWS's signature of a request, version 4, for requests that are `POST /` with a body.

botocore has the same, but importing it takes longer than importing all of this client. The tests compare both.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import time
from collections.abc import Mapping

_ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs requests to one service in one region with one pair of keys. Threads may share it."""

    def __init__(self, key_id: str, secret: str, token: str, service: str, region: str) -> None:
        """`token` is that of a session, empty for keys that have none."""
        self._key_id = key_id
        self._secret = secret
        self._token = token
        self._service = service
        self._region = region
        self._day_key = ("", b"")

    def signed(self, headers: Mapping[str, str], body: bytes, seconds: float | None = None) -> dict[str, str]:
        """`headers` and those that sign them and the body. Their names are in lower case, and `host` is one of them.

        `seconds` since 1970 is the time of the signature, now if it is left out.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
        day = moment[:8]
        all_headers = {**headers, "x-amz-date": moment}
        if self._token:
            all_headers["x-amz-security-token"] = self._token
        names = sorted(all_headers)
        listed = ";".join(names)
        lines = "".join([f"{name}:{all_headers[name]}\n" for name in names])
        request = f"POST\n/\n\n{lines}\n{listed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(day), text.encode(), "sha256").hex()
        all_headers["authorization"] = (
            f"{_ALGORITHM} Credential={self._key_id}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return all_headers

    def _key_of(self, day: str) -> bytes:
        """The key of a day. It is derived once: a thread that reads it while it changes has one of the two days."""
        known, key = self._day_key
        if known == day:
            return key
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._day_key = day, key
        return key
