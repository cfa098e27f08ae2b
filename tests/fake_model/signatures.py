"""Checks signatures of requests as AWS does: each is made a second time, by botocore's own signer, and compared."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fake_model.replies import Reply, json_reply

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_ALWAYS_SIGNED = {"host", "x-amz-date"}
_MOST_SKEW = timedelta(minutes=5)


def aws_refusal(status: int, exception: str, message: str) -> Reply:
    """An error of AWS itself: its name is in a header."""
    headers = {"x-amzn-ErrorType": f"{exception}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return json_reply(exception, {"message": message}, status, headers)


@dataclass
class Signatures:
    """The credentials that a region of a service accepts, by their access keys, and those that have expired."""

    region: str = "us-east-1"
    service: str = "bedrock"
    accepted: dict[str, Credentials] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)

    def accept(self, credentials: Credentials) -> None:
        self.accepted[credentials.access_key] = credentials

    def refusal(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """What AWS says to a request that is not signed as it should be; None for one that is."""
        sent = {name.lower(): value for name, value in headers.items()}
        found = _AUTHORIZATION.fullmatch(sent.get("authorization", ""))
        if found is None:
            return aws_refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        if found["key"] in self.expired:
            return aws_refusal(403, "ExpiredTokenException", "The security token included in the request is expired")
        known = self.accepted.get(found["key"])
        if known is None or sent.get("x-amz-security-token") != known.token:
            return aws_refusal(
                403, "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        if (found["region"], found["service"]) != (self.region, self.service):
            return _mismatch(f"Credential should be scoped to {self.region} and {self.service}")
        return self._wrong(found, known, method, url, sent, body)

    def _wrong(
        self, found: re.Match[str], known: Credentials, method: str, url: str, sent: Mapping[str, str], body: bytes
    ) -> Reply | None:
        names = found["headers"].split(";")
        signed_at = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(datetime.now(UTC) - signed_at) > _MOST_SKEW or not sent["x-amz-date"].startswith(found["day"]):
            return _mismatch(f"Signature expired: {sent['x-amz-date']}")
        required = _ALWAYS_SIGNED | ({"x-amz-security-token"} if known.token else set())
        if missing := required - {*names}:
            return _mismatch(f"{', '.join(sorted(missing))} must be signed")
        if sent.get("x-amz-content-sha256", hashlib.sha256(body).hexdigest()) != hashlib.sha256(body).hexdigest():
            return _mismatch("x-amz-content-sha256 is not that of the body")
        request = AWSRequest(method, url, {name: sent[name] for name in names}, body)
        request.context["timestamp"] = sent["x-amz-date"]
        signer = SigV4Auth(known, self.service, self.region)
        canonical = signer.canonical_request(request)
        expected = signer.signature(signer.string_to_sign(request, canonical), request)
        if hmac.compare_digest(expected, found["signature"]):
            return None
        return _mismatch(f"The Canonical String for this request should have been '{canonical}'")


def _mismatch(why: str) -> Reply:
    said = "The request signature we calculated does not match the signature you provided."
    return aws_refusal(403, "InvalidSignatureException", f"{said} {why}")
